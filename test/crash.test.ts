/** kill -9: what was acknowledged goes on in the next process, and every result reaches its parent once. */
import assert from "node:assert/strict";
import test from "node:test";
import { callTools, type ChatBody, type FakeReply, say, startFakeOpenAi } from "./support/fake-openai.ts";
import { startGatewayProcess } from "./support/gateway-process.ts";
import { connectWire, type Wire } from "./support/wire-client.ts";

const spawnBoth = callTools(
  { id: "left", name: "sessions_spawn", args: { task: "CHILD left", label: "left" } },
  { id: "right", name: "sessions_spawn", args: { task: "CHILD right", label: "right" } },
);

/** The last thing somebody said to the model. */
function lastOf(body: ChatBody): string {
  return String(body.messages?.at(-1)?.content ?? "");
}

function said(body: ChatBody): string {
  return (body.messages ?? []).map((message) => String(message.content ?? "")).join("\n");
}

/** A parent that spawns two children, waits for both and sums up; children answer when they are let go. */
function createModel() {
  const bothAsked = Promise.withResolvers<void>();
  const release = Promise.withResolvers<void>();
  const asked = new Set<string>();
  const childReply = (body: ChatBody): FakeReply => {
    const name = lastOf(body).replace("CHILD ", "");
    asked.add(name);
    if (asked.size === 2) bothAsked.resolve();
    return { steps: [{ hold: release.promise }, { text: `result of ${name}` }, { finish: "stop" }] };
  };
  const parentReply = (body: ChatBody): FakeReply => {
    const results = said(body).match(/result of (left|right)/g) ?? [];
    if (body.messages?.at(-1)?.role === "user" && results.length === 0) return spawnBoth;
    return new Set(results).size < 2
      ? callTools({ id: "wait", name: "sessions_yield", args: {} })
      : say(`summed up ${results.length}: ${results.toSorted().join(", ")}`);
  };
  return {
    bothAsked: bothAsked.promise,
    release: () => release.resolve(),
    handler: (body: ChatBody) => (lastOf(body).startsWith("CHILD ") ? childReply(body) : parentReply(body)),
  };
}

function providerConfig(baseUrl: string): object {
  return {
    models: { providers: { fake: { api: "openai-compatible", baseUrl, apiKey: "none" } } },
    agents: { defaults: { model: "fake/test" } },
  };
}

async function history(wire: Wire): Promise<string> {
  const answer = await wire.request("chat.history", { sessionKey: "main" });
  return JSON.stringify(answer.payload?.["messages"]);
}

test("killed while two children run, the next process delivers both results to the parent exactly once", async () => {
  const model = createModel();
  await using provider = await startFakeOpenAi({ handler: (request) => model.handler(request.body) });
  await using gateway = await startGatewayProcess({ config: providerConfig(provider.baseUrl) });
  const before = await connectWire(gateway.url, { token: gateway.token, scopes: ["operator.write"] });
  const accepted = await before.request("agent", { message: "split the work", idempotencyKey: "k1" });
  await model.bothAsked;

  await gateway.kill();
  await gateway.start();
  await using wire = await connectWire(gateway.url, { token: gateway.token, scopes: ["operator.write"] });
  model.release();
  const waited = await wire.request("agent.wait", { runId: "k1" });
  const status = await wire.request("status");

  assert.equal(accepted.payload?.["status"], "accepted");
  assert.equal(waited.payload?.["status"], "ok");
  assert.deepEqual(status.payload?.["children"], { accepted: 2, completed: 2, announced: 2, undelivered: 0 });
  const messages = await history(wire);
  assert.match(messages, /summed up 2: result of left, result of right/);
  assert.equal(messages.match(/<subagent_result /g)?.length, 2);
  await before[Symbol.asyncDispose]();
});

test("killed after a child's result was stored and before the parent read it, the parent reads it once", async () => {
  const model = createModel();
  const parentSleeps = Promise.withResolvers<void>();
  const wake = Promise.withResolvers<void>();
  // The parent's next model call, which would carry the results, is held: the kill falls between inbox and answer.
  await using provider = await startFakeOpenAi({
    handler: ({ body }) => {
      const reply = model.handler(body);
      if (!/<subagent_result /.test(said(body))) return reply;
      parentSleeps.resolve();
      return "steps" in reply ? { steps: [{ hold: wake.promise }, ...reply.steps] } : reply;
    },
  });
  await using gateway = await startGatewayProcess({ config: providerConfig(provider.baseUrl) });
  const before = await connectWire(gateway.url, { token: gateway.token, scopes: ["operator.write"] });
  await before.request("agent", { message: "split the work", idempotencyKey: "k1" });
  model.release();
  await parentSleeps.promise;

  await gateway.kill();
  await gateway.start();
  wake.resolve();
  await using wire = await connectWire(gateway.url, { token: gateway.token, scopes: ["operator.write"] });
  const waited = await wire.request("agent.wait", { runId: "k1" });
  const status = await wire.request("status");

  assert.equal(waited.payload?.["status"], "ok");
  assert.deepEqual(status.payload?.["children"], { accepted: 2, completed: 2, announced: 2, undelivered: 0 });
  assert.equal((await history(wire)).match(/<subagent_result /g)?.length, 2);
  await before[Symbol.asyncDispose]();
});

test("a stopped gateway says goodbye, leaves the run where it stands, and the next process ends it", async () => {
  const model = createModel();
  await using provider = await startFakeOpenAi({ handler: (request) => model.handler(request.body) });
  await using gateway = await startGatewayProcess({ config: providerConfig(provider.baseUrl) });
  await using before = await connectWire(gateway.url, { token: gateway.token, scopes: ["operator.write"] });
  await before.request("agent", { message: "split the work", idempotencyKey: "k1" });
  await model.bothAsked;

  const code = await gateway.stop("SIGTERM");
  const close = await before.closed;
  await gateway.start();
  model.release();
  await using wire = await connectWire(gateway.url, { token: gateway.token, scopes: ["operator.write"] });
  const waited = await wire.request("agent.wait", { runId: "k1" });

  assert.equal(code, 0);
  assert.deepEqual([close.code, close.reason], [1012, "service restart"]);
  assert.ok(before.frames.some((frame) => frame.event === "shutdown"));
  assert.equal(waited.payload?.["status"], "ok");
});
