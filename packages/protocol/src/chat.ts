/** Talking to a session: send, read back, stop. */
import { z } from "zod";
import { event, method } from "./define.ts";
import { agentId, idempotencyKey, message, nonEmpty, runEnvelope, sessionKey, usage } from "./shapes.ts";

export const chatMethods = {
  "chat.send": method({
    summary:
      "Send a message to a session; answers at once, the reply comes as `chat` events. Slash commands (`/help`) are answered without a model.",
    scope: "operator.write",
    kind: "command",
    callers: ["operator"],
    params: z.strictObject({
      sessionKey,
      agentId: agentId.optional(),
      message: z.string().max(1_000_000),
      timeoutMs: z.number().int().nonnegative().optional(),
      /** What becomes of the message while a run works in the session; absent is `steer`. */
      queueMode: z.enum(["steer", "followup", "collect", "interrupt"]).optional(),
      /** A message that reads like a slash command is one; `true`: it goes to the model as it stands. */
      suppressCommandInterpretation: z.boolean().optional(),
      idempotencyKey,
    }),
    ignored: ["sessionId", "mentions", "workContext"],
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
      "expectedLeafEntryId",
      "expectedSessionRoutingContract",
      "expectedPermissionMode",
      "expectedToolOverrides",
    ],
    result: z.union([
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
    params: z.strictObject({
      sessionKey,
      agentId: agentId.optional(),
      limit: z.number().int().min(1).max(1_000).optional(),
      offset: z.number().int().nonnegative().optional(),
      maxChars: z.number().int().min(1).max(500_000).optional(),
    }),
    ignored: ["maxBytes", "sessionId"],
    unsupported: ["cursor", "pendingBefore", "inputRunIds", "messageId"],
    result: z.object({
      sessionKey: z.string(),
      sessionId: z.string(),
      messages: z.array(message),
      hasMore: z.boolean(),
      totalMessages: z.number().int(),
    }),
  }),
  "chat.abort": method({
    summary: "Stop the runs of a session, or one of them, with everything they spawned.",
    scope: "operator.write",
    kind: "command",
    callers: ["operator"],
    params: z.strictObject({ sessionKey, agentId: agentId.optional(), runId: nonEmpty.optional() }),
    ignored: ["preserveSideRuns"],
    result: z.object({ ok: z.literal(true), aborted: z.boolean(), runIds: z.array(z.string()) }),
  }),
};

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
    payload: z.discriminatedUnion("state", [
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
      z.object({ ...runEnvelope, state: z.literal("error"), errorMessage: z.string(), errorKind: z.string().optional() }),
    ]),
  }),
};

export type ChatEvent = z.infer<(typeof chatEvents)["chat"]["payload"]>;
