/** Claims of runs that work: kept for as long as their process lives. */
import assert from "node:assert/strict";
import test from "node:test";
import { startFakeOpenAi } from "./support/fake-openai.ts";
import { createManualClock } from "./support/manual-clock.ts";
import { startGateway } from "./support/start-gateway.ts";

test("however many runs work at once, none is taken over while its own turn goes on", async () => {
  const clock = createManualClock();
  const never = new Promise(() => undefined);
  await using provider = await startFakeOpenAi({ handler: () => ({ steps: [{ hold: never }] }) });
  const providers = { fake: { api: "openai-compatible", baseUrl: provider.baseUrl, apiKey: "none" } };
  await using gw = await startGateway({ clock, config: { models: { providers }, agents: { defaults: { model: "fake/m" } } } });
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
