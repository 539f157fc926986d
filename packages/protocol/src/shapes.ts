/** Schemas that more than one noun uses. */
import { z } from "zod";
import { silences } from "./silence.ts";

export const nonEmpty = z.string().min(1);
export const sessionKey = z.string().min(1).max(512);
export const label = z.string().min(1).max(512);
/** `provider/name` of a model. */
export const modelId = z.string().min(1).max(200);
export const timeMs = z.number().int().nonnegative();

/** Whoever means longer than a year means none: 0. */
export const longestRunSeconds = 31_536_000;
/** How long a run may take; 0 is no bound. */
export const runSeconds = z.number().int().min(0).max(longestRunSeconds);
export const runMs = z
  .number()
  .int()
  .min(0)
  .max(1_000 * longestRunSeconds);

/** `agent:<agentId>:<rest>`, or a short form (`main`) that the gateway completes for the default agent. */
export const agentId = z
  .string()
  .regex(/^[a-z0-9][a-z0-9_-]{0,63}$/, "must be an agent id: a-z, 0-9, _ and -, at most 64 characters, starting with a letter or digit");

/** A caller's own key: also the wire's run id, so what only the gateway may mint is refused. */
export const idempotencyKey = z
  .string()
  .min(1)
  .max(256)
  .refine((key) => !/^(announce:|cron:|run_)/.test(key), "must not start with 'announce:', 'cron:' or 'run_'");

/** How hard a model thinks before it answers; `off` is not at all. */
export const thinkingLevels = ["off", "minimal", "low", "medium", "high", "xhigh"] as const;
export type ThinkingLevel = (typeof thinkingLevels)[number];

/** What a model calls a child by. */
export const taskName = z
  .string()
  .regex(/^[a-z][a-z0-9_-]{0,63}$/, "must be a task name: a-z, 0-9, _ and -, at most 64 characters, starting with a letter")
  .refine((name) => name !== "last" && name !== "all", "must not be 'last' or 'all'");

export const runStatus = z.enum([
  "queued",
  "running",
  "waiting",
  "succeeded",
  "failed",
  "timed_out",
  "stalled",
  "cancelled",
  "interrupted",
  "budget_exceeded",
  "rejected",
]);

/** `input` is what no cache held; `totalTokens` is the sum of all. */
export const usage = z.object({
  input: z.number().int(),
  output: z.number().int(),
  cacheRead: z.number().int().optional(),
  cacheWrite: z.number().int().optional(),
  totalTokens: z.number().int(),
});

export const contentBlock = z.discriminatedUnion("type", [
  z.object({ type: z.literal("text"), text: z.string() }),
  z.object({ type: z.literal("toolCall"), id: z.string(), name: z.string(), arguments: z.unknown() }),
  z.object({ type: z.literal("toolResult"), toolCallId: z.string(), toolName: z.string(), text: z.string(), isError: z.boolean() }),
]);

export const message = z.object({
  role: z.enum(["user", "assistant", "toolResult"]),
  content: z.array(contentBlock),
  timestamp: timeMs,
  /** `<wire run id>:user` on what a caller said: a client knows its own message by it. */
  idempotencyKey: z.string().optional(),
  /**
   * What wrote a message of role `user` that is no order of a person, a job or whoever spawned the session: children's results,
   * the gateway's word on a result that is not what was asked for, another session's agent. Messages from before it was told lack it.
   */
  origin: z.enum(["results", "repair", "agent"]).optional(),
  stopReason: z.string().optional(),
  /** The reply was this and nothing else: it is shown to nobody. */
  silence: z.enum(silences).optional(),
  provider: z.string().optional(),
  model: z.string().optional(),
  usage: usage.optional(),
  __openclaw: z.object({ id: z.string(), seq: z.number().int() }),
});

/** What every live event of a run carries. */
export const runEnvelope = {
  runId: z.string(),
  sessionKey: z.string(),
  agentId: z.string(),
  /** The parent's session, for a sub-agent's run. */
  spawnedBy: z.string().optional(),
  /** Counts up within the run, over `chat` and `agent` events together. */
  seq: z.number().int(),
};

/** A session as lists and `sessions.changed` show it. */
export const sessionRow = z.object({
  key: z.string(),
  sessionId: z.string(),
  kind: z.literal("direct"),
  agentId: z.string(),
  label: z.string().optional(),
  displayName: z.string(),
  /** The beginning of what was said first. */
  derivedTitle: z.string().optional(),
  /** The beginning of what was said last. */
  lastMessagePreview: z.string().optional(),
  createdAt: timeMs,
  updatedAt: timeMs,
  archived: z.boolean(),
  isMain: z.boolean(),
  modelProvider: z.string(),
  model: z.string(),
  spawnedBy: z.string().optional(),
  parentSessionKey: z.string().optional(),
  spawnDepth: z.number().int(),
  /** Absent for a session that nobody spawned. */
  subagentRole: z.enum(["orchestrator", "leaf"]).optional(),
  /** What the session's newest run may do: its scopes, for whoever watches children being spawned. */
  scopes: z.array(z.string()).optional(),
  /** How its newest run stands, in the words that clients know; `runStatus` says it exactly. */
  status: z.enum(["queued", "running", "done", "failed", "killed", "timeout"]).optional(),
  runStatus: runStatus.optional(),
  startedAt: timeMs.optional(),
  endedAt: timeMs.optional(),
  hasActiveRun: z.boolean(),
  activeRunIds: z.array(z.string()),
});

export type Message = z.infer<typeof message>;
export type ContentBlock = z.infer<typeof contentBlock>;
export type SessionRow = z.infer<typeof sessionRow>;
export type RunStatus = z.infer<typeof runStatus>;
export type Usage = z.infer<typeof usage>;
