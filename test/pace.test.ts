/** Runs that do not get on: stand-ins for a failing model, silence, a stop in the middle. */
import assert from "node:assert/strict";
import test from "node:test";
import type { AgentEvent } from "@portreeve/protocol";
import { z } from "zod";
import { defineTool } from "../packages/gateway/src/tools/tool.ts";
import { callTools, type FakeReply, say, startFakeOpenAi } from "./support/fake-openai.ts";
import { createManualClock, type ManualClock } from "./support/manual-clock.ts";
import { script } from "./support/script.ts";
import { startGateway, type TestGateway } from "./support/start-gateway.ts";

const refusedKey: FakeReply = { status: 401, body: { error: { message: "bad key" } } };

function ask(gw: TestGateway, message = "hello", idempotencyKey = "k") {
  return gw.callerWith("operator.write").call("agent", { message, idempotencyKey });
}

function twoProviders(first: string, second: string): object {
  const provider = (baseUrl: string) => ({ api: "openai-compatible", baseUrl, apiKey: "none" });
  return {
    models: { providers: { first: provider(first), second: provider(second) } },
    agents: { defaults: { model: "first/a", fallbacks: ["second/b"] } },
  };
}

/** Lets time pass, a second at a time, until `work` has settled. */
async function runUntil<T>(clock: ManualClock, work: Promise<T>): Promise<T> {
  let isSettled = false;
  const settle = (): void => void (isSettled = true);
  work.then(settle, settle);
  while (!isSettled) {
    await new Promise(setImmediate);
    if (!isSettled) clock.advance(1_000);
  }
  return await work;
}

test("a stand-in answers when the run's own model fails, and the next run starts with it", async () => {
  await using first = await startFakeOpenAi();
  await using second = await startFakeOpenAi();
  first.enqueue(refusedKey);
  second.enqueue(say("from the stand-in"), say("again"));
  await using gw = await startGateway({ config: twoProviders(first.baseUrl, second.baseUrl) });

  const one = await ask(gw);
  const two = await ask(gw, "and now?", "k2");

  assert.equal(one.result.payloads[0]?.text, "from the stand-in");
  assert.deepEqual([one.result.meta.agentMeta.model, two.result.meta.agentMeta.model], ["a", "b"]);
  assert.deepEqual([first.requests.length, second.requests.length], [1, 2]);
});

test("a model that is not to be asked for a day is stood in for at once, and without a stand-in the run says so", async () => {
  const clock = createManualClock();
  await using first = await startFakeOpenAi();
  await using second = await startFakeOpenAi();
  const limited: FakeReply = { status: 429, headers: { "retry-after": "86400" }, body: { error: { message: "too many" } } };
  first.enqueue(limited, limited);
  second.enqueue(say("from the stand-in"), say("again"));
  const config = twoProviders(first.baseUrl, second.baseUrl);
  await using gw = await startGateway({ clock, config });
  await using alone = await startGateway({ clock, config: { ...config, agents: { defaults: { model: "first/a" } } } });

  const one = await ask(gw);
  clock.advance(30 * 60_000);
  const two = await ask(gw, "and now?", "k2");
  const refused = assert.rejects(ask(alone), (error: Error & { details?: Record<string, unknown> }) => {
    assert.match(error.message, /asked not to be called again for 86400 s/);
    assert.equal(error.details?.["stopReason"], "rate_limit");
    return true;
  });

  await refused;
  assert.deepEqual(
    [one, two].map(({ result }) => result.payloads[0]?.text),
    ["from the stand-in", "again"],
  );
  assert.deepEqual([first.requests.length, second.requests.length], [2, 2]);
});

for (const [what, message] of [
  ["refused for its content", "flagged as violating our content policy"],
  ["too long", "maximum context length is 100 tokens"],
  ["not understood", "image_url is only supported by certain models"],
] as const) {
  test(`a conversation that is ${what} moves no other one to a stand-in`, async () => {
    const isBad = (body: unknown): boolean => JSON.stringify(body).includes("bad words");
    await using first = await startFakeOpenAi({
      handler: ({ body }) => (isBad(body) ? { status: 400, body: { error: { message } } } : say("from the first")),
    });
    await using second = await startFakeOpenAi({ handler: () => say("from the stand-in") });
    await using gw = await startGateway({ config: twoProviders(first.baseUrl, second.baseUrl) });
    const { call } = gw.callerWith("operator.write");

    const ended = call("agent", { sessionKey: "agent:main:a", message: "bad words", idempotencyKey: "a" });
    await Promise.allSettled([ended]);
    const other = await call("agent", { sessionKey: "agent:main:b", message: "good words", idempotencyKey: "b" });

    assert.equal(other.result.payloads[0]?.text, "from the first");
  });
}

