/** What the gateway says of itself. */
import { z } from "zod";
import { event, method } from "./define.ts";
import { timeMs } from "./shapes.ts";

/** Sessions lie in the database: `path` is empty, and there because clients read it. */
const sessionCount = z.object({ path: z.string(), count: z.number().int(), recent: z.array(z.unknown()) });

const heartbeat = z.object({
  enabled: z.literal(false),
  every: z.string(),
  everyMs: z.null(),
  prompt: z.string(),
  target: z.string(),
  ackMaxChars: z.number().int(),
});

const healthResult = z.object({
  ok: z.literal(true),
  ts: timeMs,
  durationMs: z.number().int(),
  channels: z.object({}),
  channelOrder: z.array(z.string()),
  channelLabels: z.object({}),
  heartbeatSeconds: z.number().int(),
  defaultAgentId: z.string(),
  agents: z.array(z.object({ agentId: z.string(), isDefault: z.boolean(), heartbeat, sessions: sessionCount })),
  sessions: sessionCount,
  /** Only when the state cannot be written, as far as a failed write has told. */
  store: z.object({ writable: z.literal(false), problem: z.string() }).optional(),
});

export type Health = z.infer<typeof healthResult>;

const statusResult = z.object({
  runtimeVersion: z.string(),
  heartbeat: z.object({ defaultAgentId: z.string(), agents: z.array(z.unknown()) }),
  channelSummary: z.array(z.unknown()),
  queuedSystemEvents: z.array(z.unknown()),
  tasks: z.object({
    total: z.number().int(),
    active: z.number().int(),
    terminal: z.number().int(),
    failures: z.number().int(),
    byStatus: z.record(z.string(), z.number().int()),
  }),
  sessions: z.object({
    paths: z.array(z.string()),
    count: z.number().int(),
    defaults: z.object({ model: z.string() }),
    recent: z.array(z.unknown()),
    byAgent: z.array(sessionCount.extend({ agentId: z.string() })),
  }),
  /** Since this process started; a reconnect counts again. */
  connections: z.object({ accepted: z.number().int(), open: z.number().int() }),
  /** Since the state folder was made. */
  pairing: z.object({ requestsCreated: z.number().int(), pending: z.number().int() }),
  /** Sub-agent runs since the state folder was made; `announced` counts inbox rows that a parent's turn consumed, `undelivered` those that `runs.list` has as `undelivered`. */
  children: z.object({
    accepted: z.number().int(),
    completed: z.number().int(),
    announced: z.number().int(),
    undelivered: z.number().int(),
  }),
});

// Clients send probe and display options here; the answer is the same, so unknown fields are not worth a refusal.
const anyParams = z.object({});

export const healthMethods = {
  health: method({
    summary: "Whether the gateway works; the one method every connection may call.",
    scope: "none",
    kind: "query",
    callers: ["operator", "node", "run"],
    params: () => anyParams,
    result: () => healthResult,
  }),
  status: method({
    summary: "Counts of sessions, runs, connections, pairing requests and sub-agents.",
    scope: "operator.read",
    kind: "query",
    params: () => anyParams,
    result: () => statusResult,
  }),
};

export const healthEvents = {
  health: event({
    summary: "The result of `health`, every 60 seconds and after a connect.",
    scope: "everyone",
    droppable: true,
    payload: () => healthResult,
  }),
};
