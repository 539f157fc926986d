import assert from "node:assert/strict";
import { test } from "node:test";
import { ProtocolError, type ContentBlock, type Message, type SessionRow } from "@portreeve/protocol";
import { z } from "zod";
import { fakeContext } from "./fake-context.ts";
import { sessionsHistoryTool } from "./sessions-history.ts";
import { sessionsListTool } from "./sessions-list.ts";
import { subagentsTool } from "./subagents.ts";

const child: SessionRow = {
  key: "agent:main:subagent:1",
  sessionId: "s1",
  kind: "direct",
  agentId: "main",
  label: "Look",
  displayName: "Look",
  createdAt: 1,
  updatedAt: 5,
  archived: false,
  isMain: false,
  modelProvider: "scripted",
  model: "scripted",
  spawnedBy: "agent:main:main",
  spawnDepth: 1,
  subagentRole: "leaf",
  status: "done",
  runStatus: "succeeded",
  startedAt: 2,
  endedAt: 5,
  hasActiveRun: false,
  activeRunIds: [],
};

const list = {
  ts: 9,
  path: "",
  count: 1,
  totalCount: 7,
  limitApplied: 1,
  nextOffset: 1,
  hasMore: true,
  defaults: { modelProvider: "scripted", model: "scripted" },
  sessions: [child],
};

function history(...messages: readonly (readonly [Message["role"], ...ContentBlock[]])[]) {
  const rows = messages.map(([role, ...content], seq) => ({ role, content, timestamp: seq, __openclaw: { id: `m${seq}`, seq } }));
  return { sessionKey: "agent:main:main", sessionId: "s1", messages: rows, hasMore: false, totalMessages: rows.length };
}

const shownHistory = z.object({
  total: z.number(),
  messages: z.array(z.strictObject({ role: z.string(), at: z.number(), text: z.string() })),
});

const childRun = {
  runId: "run_1",
  wireId: "run_1",
  sessionKey: "agent:main:subagent:1",
  rootSessionKey: "agent:main:main",
  agentId: "main",
  trigger: "spawn",
  label: "Look",
  task: "look",
  model: "scripted/scripted",
  startedBy: "run:run_0",
  depth: 1,
  scopes: ["operator.write"],
  owner: false,
  status: "succeeded",
  createdAt: 1,
  startedAt: 2,
  endedAt: 5,
  usage: { input: 1, output: 1, totalTokens: 2 },
  children: { total: 0, open: 0 },
  delivery: { status: "pending" },
};

const asked = { runId: "run_1", childSessionKey: "agent:main:subagent:1", label: "Look", status: "running", hasEnded: false };

test("subagents lists the sub-agents of this session: how each stands and what became of its result", async () => {
  const context = fakeContext({ answer: () => ({ sessionKey: "agent:main:main", subagents: [{ ...childRun, number: 2 }] }) });

  const result = await subagentsTool.execute({ action: "list", depth: "all" }, context);

  assert.deepEqual(context.calls, [{ name: "subagents.list", params: { depth: "all" }, scopes: undefined }]);
  assert.deepEqual(JSON.parse(result.text), {
    subagents: [
      {
        runId: "run_1",
        number: 2,
        childSessionKey: "agent:main:subagent:1",
        label: "Look",
        status: "succeeded",
        startedAt: 2,
        endedAt: 5,
        result: "pending",
      },
    ],
  });
});

test("subagents waits and cancels by handle, and a wait that was too short leads to sessions_yield", async () => {
  const waiting = fakeContext({ answer: () => ({ status: "timeout", subagents: [asked] }) });
  const stopping = fakeContext({ answer: () => ({ subagent: asked, cancelledRunIds: ["run_1"] }) });

  const waited = await subagentsTool.execute({ action: "wait", subagents: ["Look"], timeoutSeconds: 0 }, waiting);
  await subagentsTool.execute({ action: "cancel", subagent: "Look" }, stopping);

  assert.deepEqual(waiting.calls, [{ name: "subagents.wait", params: { subagents: ["Look"], timeoutSeconds: 0 }, scopes: undefined }]);
  assert.match(waited.text, /sessions_yield/);
  assert.deepEqual(stopping.calls, [{ name: "subagents.cancel", params: { subagent: "Look" }, scopes: undefined }]);
});

