/** Messages that say nothing. */
import assert from "node:assert/strict";
import test from "node:test";
import { startGateway } from "./support/start-gateway.ts";

test("a message of white space alone is refused, whichever method sends it", async () => {
  await using gw = await startGateway();
  const { call } = gw.callerWith("operator.write", "operator.read");
  const refused = { code: "INVALID_PARAMS", message: "message or attachment required" };

  await assert.rejects(call("agent", { message: " \n ", idempotencyKey: "k1" }), refused);
  await assert.rejects(call("chat.send", { sessionKey: "main", message: " \n ", idempotencyKey: "k2" }), refused);

  assert.deepEqual((await call("runs.list", {})).runs, []);
});
