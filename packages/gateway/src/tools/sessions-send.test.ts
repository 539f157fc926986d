import assert from "node:assert/strict";
import { test } from "node:test";
import { ProtocolError } from "@portreeve/protocol";
import { z } from "zod";
import { fakeContext } from "./fake-context.ts";
import { sessionsSendTool } from "./sessions-send.ts";

const sent = { runId: "k", status: "started", messageSeq: 3, delivery: "replied", reply: "yes" };
const asked = { runId: "run_1", childSessionKey: "agent:main:subagent:1", status: "running", hasEnded: false };

test("a message is sent once however often the call is made again, and its reply comes back", async () => {
  const contexts = ["call-1", "call-1", "call-2"].map((callKey) => fakeContext({ callKey, answer: () => sent }));

  const results = [];
  for (const context of contexts)
    results.push(await sessionsSendTool.execute({ sessionKey: "agent:main:other", message: "well?" }, context));
  const [params, ...others] = contexts.map(({ calls }) => z.looseObject({ idempotencyKey: z.string() }).parse(calls[0]?.params));
  const keys = [params, ...others].map((one) => one?.idempotencyKey);

  assert.deepEqual(params, {
    key: "agent:main:other",
    message: "well?",
    mode: "followup",
    waitSeconds: 30,
    idempotencyKey: keys[0],
  });
  assert.deepEqual([keys[0] === keys[1], keys[0] === keys[2]], [true, false]);
  assert.deepEqual(JSON.parse(results[0]?.text ?? ""), sent);
});

test("steering goes to sub-agents alone, by whatever they are called", async () => {
  const context = fakeContext({ answer: () => ({ subagent: asked, runId: "run_2" }) });

  await sessionsSendTool.execute({ sessionKey: "survey", message: "only the first ten", mode: "steer" }, context);

  assert.deepEqual(
    context.calls.map(({ name }) => name),
    ["subagents.steer"],
  );
});

test("a note is sent as one, and the model learns that no reply comes", async () => {
  const context = fakeContext({ answer: () => ({ runId: "k", status: "ok", messageSeq: 3 }) });

  const result = await sessionsSendTool.execute({ sessionKey: "agent:main:other", message: "by the way", mode: "notify" }, context);

  assert.equal(z.looseObject({ mode: z.string() }).parse(context.calls[0]?.params).mode, "notify");
  assert.match(result.text, /no reply comes/);
});

test("a refusal is a typed result, and what is too long or unknown is never sent", async () => {
  const refused = fakeContext({ answer: () => Promise.reject(new ProtocolError("MESSAGE_HOPS", "too often")) });
  const unsent = fakeContext();

  const result = await sessionsSendTool.execute({ sessionKey: "agent:main:other", message: "again" }, refused);
  for (const args of [
    { sessionKey: "x", message: "y".repeat(32_001) },
    { sessionKey: "x", message: "y", mode: "shout" },
    { sessionKey: "x", message: "y", timeoutSeconds: 61 },
    { sessionKey: "x", message: "y", channel: "somewhere" },
  ])
    assert.equal((await sessionsSendTool.execute(args, unsent)).isError, true);

  assert.match(result.text, /"status":"forbidden","code":"MESSAGE_HOPS"/);
  assert.deepEqual(unsent.calls, []);
});