test("when the stand-in fails too, the run ends with its error", async () => {
  await using first = await startFakeOpenAi();
  await using second = await startFakeOpenAi();
  first.enqueue(refusedKey);
  second.enqueue(refusedKey);
  await using gw = await startGateway({ config: twoProviders(first.baseUrl, second.baseUrl) });

  await assert.rejects(ask(gw), /second\/b|refused the key/);
});

test("a model that says nothing any more is interrupted: warned of, ended as stalled, its partial text kept", async () => {
  const clock = createManualClock();
  await using gw = await startGateway({ clock, config: { agents: { defaults: { stallSeconds: 100 } } } });
  const warned = new Promise<AgentEvent>((resolve) => {
    gw.gateway.bus.subscribe("agent", (event) => {
      if (event.stream === "lifecycle" && event.data.phase === "warning") resolve(event);
    });
  });

  const answer = assert.rejects(ask(gw, script("wait", { hang: true })), (error: Error & { details?: Record<string, unknown> }) => {
    assert.match(error.message, /nothing came of the model for 100 s/);
    assert.deepEqual([error.details?.["outcome"], error.details?.["text"]], ["stalled", "Waiting"]);
    return true;
  });
  await runUntil(clock, answer);

  assert.equal((await warned).stream, "lifecycle");
});

test("a tool that gives no sign is named when the run stalls, and one that does may take its time", async () => {
  const clock = createManualClock();
  const tool = defineTool({
    name: "slow",
    description: "Takes its time.",
    parameters: z.strictObject({ isQuiet: z.boolean() }),
    repeat: "safe",
    execute: ({ isQuiet }, { signal, sign }) =>
      new Promise((resolve, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason), { once: true });
        let minutes = 0;
        const tick = (): void => {
          if (!isQuiet) sign();
          minutes += 1;
          if (minutes === 10) resolve({ text: "done" });
          else clock.schedule(clock.now() + 60_000, tick);
        };
        tick();
      }),
  });
  await using gw = await startGateway({ clock, tools: [tool], config: { agents: { defaults: { stallSeconds: 100 } } } });
  const use = (isQuiet: boolean) => script("work", { call: [{ tool: "slow", args: { isQuiet } }] }, { say: "finished" });

  const busy = await runUntil(clock, ask(gw, use(false), "busy"));
  const quiet = assert.rejects(ask(gw, use(true), "quiet"), /nothing came of the tools slow for 100 s/);
  await runUntil(clock, quiet);

  assert.match(busy.result.payloads[0]?.text ?? "", /^finished/);
});

test("a stop lets the step at hand finish, and the next process goes on from there without asking again", async () => {
  const hold = Promise.withResolvers<void>();
  await using provider = await startFakeOpenAi();
  provider.enqueue(
    { steps: [{ text: "I look" }, { hold: hold.promise }, ...(callTools({ id: "c1", name: "ls", args: {} }) as { steps: [] }).steps] },
    say("there it is"),
  );
  const config = {
    gateway: { drainSeconds: 60 },
    models: { providers: { fake: { api: "openai-compatible", baseUrl: provider.baseUrl, apiKey: "none" } } },
    agents: { defaults: { model: "fake/test" } },
  };
  await using gw = await startGateway({ config });
  await gw.callerWith("operator.write").call("chat.send", { sessionKey: "main", message: "look", idempotencyKey: "k" });
  await provider.request(0);

  const restarted = gw.restart();
  hold.resolve();
  await restarted;
  const ended = await gw.callerWith("operator.write").call("agent.wait", { runId: "k" });

  assert.equal(ended.status, "ok");
  assert.equal(provider.requests.length, 2);
});
