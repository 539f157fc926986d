/** Claims of runs that work: kept for as long as their process lives, and taken over with care when it died. */
import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { createIds } from "../packages/gateway/src/kit/ids.ts";
import { openStoreFile } from "../packages/gateway/src/store/sqlite.ts";
import { callTools, type FakeOpenAi, type FakeReply, startFakeOpenAi } from "./support/fake-openai.ts";
import { createManualClock } from "./support/manual-clock.ts";
import { gate } from "./support/gate-tool.ts";
import { script } from "./support/script.ts";
import { startGateway } from "./support/start-gateway.ts";
import { claimer, runToAdmit } from "./support/stored-runs.ts";

const never = new Promise<never>(() => undefined);
const hanging: FakeReply = { steps: [{ hold: never }] };

function configFor(provider: FakeOpenAi): object {
  const providers = { fake: { api: "openai-compatible", baseUrl: provider.baseUrl, apiKey: "none" } };
  return { models: { providers }, agents: { defaults: { model: "fake/m" } } };
}

/** A state folder whose gateway died twice while it carried so many runs, each in a session of its own. */
async function diedTwiceWith(count: number, nowMs: number): Promise<AsyncDisposable & { readonly root: string }> {
  const root = await mkdtemp(join(tmpdir(), "portreeve-test-"));
  await mkdir(join(root, "state"), { mode: 0o700 });
  await using store = await openStoreFile(join(root, "state", "portreeve.db"), createIds());
  for (let index = 0; index < count; index += 1) {
    const run = { wireId: `r${index}`, sessionKey: `agent:main:s${index}`, defaultModel: "fake/m", startedBy: "secret" };
    await store.runs.admit(runToAdmit(run), nowMs);
  }
  for (let deaths = 0; deaths < 2; deaths += 1) {
    assert.equal((await store.runs.claim(claimer, () => nowMs)).claims.length, count);
    await store.runs.endLeases();
  }
  return { root, [Symbol.asyncDispose]: () => rm(root, { recursive: true }) };
}

test("of what a gateway died with twice each goes on as soon as the one before got on", async () => {
  const clock = createManualClock();
  const call = callTools({ id: "a", name: "ls", args: {} });
  await using provider = await startFakeOpenAi({ handler: ({ body }) => (body.messages?.at(-1)?.role === "tool" ? hanging : call) });
  await using folder = await diedTwiceWith(3, clock.now());
  await using _gw = await startGateway({ clock, root: folder.root, config: configFor(provider) });

  // Each asks twice, and no time passes.
  await provider.request(5);

  const afterTheTool = provider.requests.filter(({ body }) => body.messages?.at(-1)?.role === "tool");
  assert.equal(afterTheTool.length, 3);
});

test("of what a gateway died with twice one that does not get on holds up the next for ten seconds at most", async () => {
  const clock = createManualClock();
  await using provider = await startFakeOpenAi({ handler: () => hanging });
  await using folder = await diedTwiceWith(2, clock.now());
  await using gw = await startGateway({ clock, root: folder.root, config: configFor(provider) });
  const { call } = gw.callerWith("operator.write");

  await call("chat.send", { sessionKey: "other", message: "go", idempotencyKey: "other" });
  await provider.request(1);
  const before = provider.requests.map(({ body }) => JSON.stringify(body.messages?.at(-1)?.content));
  clock.advance(10_000);
  await provider.request(2);

  assert.deepEqual(
    before.map((asked) => asked.includes("go")),
    [false, true],
  );
});

test("however many runs work at once, none is taken over while its own turn goes on", async () => {
  const clock = createManualClock();
  await using provider = await startFakeOpenAi({ handler: () => hanging });
  await using gw = await startGateway({ clock, config: configFor(provider) });
  const send = (sessionKey: string) =>
    gw.callerWith("operator.write").call("chat.send", { sessionKey, message: "go", idempotencyKey: sessionKey });
  await Promise.all(Array.from({ length: 101 }, (_, index) => send(`s${index}`)));
  await provider.request(100);

  // A claim lasts for 30 s; who takes a run over asks its model again.
  for (let second = 0; second < 65; second += 1) {
    clock.advance(1_000);
    for (let turn = 0; turn < 10; turn += 1) await new Promise(setImmediate);
  }
  await send("last");
  await provider.request(101);

  assert.equal(provider.requests.length, 102);
  const { runs } = await gw.callerWith("operator.read").call("runs.list", { limit: 200 });
  assert.deepEqual([...new Set(runs.map(({ status }) => status))], ["running"]);
});

test("a clock that is set on takes no run from the turn that works on it: nothing is done twice, and no death is counted", async () => {
  const clock = createManualClock();
  const { tool, entered, open } = gate();
  await using gw = await startGateway({ clock, tools: [{ ...tool, repeat: "ask" }] });
  const { call } = gw.callerWith("operator.write");
  const message = script("work", { call: [{ tool: "gate", args: {} }] }, { say: "{{result:1}}" });
  await call("chat.send", { sessionKey: "main", message, idempotencyKey: "k" });
  await entered;

  for (let times = 0; times < 6; times += 1) {
    clock.set(clock.now() + 60_000);
    await call("agent", { sessionKey: `other-${times}`, message: "hello", idempotencyKey: `other-${times}` });
  }
  open();
  const { status } = await call("agent.wait", { runId: "k" });

  const { messages } = await call("chat.history", { sessionKey: "main" });
  const results = messages.filter(({ role }) => role === "toolResult").map(({ content }) => JSON.stringify(content));
  assert.equal(status, "ok");
  assert.equal(results.length, 1);
  assert.match(results[0] ?? "", /"open"/);
});
