/**
 * Runs as whoever operates the gateway sees them: who asked, what became of it, what it waits for, and what became of its
 * result. Outcome and delivery are two facts: a run that succeeded may have a result that nobody has read.
 */
import { z } from "zod";
import { method } from "./define.ts";
import { agentId, nonEmpty, runStatus, sessionKey, timeMs, usage } from "./shapes.ts";

/**
 * `not_required`: nobody is owed the result. `pending`: it is not there yet, or a turn will read it. `delivered`: a turn has read
 * it. `unconfirmed`: a turn read it and then failed. `blocked`: no turn will read it by itself. `dismissed`: somebody ended it.
 */
export const deliveryStatus = z.enum(["not_required", "pending", "delivered", "unconfirmed", "blocked", "dismissed"]);

/** What keeps a run from going on. */
const waitsFor = z.discriminatedUnion("kind", [
  /** A slot for children: `agents.defaults.subagents.maxConcurrent`. */
  z.object({ kind: z.literal("slot") }),
  /** The run that works in its session. */
  z.object({ kind: z.literal("session"), runId: z.string() }),
  /** The newest of its children that have not ended. */
  z.object({ kind: z.literal("children"), runIds: z.array(z.string()) }),
]);

export const runRow = z.object({
  /** Unlike the wire's `runId` elsewhere this is never a caller's own key: no two runs share it. */
  runId: z.string(),
  /** What `agent`, `chat` and their events call `runId`. */
  wireId: z.string(),
  sessionKey: z.string(),
  rootSessionKey: z.string(),
  agentId: z.string(),
  trigger: z.enum(["message", "spawn", "announce", "cron"]),
  taskName: z.string().optional(),
  label: z.string().optional(),
  /** The beginning of what was asked. */
  task: z.string(),
  model: z.string(),
  /** The principal that asked. */
  startedBy: z.string(),
  parentRunId: z.string().optional(),
  parentSessionKey: z.string().optional(),
  depth: z.number().int(),
  scopes: z.array(z.string()),
  owner: z.boolean(),
  status: runStatus,
  createdAt: timeMs,
  startedAt: timeMs.optional(),
  endedAt: timeMs.optional(),
  deadlineAt: timeMs.optional(),
  stopReason: z.string().optional(),
  error: z.string().optional(),
  usage,
  children: z.object({ total: z.number().int(), open: z.number().int() }),
  waitsFor: waitsFor.optional(),
  delivery: z.object({
    status: deliveryStatus,
    /** The run that has read the result, or will. */
    readBy: z.string().optional(),
    at: timeMs.optional(),
  }),
});

/** One way a result took to the parent's session. A later generation takes the place of the one before. */
const deliveryHop = z.object({
  generation: z.number().int(),
  state: z.enum(["unread", "read", "superseded", "dismissed"]),
  toSessionKey: z.string(),
  createdAt: timeMs,
  settledAt: timeMs.optional(),
  readBy: z.string().optional(),
  /** The principal that had it delivered again, or dismissed it. */
  closedBy: z.string().optional(),
});

const modelFailure = z.object({ at: timeMs, errorKind: z.string(), message: z.string() });

/** The `nextCursor` of the page before. */
export const runCursor = z.string().regex(/^\d{1,15}\.run_[0-9a-f]{1,64}$/, "must be a nextCursor of this method");

const runId = nonEmpty.max(512);
const view = { callers: ["operator", "run"], kind: "query", scope: "operator.read" } as const;
const control = { callers: ["operator"], kind: "command", scope: "operator.write" } as const;

export const runMethods = {
  "runs.list": method({
    summary: "Runs, newest first: who asked, state, what each waits for, tokens, and what became of its result.",
    ...view,
    params: () =>
      z.strictObject({
        limit: z.number().int().min(1).max(500).optional(),
        cursor: runCursor.optional(),
        sessionKey: sessionKey.optional(),
        agentId: agentId.optional(),
        status: z.array(runStatus).min(1).max(11).optional(),
        /** Only runs whose result was owed to somebody and has not safely reached them. */
        undelivered: z.boolean().optional(),
      }),
    result: () => z.object({ runs: z.array(runRow), nextCursor: z.string().optional() }),
  }),
  "runs.get": method({
    summary: "One run with its causes, attempts and each way its result took. `runId`: its own or the wire's.",
    ...view,
    params: () => z.strictObject({ runId }),
    result: () =>
      z.object({
        run: runRow,
        /** The beginning of what it said, if it has ended. */
        result: z.string().optional(),
        /** From the run that a person, or an announcement, began down to this one's parent. */
        ancestors: z.array(runRow),
        attempts: z.object({
          /** How often a worker took it up, the first time included. */
          claims: z.number().int(),
          modelCalls: z.number().int(),
          toolCalls: z.number().int(),
          /** The newest last. */
          failures: z.array(modelFailure),
        }),
        deliveries: z.array(deliveryHop),
      }),
  }),
  "runs.tree": method({
    summary: "A run and everything below it, parents before children.",
    ...view,
    params: () => z.strictObject({ runId }),
    result: () => z.object({ runs: z.array(runRow), isCut: z.boolean() }),
  }),
  "runs.cancel": method({
    summary: "Cancel a run and everything below it. A run that has ended stays as it is.",
    ...control,
    params: () => z.strictObject({ runId }),
    result: () => z.object({ runId: z.string(), status: runStatus, cancelledRunIds: z.array(z.string()) }),
  }),
  "runs.retry": method({
    summary: "Deliver a result again that is blocked or unconfirmed; what was under way before is void.",
    ...control,
    params: () => z.strictObject({ runId }),
    result: () => z.object({ runId: z.string(), generation: z.number().int(), toSessionKey: z.string() }),
  }),
  "runs.dismiss": method({
    summary: "Leave a result undelivered that is blocked or unconfirmed. The run and its transcript stay.",
    ...control,
    params: () => z.strictObject({ runId }),
    result: () => z.object({ runId: z.string() }),
  }),
};

export type RunRow = z.infer<typeof runRow>;
