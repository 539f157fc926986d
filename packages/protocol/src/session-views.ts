/** Reading sessions one by one: which is meant, how it stands, what was said. */
import { z } from "zod";
import { method } from "./define.ts";
import { agentId, label, message, nonEmpty, sessionKey, sessionRow, timeMs } from "./shapes.ts";

const messagesOf = z.strictObject({ key: sessionKey, agentId: agentId.optional() });

export const sessionViewMethods = {
  "sessions.describe": method({
    summary: "One session as lists show it; `null` when there is none.",
    scope: "operator.read",
    kind: "query",
    callers: ["operator"],
    params: () =>
      z.strictObject({
        key: sessionKey,
        agentId: agentId.optional(),
        includeDerivedTitles: z.boolean().optional(),
        includeLastMessage: z.boolean().optional(),
      }),
    result: () => z.object({ session: sessionRow.nullable() }),
  }),
  "sessions.preview": method({
    summary: "The newest texts of several sessions, each cut short.",
    scope: "operator.read",
    kind: "query",
    callers: ["operator"],
    params: () =>
      z.strictObject({
        keys: z.array(sessionKey).min(1),
        limit: z.number().int().min(1).optional(),
        maxChars: z.number().int().min(20).optional(),
      }),
    result: () =>
      z.object({
        ts: timeMs,
        previews: z.array(
          z.object({
            key: z.string(),
            /** `error`: not a key of a configured agent. */
            status: z.enum(["ok", "empty", "missing", "error"]),
            items: z.array(z.object({ role: z.string(), text: z.string() })),
          }),
        ),
      }),
  }),
  "sessions.resolve": method({
    summary: "The canonical key of the one session that a key, an id or a label means.",
    scope: "operator.read",
    kind: "query",
    callers: ["operator"],
    params: () =>
      z.strictObject({
        key: sessionKey.optional(),
        sessionId: nonEmpty.optional(),
        label: label.optional(),
        agentId: agentId.optional(),
        spawnedBy: nonEmpty.optional(),
        /** Nothing found is an answer, and no error. */
        allowMissing: z.boolean().optional(),
      }),
    // There is no session that these would add, and the hint only helps to choose between short ids.
    ignored: ["includeGlobal", "includeUnknown", "slugHint"],
    unsupported: ["shortId"],
    result: () =>
      z.discriminatedUnion("ok", [
        z.object({ ok: z.literal(true), key: z.string(), agentId: z.string(), displayName: z.string() }),
        z.object({ ok: z.literal(false) }),
      ]),
  }),
  "sessions.get": method({
    summary: "The newest messages of a session, oldest first.",
    scope: "operator.read",
    kind: "query",
    callers: ["operator"],
    hidden: true,
    params: () =>
      z.strictObject({
        key: sessionKey.optional(),
        /** The same by its older name. */
        sessionKey: sessionKey.optional(),
        agentId: agentId.optional(),
        limit: z.number().int().min(1).max(1_000).optional(),
      }),
    result: () => z.object({ messages: z.array(message) }),
  }),
  "sessions.messages.subscribe": method({
    summary: "Hear `session.message` of one session on this connection until it closes; the session need not exist yet.",
    scope: "operator.read",
    kind: "query",
    callers: ["operator"],
    params: () => messagesOf,
    // Approvals come to whoever may decide them, with or without it.
    ignored: ["includeApprovals"],
    result: () => z.object({ subscribed: z.literal(true), key: z.string() }),
  }),
  "sessions.messages.unsubscribe": method({
    summary: "Stop hearing `session.message` of one session on this connection.",
    scope: "operator.read",
    kind: "query",
    callers: ["operator"],
    params: () => messagesOf,
    result: () => z.object({ subscribed: z.literal(false), key: z.string() }),
  }),
};
