/** What is told of sessions to whoever subscribed. */
import { z } from "zod";
import { event } from "./define.ts";
import { message, sessionRow, timeMs } from "./shapes.ts";

export const sessionEvents = {
  "session.message": event({
    summary:
      "A message was added to a transcript; for connections that called `sessions.messages.subscribe` for it, or `sessions.subscribe`.",
    scope: "operator.read",
    droppable: false,
    payload: () =>
      z.object({
        sessionKey: z.string(),
        agentId: z.string(),
        message,
        messageId: z.string(),
        messageSeq: z.number().int(),
        session: sessionRow,
      }),
  }),
  "sessions.changed": event({
    summary: "A session was made, changed, worked in or deleted; for connections that called `sessions.subscribe`.",
    scope: "operator.read",
    droppable: true,
    payload: () =>
      z.object({
        sessionKey: z.string(),
        agentId: z.string(),
        reason: z.enum(["create", "send", "patch", "reset", "delete", "compact", "message", "agent.run.started", "agent.run.ended"]),
        runId: z.string().optional(),
        ts: timeMs,
        session: sessionRow.optional(),
      }),
  }),
};
