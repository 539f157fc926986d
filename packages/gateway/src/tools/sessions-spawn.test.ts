import assert from "node:assert/strict";
import { test } from "node:test";
import { errorRules, ProtocolError, type ErrorCode } from "@portreeve/protocol";
import { z } from "zod";
import { fakeContext } from "./fake-context.ts";
import { sessionsSpawnTool } from "./sessions-spawn.ts";

const receipt = {
  status: "accepted",
  childSessionKey: "agent:main:subagent:1",
  runId: "spawn:1",
  mode: "run",
  resolvedModel: "scripted/scripted",
  context: "isolated",
  scopes: ["operator.write"],
  tools: ["read"],
  depth: 1,
  delivery: "pending",
  note: "The result comes to you.",
};

test("sessions_spawn passes the task on and answers the receipt", async () => {
  const context = fakeContext({ answer: () => receipt });
  const args = { task: "look", label: "Look", agentId: "main", model: "a/b", runTimeoutSeconds: 0, cleanup: "delete" };

  const result = await sessionsSpawnTool.execute(args, context);

  assert.deepEqual(JSON.parse(result.text), receipt);
  assert.deepEqual([result.isError, result.parks, result.details], [undefined, undefined, receipt]);
  const [call, ...others] = context.calls;
  assert.deepEqual(others, []);
  assert.equal(call?.name, "subagents.spawn");
  const { idempotencyKey, ...passed } = z.looseObject({ idempotencyKey: z.string() }).parse(call.params);
  assert.deepEqual(passed, args);
  assert.match(idempotencyKey, /^spawn:[\w-]{43}$/);
});

test("one tool call has one idempotency key, however often it is made", async () => {
  const keyOf = async (callKey: string): Promise<string> => {
    const context = fakeContext({ callKey, answer: () => receipt });
    await sessionsSpawnTool.execute({ task: "look" }, context);
    return z.looseObject({ idempotencyKey: z.string() }).parse(context.calls[0]?.params).idempotencyKey;
  };

  const longKey = "agent:main:x".repeat(60);
  const keys = [await keyOf("a"), await keyOf("a"), await keyOf("b"), await keyOf(longKey)];

  assert.equal(keys[0], keys[1]);
  assert.equal(new Set(keys).size, 3);
});

test("no scopes are asked for: the call has the least its method needs", async () => {
  const context = fakeContext({ answer: () => receipt });

  await sessionsSpawnTool.execute({ task: "look" }, context);

  assert.equal(context.calls[0]?.scopes, undefined);
});

for (const field of ["target", "channel", "to", "threadId", "thread_id", "replyTo", "reply_to", "transport"]) {
  test(`a delivery address in ${field} is refused with the reason, and nothing is spawned`, async () => {
    const context = fakeContext({ answer: () => receipt });

    const result = await sessionsSpawnTool.execute({ task: "look", [field]: "someone" }, context);

    assert.equal(result.isError, true);
    assert.ok(result.text.includes(`not allowed: ${field}. A sub-agent must not choose a delivery address`));
    assert.deepEqual(context.calls, []);
  });
}

const badArguments: readonly unknown[] = [
  {},
  { task: "" },
  { task: "look", scopes: ["operator.admin"] },
  { task: "look", sessionKey: "agent:main:other" },
  { task: "look", idempotencyKey: "mine" },
  { task: "look", agentId: "Error: no such agent" },
  { task: "look", agentId: "MAIN" },
  { task: "look", runTimeoutSeconds: -1 },
  { task: "look", cleanup: "archive" },
  "look",
  undefined,
];

for (const args of badArguments) {
  test(`the arguments ${JSON.stringify(args)} are refused, and nothing is spawned`, async () => {
    const context = fakeContext({ answer: () => receipt });

    const result = await sessionsSpawnTool.execute(args, context);

    assert.equal(result.isError, true);
    assert.match(result.text, /^The arguments of sessions_spawn are not valid: /);
    assert.deepEqual(context.calls, []);
  });
}

const forbidden: readonly ErrorCode[] = ["SPAWN_DEPTH", "SPAWN_CHILDREN", "MISSING_SCOPE", "WRONG_CALLER", "NOT_ALLOWED"];
const failing: readonly ErrorCode[] = [
  ...forbidden,
  "UNKNOWN_METHOD",
  "INVALID_PARAMS",
  "NOT_SUPPORTED",
  "IDEMPOTENCY_MISMATCH",
  "UNKNOWN_SESSION",
  "UNKNOWN_RUN",
  "UNKNOWN_AGENT_ID",
  "MODEL_UNUSABLE",
  "RUN_FAILED",
  "STORE_UNAVAILABLE",
  "SHUTTING_DOWN",
  "INTERNAL",
];

for (const code of failing) {
  const status = forbidden.includes(code) ? "forbidden" : "error";
  test(`a spawn that fails with ${code} is a typed ${status} result for the model`, async () => {
    const error = new ProtocolError(code, "what happened", { remedy: "what to do", details: { hidden: "fact" } });
    const context = fakeContext({ answer: () => Promise.reject(error) });

    const result = await sessionsSpawnTool.execute({ task: "look" }, context);

    const body = { status, code, message: "what happened", retryable: errorRules[code].retryable, remedy: "what to do" };
    assert.deepEqual(JSON.parse(result.text), body);
    assert.deepEqual([result.isError, result.details], [true, body]);
  });
}

test("retryable tells a limit that passes from one that does not", async () => {
  const retryableOf = async (code: ErrorCode): Promise<unknown> => {
    const context = fakeContext({ answer: () => Promise.reject(new ProtocolError(code, "x")) });
    return JSON.parse((await sessionsSpawnTool.execute({ task: "look" }, context)).text);
  };

  assert.deepEqual(await retryableOf("STORE_UNAVAILABLE"), { status: "error", code: "STORE_UNAVAILABLE", message: "x", retryable: true });
  assert.deepEqual(await retryableOf("SPAWN_DEPTH"), { status: "forbidden", code: "SPAWN_DEPTH", message: "x", retryable: false });
});

test("an unexpected failure is told as INTERNAL, without its words", async () => {
  for (const error of [new Error("SQLITE_FULL at /home/x, token abc"), "token abc", undefined]) {
    const context = fakeContext({ answer: () => Promise.reject(error) });

    const result = await sessionsSpawnTool.execute({ task: "look" }, context);

    assert.equal(result.isError, true);
    const body = z.looseObject({ status: z.string(), code: z.string() }).parse(JSON.parse(result.text));
    assert.deepEqual([body.status, body.code], ["error", "INTERNAL"]);
    assert.doesNotMatch(JSON.stringify(result), /SQLITE|token|home/);
  }
});

test("a stopped run gets no result: nobody reads it", async () => {
  const controller = new AbortController();
  const answer = () => {
    controller.abort(new Error("stopped"));
    return Promise.reject(new Error("aborted"));
  };
  const context = fakeContext({ signal: controller.signal, answer });

  await assert.rejects(sessionsSpawnTool.execute({ task: "look" }, context), /stopped/);
});