for (const [args, said] of [
  [{}, /action/],
  [{ action: "kill" }, /action/],
  [{ action: "list", sessionKey: "agent:main:other" }, /sessionKey/],
  [{ action: "list", subagent: "Look" }, /subagent does not belong to it/],
  [{ action: "wait" }, /subagents is missing/],
  [{ action: "wait", subagents: [] }, /subagents/],
  [{ action: "wait", subagents: Array.from({ length: 33 }, (_, index) => `run_${index}`) }, /subagents/],
  [{ action: "wait", subagents: ["Look"], timeoutSeconds: 61 }, /timeoutSeconds/],
  [{ action: "cancel", subagents: ["Look"] }, /subagent is missing; subagents does not belong to it/],
] as const) {
  test(`subagents says what is wrong with ${JSON.stringify(args).slice(0, 60)}, and calls nothing`, async () => {
    const context = fakeContext();

    const result = await subagentsTool.execute(args, context);

    assert.equal(result.isError, true);
    assert.match(result.text, said);
    assert.deepEqual(context.calls, []);
  });
}

test("sessions_list shows where each session stands and how to read on", async () => {
  const context = fakeContext({ answer: () => list });

  const result = await sessionsListTool.execute({ limit: 1, search: "look" }, context);

  assert.deepEqual(context.calls, [{ name: "sessions.list", params: { limit: 1, search: "look" }, scopes: undefined }]);
  assert.deepEqual(JSON.parse(result.text), {
    total: 7,
    nextOffset: 1,
    sessions: [
      { key: "agent:main:subagent:1", agentId: "main", label: "Look", status: "succeeded", spawnedBy: "agent:main:main", updatedAt: 5 },
    ],
  });
});

test("sessions_history shows what was said, tool calls by name and tool results shortened", async () => {
  const answer = () =>
    history(
      ["user", { type: "text", text: "go" }],
      ["assistant", { type: "text", text: "I look." }, { type: "toolCall", id: "c1", name: "read", arguments: { path: "secret-args" } }],
      ["toolResult", { type: "toolResult", toolCallId: "c1", toolName: "read", text: "x".repeat(2_000), isError: false }],
      ["toolResult", { type: "toolResult", toolCallId: "c2", toolName: "ls", text: "no", isError: true }],
    );
  const context = fakeContext({ answer });

  const result = await sessionsHistoryTool.execute({ sessionKey: "agent:main:main", limit: 4 }, context);

  assert.deepEqual(context.calls, [{ name: "chat.history", params: { sessionKey: "agent:main:main", limit: 4 }, scopes: undefined }]);
  assert.deepEqual(shownHistory.parse(JSON.parse(result.text)).messages, [
    { role: "user", at: 0, text: "go" },
    { role: "assistant", at: 1, text: "I look.\n[calls read]" },
    { role: "toolResult", at: 2, text: `[read answered] ${"x".repeat(500)}… [1500 characters left out]` },
    { role: "toolResult", at: 3, text: "[ls failed] no" },
  ]);
});

test("a text is shortened between characters", async () => {
  const context = fakeContext({ answer: () => history(["user", { type: "text", text: `x${"😀".repeat(5_000)}` }]) });

  const { text } = await sessionsHistoryTool.execute({ sessionKey: "agent:main:main" }, context);

  const [message] = shownHistory.parse(JSON.parse(text)).messages;
  assert.equal(message?.text, `x${"😀".repeat(3_999)}… [2002 characters left out]`);
});

test("a long history is cut to its newest messages", async () => {
  const long = Array.from({ length: 20 }, (_, index) => ["user", { type: "text", text: `${index} ${"x".repeat(7_000)}` }] as const);
  const context = fakeContext({ answer: () => history(...long) });

  const { text } = await sessionsHistoryTool.execute({ sessionKey: "agent:main:main" }, context);

  const { messages, total } = shownHistory.parse(JSON.parse(text));
  assert.equal(total, 20);
  assert.deepEqual(
    messages.map(({ at }) => at),
    [12, 13, 14, 15, 16, 17, 18, 19],
  );
});

test("a newest message beyond the whole bound is still shown", async () => {
  const blocks: ContentBlock[] = Array.from({ length: 9 }, () => ({ type: "text", text: "y".repeat(8_000) }));
  const context = fakeContext({ answer: () => history(["user", { type: "text", text: "old" }], ["assistant", ...blocks]) });

  const { text } = await sessionsHistoryTool.execute({ sessionKey: "agent:main:main" }, context);

  assert.deepEqual(
    shownHistory.parse(JSON.parse(text)).messages.map(({ at }) => at),
    [1],
  );
});

for (const [tool, args] of [
  [subagentsTool, { action: "list" }],
  [sessionsListTool, {}],
  [sessionsHistoryTool, { sessionKey: "agent:main:main" }],
] as const) {
  test(`a refused ${tool.name} is a typed result for the model`, async () => {
    const context = fakeContext({ answer: () => Promise.reject(new ProtocolError("MISSING_SCOPE", "missing scope: operator.read")) });

    const result = await tool.execute(args, context);

    assert.equal(result.isError, true);
    assert.deepEqual(JSON.parse(result.text), {
      status: "forbidden",
      code: "MISSING_SCOPE",
      message: "missing scope: operator.read",
      retryable: false,
    });
  });
}
