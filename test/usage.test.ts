/** What runs used and cost, from the provider's own numbers to the command line. */
import assert from "node:assert/strict";
import test from "node:test";
import { openHome } from "./support/cli.ts";
import { callTools, type ChatBody, type FakeReply, say, startFakeOpenAi } from "./support/fake-openai.ts";
import { startGateway } from "./support/start-gateway.ts";

const prices = { "fake/test": { input: 2, output: 10, cacheRead: 0.5 } };

function configFor(baseUrl: string, priced: object = prices): object {
  return {
    models: { providers: { fake: { api: "openai-compatible", baseUrl, apiKey: "none" } }, prices: priced },
    agents: { defaults: { model: "fake/test" } },
  };
}

const delegate = ({ body }: { readonly body: ChatBody }): FakeReply => {
  const last = String(body.messages?.at(-1)?.content ?? "");
  if (last === "CHILD") return say("found", { input: 1_000, output: 100 });
  if (last === "delegate") return callTools({ id: "c", name: "sessions_spawn", args: { task: "CHILD" } });
  return body.messages?.at(-1)?.role === "tool" ? callTools({ id: "y", name: "sessions_yield", args: {} }) : say("done");
};

test("a reply costs what the provider counted, cached tokens at their own price, and an attempt that nobody counted nothing", async () => {
  await using provider = await startFakeOpenAi();
  provider.enqueue({ status: 503, headers: { "retry-after-ms": "1" } }, say("hello", { input: 1_000, output: 20, cached: 600 }));
  await using gw = await startGateway({ config: configFor(provider.baseUrl) });
  const call = gw.callerWith("operator.write", "operator.read");

  const { result } = await call.call("agent", { message: "hi", idempotencyKey: "k" });
  const { totals, daily } = await call.call("usage.cost", {});
  const { sessions, aggregates } = await call.call("sessions.usage", { key: "main" });

  const used = { input: 400, output: 20, cacheRead: 600, cacheWrite: 0, totalTokens: 1_020, missingCostEntries: 0 };
  const costs = { inputCost: 0.0008, outputCost: 0.0002, cacheReadCost: 0.0003, cacheWriteCost: 0, totalCost: 0.0013 };
  assert.equal(result.meta.agentMeta.costUsd, 0.0013);
  assert.deepEqual(totals, { ...used, ...costs });
  assert.equal(daily.length, 1);
  assert.deepEqual([sessions[0]?.key, sessions[0]?.usage.totalCost, aggregates.byModel[0]?.count], ["agent:main:main", 0.0013, 1]);
  assert.deepEqual(
    [aggregates.byProvider[0]?.count, aggregates.byAgent[0]?.totals, aggregates.costDaily, aggregates.messages.assistant],
    [1, totals, daily, 1],
  );
  assert.deepEqual(aggregates.daily, [{ date: daily[0]?.date, tokens: 1_020, cost: 0.0013, messages: 1, toolCalls: 0, errors: 0 }]);
});

test("a failed attempt that the provider counted is charged like any other", async () => {
  await using provider = await startFakeOpenAi();
  const google = (part: object, finishReason: string): FakeReply => {
    const usageMetadata = { promptTokenCount: 100, candidatesTokenCount: 10, totalTokenCount: 110 };
    return { steps: [{ frame: { candidates: [{ index: 0, content: { role: "model", parts: [part] }, finishReason }], usageMetadata } }] };
  };
  provider.enqueue(google({ text: "half" }, "MALFORMED_FUNCTION_CALL"), google({ text: "whole" }, "STOP"));
  const models = {
    providers: { google: { api: "google", baseUrl: provider.baseUrl, apiKey: "test-key" } },
    prices: { "google/m": { input: 1, output: 1 } },
  };
  await using gw = await startGateway({ config: { models, agents: { defaults: { model: "google/m" } } } });
  const call = gw.callerWith("operator.write", "operator.read");

  const { result } = await call.call("agent", { message: "hi", idempotencyKey: "k" });
  const { totals } = await call.call("usage.cost", {});

  assert.equal(result.payloads[0]?.text, "whole");
  assert.deepEqual(result.meta.agentMeta.usage, { input: 200, output: 20, totalTokens: 220 });
  assert.deepEqual([totals.totalTokens, totals.totalCost], [220, 0.00022]);
});

test("a model without a price has tokens, and a cost that is said to be unknown", async () => {
  await using provider = await startFakeOpenAi({ handler: () => say("hello") });
  await using home = await openHome(configFor(provider.baseUrl, {}));

  await home.cli(["agent", "hi"]);
  const shown = await home.cli(["usage"]);
  const json = await home.cli(["usage", "--json", "--days", "1", "--session", "main"]);
  const { totals } = JSON.parse(json.out) as { totals: { totalTokens: number; totalCost: number; missingCostEntries: number } };

  assert.match(shown.out, /agent:main:main +3 +0 +2 +unknown/);
  assert.match(shown.out, /1 calls have no known price: set models\.prices/);
  assert.deepEqual([totals.totalTokens, totals.missingCostEntries], [5, 1]);
});

test("a parent reads what its child cost and in which session, and the totals outlive both sessions", async () => {
  await using provider = await startFakeOpenAi({ handler: delegate });
  await using gw = await startGateway({ config: configFor(provider.baseUrl) });
  const call = gw.callerWith("operator.admin");

  await call.call("agent", { message: "delegate", sessionKey: "agent:main:work", idempotencyKey: "k" });
  const history = JSON.stringify((await call.call("chat.history", { sessionKey: "agent:main:work" })).messages);
  const before = await call.call("usage.cost", {});
  const { sessions } = await call.call("sessions.list", {});
  for (const { key } of sessions) await call.call("sessions.delete", { key });
  const after = await call.call("usage.cost", {});
  const deleted = await call.call("sessions.usage", {});

  assert.match(history, /tokens 1000 in and 100 out, cost \$0\.0030, session agent:main:subagent:/);
  assert.deepEqual(after.totals, before.totals);
  assert.equal(before.totals.totalTokens, 1_100 + 3 * 5);
  assert.equal(deleted.sessions.length, 2);
});

test("no call yet is said, and a day that is none is refused", async () => {
  await using home = await openHome();

  const shown = await home.cli(["usage"]);
  const wrong = await home.cli(["call", "usage.cost", '{"startDate":"2026-02-30"}']);

  assert.match(shown.out, /No model call between/);
  assert.match(wrong.err, /there is no day 2026-02-30/);
});
