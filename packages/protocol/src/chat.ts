/** Talking to a session: send, read back, stop. */
import { z } from "zod";
import { event, method } from "./define.ts";
import { agentsList } from "./agents.ts";
import { commandEntry } from "./commands.ts";
import { modelChoice } from "./models.ts";
import { agentId, idempotencyKey, message, nonEmpty, runEnvelope, runMs, sessionKey, sessionRow, usage } from "./shapes.ts";

const historyParams = {
  sessionKey,
  agentId: agentId.optional(),
  limit: z.number().int().min(1).max(1_000).optional(),
  offset: z.number().int().nonnegative().optional(),
  /** Of each text of a message, and of the arguments of each tool call; absent: 12 000, and 128 KiB a message. */
  maxChars: z.number().int().min(1).max(500_000).optional(),
  /** Of all messages together, at most 6 MiB; the newest one is there whatever its size. */
  maxBytes: z.number().int().min(1_024).optional(),
  /** Of messages that were sent: whether they are among what was said yet. */
  inputRunIds: z.array(nonEmpty.max(256)).min(1).max(50).optional(),
};
// A key has one session at a time.
const historyIgnored = ["sessionId", "pendingBefore"];
const historyUnsupported = ["cursor", "messageId"];

const chatMetadata = z.object({ models: z.array(modelChoice), commands: z.array(commandEntry) });

export const historyPage = z.object({
  sessionKey: z.string(),
  sessionId: z.string(),
  messages: z.array(message),
  hasMore: z.boolean(),
  totalMessages: z.number().int(),
  /** For `inputRunIds`, in their order; one of another session, or whose message is not on this page, is left out. */
  inputReceipts: z
    .array(
      z.union([
        z.object({ runId: z.string(), state: z.literal("pending") }),
        z.object({ runId: z.string(), state: z.literal("consumed"), consumedByEventId: z.string() }),
      ]),
    )
    .optional(),
});

