/** Who is connected, what the gateway wrote into its log, and the parts of a channel gateway that this one does not have. */
import { z } from "zod";
import { event, method } from "./define.ts";
import { timeMs } from "./shapes.ts";

/** One who is here; what a client says of itself (host, platform, text) is shown and decides nothing. */
const presenceEntry = z.object({
  host: z.string().optional(),
  version: z.string().optional(),
  platform: z.string().optional(),
  deviceFamily: z.string().optional(),
  modelIdentifier: z.string().optional(),
  timeZone: z.string().optional(),
  mode: z.string().optional(),
  lastInputSeconds: z.number().int().nonnegative().optional(),
  reason: z.string(),
  tags: z.array(z.string()).optional(),
  text: z.string(),
  ts: timeMs,
  onlineSince: timeMs.optional(),
  deviceId: z.string().optional(),
  roles: z.array(z.string()).optional(),
  scopes: z.array(z.string()).optional(),
  instanceId: z.string().optional(),
});

export type PresenceEntry = z.infer<typeof presenceEntry>;

const word = z.string().max(200);

const heartbeat = z.object({ ts: timeMs, status: z.string() });

// Clients send display options with these; the answer is the same, so unknown fields are not worth a refusal.
const anyParams = z.object({});

export const systemMethods = {
  "system-presence": method({
    summary: "Who is connected: the gateway itself, then every open connection but command lines, back ends and probes.",
    scope: "operator.read",
    kind: "query",
    callers: ["operator"],
    params: () => anyParams,
    result: () => z.array(presenceEntry),
  }),
  "system-event": method({
    summary: "Say something of the calling connection in presence. It reaches people, never an agent: for that there is `sessions.send`.",
    scope: "operator.admin",
    kind: "command",
    callers: ["operator"],
    params: () =>
      z.strictObject({
        text: z.string().trim().min(1).max(2_000),
        host: word.optional(),
        mode: word.optional(),
        version: word.optional(),
        platform: word.optional(),
        deviceFamily: word.optional(),
        modelIdentifier: word.optional(),
        lastInputSeconds: z.number().int().nonnegative().optional(),
        reason: word.optional(),
        tags: z.array(word).max(32).optional(),
      }),
    // Whose entry it is follows from the connection, not from what its client says.
    ignored: ["deviceId", "instanceId", "ip", "roles", "scopes"],
    unsupported: ["sessionKey", "contextKey"],
    result: () => z.object({ ok: z.literal(true) }),
  }),
  "last-heartbeat": method({
    summary: "The newest heartbeat of an agent; null, since agents have none here.",
    scope: "operator.read",
    kind: "query",
    callers: ["operator"],
    params: () => anyParams,
    result: () => heartbeat.nullable(),
  }),
  "channels.status": method({
    summary: "The channels and their accounts: none, since the gateway has no channels.",
    scope: "operator.read",
    kind: "query",
    callers: ["operator"],
    params: () =>
      z.strictObject({
        probe: z.boolean().optional(),
        timeoutMs: z.number().int().nonnegative().optional(),
        channel: z.string().min(1).optional(),
      }),
    result: () =>
      z.object({
        ts: timeMs,
        channelOrder: z.array(z.string()),
        channelLabels: z.record(z.string(), z.string()),
        channelDetailLabels: z.record(z.string(), z.string()),
        channelSystemImages: z.record(z.string(), z.string()),
        channelMeta: z.array(z.object({ id: z.string(), label: z.string(), detailLabel: z.string() })),
        channels: z.record(z.string(), z.unknown()),
        channelAccounts: z.record(z.string(), z.array(z.unknown())),
        channelDefaultAccountId: z.record(z.string(), z.string()),
      }),
  }),
  "logs.tail": method({
    summary: "Lines of the gateway's log, each a JSON object, from a byte cursor on; without one, the newest.",
    scope: "operator.read",
    kind: "query",
    callers: ["operator"],
    params: () =>
      z.strictObject({
        cursor: z.number().int().nonnegative().optional(),
        limit: z.number().int().min(1).max(5_000).default(500),
        maxBytes: z.number().int().min(1).max(1_000_000).default(250_000),
      }),
    result: () =>
      z.object({
        file: z.string(),
        /** Where the next call goes on. */
        cursor: z.number().int(),
        size: z.number().int(),
        lines: z.array(z.string()),
        /** Older lines, or a line longer than `maxBytes`, were left out. */
        truncated: z.boolean(),
        /** The file was rotated since the cursor was given: what is answered is its successor's end. */
        reset: z.boolean(),
      }),
  }),
};

export const systemEvents = {
  presence: event({
    summary: "The result of `system-presence`, when somebody came, went or said something.",
    scope: "operator.read",
    droppable: true,
    payload: () => z.object({ presence: z.array(presenceEntry) }),
  }),
};
