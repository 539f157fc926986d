/** The ledger of background tasks, as the reference has it: a view over the runs that were delegated to sub-agents. */
import { z } from "zod";
import { method } from "./define.ts";
import { runCursor } from "./runs.ts";
import { agentId, nonEmpty, sessionKey, timeMs } from "./shapes.ts";

export const taskStatus = z.enum(["queued", "running", "completed", "failed", "cancelled", "timed_out"]);

const task = z.object({
  /** The run's own id; `runId` is what its events call it. */
  id: z.string(),
  taskId: z.string(),
  kind: z.literal("subagent"),
  runtime: z.literal("subagent"),
  status: taskStatus,
  title: z.string(),
  agentId: z.string(),
  /** The session that delegated it. */
  sessionKey: z.string().optional(),
  ownerKey: z.string().optional(),
  childSessionKey: z.string(),
  runId: z.string(),
  /** The task whose run delegated it. */
  parentTaskId: z.string().optional(),
  createdAt: timeMs,
  updatedAt: timeMs,
  startedAt: timeMs.optional(),
  endedAt: timeMs.optional(),
  error: z.string().optional(),
  /** `failed`: no turn has safely read the result, and none will by itself. `parent_missing`: the session it was for is gone. */
  deliveryStatus: z.enum(["pending", "delivered", "session_queued", "failed", "dismissed", "parent_missing", "not_applicable"]),
  terminalOutcome: z.literal("succeeded").optional(),
  // Of one task alone.
  prompt: z.string().optional(),
  result: z.string().optional(),
  toolUseCount: z.number().int().optional(),
});

const taskId = nonEmpty.max(512);
const view = { callers: ["operator"], kind: "query", scope: "operator.read" } as const;
const control = { callers: ["operator"], kind: "command", scope: "operator.write" } as const;

const decisions = z.object({
  results: z.array(
    z.object({
      taskId: z.string(),
      ok: z.boolean(),
      /** Why not. */
      reason: z.string().optional(),
      /** A turn had read the result before, and failed: it may have acted on it. */
      duplicateRisk: z.literal(true).optional(),
      task: task.optional(),
    }),
  ),
});
const taskIds = z.strictObject({ taskIds: z.array(taskId).min(1).max(10) });

export const taskMethods = {
  "tasks.list": method({
    summary: "Work that sessions delegated to sub-agents, newest first.",
    ...view,
    params: () =>
      z.strictObject({
        status: z.union([taskStatus, z.array(taskStatus).min(1).max(6)]).optional(),
        agentId: agentId.optional(),
        /** The session that delegated. */
        sessionKey: sessionKey.optional(),
        limit: z.number().int().min(1).max(500).optional(),
        cursor: runCursor.optional(),
      }),
    // The newest come first, whatever is asked for.
    ignored: ["sortBy"],
    result: () => z.object({ tasks: z.array(task), nextCursor: z.string().optional() }),
  }),
  "tasks.get": method({
    summary: "One task with its prompt and the beginning of its result.",
    ...view,
    params: () => z.strictObject({ taskId }),
    result: () => z.object({ task }),
  }),
  "tasks.cancel": method({
    summary: "Cancel a task and everything below it. One that has ended stays as it is.",
    ...control,
    params: () => z.strictObject({ taskId }),
    ignored: ["reason"],
    result: () => z.object({ found: z.boolean(), cancelled: z.boolean(), reason: z.string().optional(), task: task.optional() }),
  }),
  "tasks.retry": method({
    summary: "Deliver results of tasks again that no turn has safely read; each is answered for itself.",
    ...control,
    params: () => taskIds,
    result: () => decisions,
  }),
  "tasks.dismiss": method({
    summary: "Leave results of tasks undelivered that no turn has safely read; each is answered for itself.",
    ...control,
    params: () => taskIds,
    result: () => decisions,
  }),
};

export type Task = z.infer<typeof task>;
export type TaskStatus = z.infer<typeof taskStatus>;