export const chatMethods = {
  "chat.send": method({
    summary:
      "Send a message to a session; answers at once, the reply comes as `chat` events. Slash commands (`/help`) are answered without a model.",
    scope: "operator.write",
    kind: "command",
    callers: ["operator"],
    params: () =>
      z.strictObject({
        sessionKey,
        agentId: agentId.optional(),
        message: z.string().max(1_000_000),
        timeoutMs: runMs.optional(),
        /** What becomes of the message while a run works in the session; absent is `steer`. */
        queueMode: z.enum(["steer", "followup", "collect", "interrupt"]).optional(),
        /** A message that reads like a slash command is one; `true`: it goes to the model as it stands. */
        suppressCommandInterpretation: z.boolean().optional(),
        idempotencyKey,
      }),
    // A key has one session at a time, and a transcript one branch: the leaf is its newest message.
    ignored: ["sessionId", "mentions", "workContext", "expectedLeafEntryId"],
    unsupported: [
      "intent",
      "thinking",
      "fastMode",
      "fastAutoOnSeconds",
      "deliver",
      "originatingChannel",
      "originatingTo",
      "originatingAccountId",
      "originatingThreadId",
      "replyToId",
      "attachments",
      "toolBindings",
      "expectedSessionRoutingContract",
      "expectedPermissionMode",
      "expectedToolOverrides",
    ],
    result: () =>
      z.union([
        z.object({
          runId: z.string(),
          status: z.enum(["started", "in_flight", "ok", "error", "timeout"]),
          /** The answer to a slash command: no run was started. */
          reply: z.string().optional(),
        }),
        z.object({ ok: z.literal(true), aborted: z.boolean(), runIds: z.array(z.string()) }),
      ]),
  }),
  "chat.history": method({
    summary: "The newest messages of a session, oldest first; an unknown session has none.",
    scope: "operator.read",
    kind: "query",
    params: () => z.strictObject(historyParams),
    ignored: historyIgnored,
    unsupported: historyUnsupported,
    result: () => historyPage,
  }),
  "chat.startup": method({
    summary: "What a client needs to open a conversation, in one answer: its newest messages, how it stands, agents, models, commands.",
    scope: "operator.read",
    kind: "query",
    callers: ["operator"],
    params: () => z.strictObject(historyParams),
    ignored: historyIgnored,
    unsupported: historyUnsupported,
    result: () =>
      historyPage.extend({
        /** Absent for a session that nobody has spoken in yet. */
        sessionInfo: sessionRow.optional(),
        defaults: z.object({ modelProvider: z.string(), model: z.string() }),
        agentsList,
        metadata: chatMetadata,
      }),
  }),
  "chat.metadata": method({
    summary: "What may be chosen while a message is written: models and slash commands.",
    scope: "operator.read",
    kind: "query",
    callers: ["operator"],
    params: () => z.strictObject({ agentId: agentId.optional(), sessionKey: sessionKey.optional() }),
    result: () => chatMetadata,
  }),
  "chat.message.get": method({
    summary: "One message of a session, with its texts whole as far as `maxChars` goes.",
    scope: "operator.read",
    kind: "query",
    callers: ["operator"],
    params: () =>
      z.strictObject({
        sessionKey,
        agentId: agentId.optional(),
        messageId: nonEmpty,
        maxChars: z.number().int().min(1).max(2_000_000).optional(),
      }),
    result: () =>
      z.discriminatedUnion("ok", [
        z.object({ ok: z.literal(true), message }),
        z.object({ ok: z.literal(false), unavailableReason: z.literal("not_found") }),
      ]),
  }),
  "chat.inject": method({
    summary: "Add a message to a session as if its agent had said it; no model is asked.",
    scope: "operator.admin",
    kind: "command",
    callers: ["operator"],
    hidden: true,
    params: () =>
      z.strictObject({
        sessionKey,
        agentId: agentId.optional(),
        message: nonEmpty.max(200_000),
        /** Stands before the message, in brackets. */
        label: z.string().max(100).optional(),
      }),
    result: () => z.object({ ok: z.literal(true), messageId: z.string() }),
  }),
  "chat.abort": method({
    summary: "Stop the runs of a session, or one of them, with everything they spawned.",
    scope: "operator.write",
    kind: "command",
    callers: ["operator"],
    params: () => z.strictObject({ sessionKey, agentId: agentId.optional(), runId: nonEmpty.optional() }),
    ignored: ["preserveSideRuns"],
    result: () => z.object({ ok: z.literal(true), aborted: z.boolean(), runIds: z.array(z.string()) }),
  }),
};

/** What clients tell a person of a failed reply; `agent` events and `runs.get` have the exact reason. */
const errorKinds = ["refusal", "timeout", "rate_limit", "context_length", "unknown"] as const;

const chatMessage = z.object({
  role: z.literal("assistant"),
  content: z.array(z.object({ type: z.literal("text"), text: z.string() })),
  timestamp: z.number().int(),
});

export const chatEvents = {
  chat: event({
    summary: "A reply as it forms (`delta`, cumulative text) and as it ended (`final`, `aborted`, `error`).",
    scope: "operator.read",
    droppable: true,
    payload: () =>
      z.discriminatedUnion("state", [
        z.object({
          ...runEnvelope,
          state: z.literal("delta"),
          message: chatMessage,
          deltaText: z.string(),
          replace: z.literal(true).optional(),
        }),
        z.object({
          ...runEnvelope,
          state: z.literal("final"),
          message: chatMessage.optional(),
          stopReason: z.string().optional(),
          usage: usage.optional(),
        }),
        z.object({ ...runEnvelope, state: z.literal("aborted"), message: chatMessage.optional(), stopReason: z.string() }),
        z.object({ ...runEnvelope, state: z.literal("error"), errorMessage: z.string(), errorKind: z.enum(errorKinds) }),
      ]),
  }),
};

export type ChatErrorKind = (typeof errorKinds)[number];
export type ChatEvent = z.infer<(typeof chatEvents)["chat"]["payload"]>;
