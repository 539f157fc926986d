import assert from "node:assert/strict";
import { test } from "node:test";
import { ProtocolError } from "@portreeve/protocol";
import { fakeContext } from "./fake-context.ts";
import { sessionsYieldTool } from "./sessions-yield.ts";

test("sessions_yield parks the run", async () => {
  const context = fakeContext({ answer: () => ({ status: "yielded", openChildren: 2 }) });

  const result = await sessionsYieldTool.execute({ message: "waiting for both" }, context);

  assert.equal(result.parks, true);
  assert.deepEqual(JSON.parse(result.text), { status: "yielded", openChildren: 2 });
  assert.deepEqual(context.calls, [{ name: "subagents.yield", params: { message: "waiting for both" }, scopes: undefined }]);
});

test("without a child to wait for the run is not parked and the model is told to go on", async () => {
  const context = fakeContext({ answer: () => Promise.reject(new ProtocolError("NO_OPEN_CHILDREN", "there is no child to wait for")) });

  const result = await sessionsYieldTool.execute({}, context);

  assert.deepEqual([result.isError, result.parks], [true, undefined]);
  assert.deepEqual(JSON.parse(result.text), {
    status: "error",
    code: "NO_OPEN_CHILDREN",
    message: "there is no child to wait for",
    retryable: false,
    remedy: "Go on with your turn: every result is in this conversation already, or nothing was spawned.",
  });
});

test("another refusal keeps its own remedy and does not park", async () => {
  const context = fakeContext({ answer: () => Promise.reject(new ProtocolError("WRONG_CALLER", "not for you", { remedy: "ask" })) });

  const result = await sessionsYieldTool.execute({}, context);

  assert.equal(result.parks, undefined);
  assert.deepEqual(JSON.parse(result.text), {
    status: "forbidden",
    code: "WRONG_CALLER",
    message: "not for you",
    retryable: false,
    remedy: "ask",
  });
});
