/** Tasks: runs of sub-agents in the words that the reference has for them. What is decided about one is decided about its run. */
import { ProtocolError, type Result, type RunStatus, type Task, type TaskStatus, toSessionKey } from "@portreeve/protocol";
import type { Handlers } from "../dispatch/types.ts";
import type { RunDetails, RunView } from "../store/run-views.ts";
import type { HandlerDeps } from "./deps.ts";
import { dismissResult, parseCursor, retryResult, textOfOne, toCursor } from "./runs.ts";

type Methods = "tasks.list" | "tasks.get" | "tasks.cancel" | "tasks.retry" | "tasks.dismiss";

const defaultPage = 100;
/** Characters. */
const longestTitle = 120;
const everything = { rootKey: undefined };

/** What each status of a run is as a task's. */
const statuses: Readonly<Record<RunStatus, TaskStatus>> = {
  queued: "queued",
  running: "running",
  waiting: "running",
  succeeded: "completed",
  failed: "failed",
  timed_out: "timed_out",
  stalled: "failed",
  cancelled: "cancelled",
  interrupted: "failed",
  budget_exceeded: "failed",
  rejected: "failed",
};

export function taskHandlers(deps: HandlerDeps): Pick<Handlers, Methods> {
  return {
    "tasks.list": async (_context, { status, agentId, sessionKey, limit = defaultPage, cursor }) => {
      const views = await deps.store.runViews.list({
        ...everything,
        trigger: "spawn",
        limit: limit + 1,
        after: cursor === undefined ? undefined : parseCursor(cursor),
        parentSessionKey: sessionKey === undefined ? undefined : toSessionKey(sessionKey, agentId ?? deps.agents.defaultAgentId),
        agentId,
        statuses: status === undefined ? undefined : toRunStatuses([status].flat()),
      });
      const page = views.slice(0, limit);
      const last = page.at(-1);
      return {
        tasks: await Promise.all(page.map((one) => toTask(deps, one))),
        ...(views.length > limit && last !== undefined ? { nextCursor: toCursor(last) } : {}),
      };
    },

    "tasks.get": async (_context, { taskId }) => {
      const found = await findTask(deps, taskId);
      if (found === undefined) throw new ProtocolError("UNKNOWN_RUN", `unknown task ${JSON.stringify(taskId)}`);
      return { task: { ...(await toTask(deps, found)), ...toContents(found) } };
    },

    "tasks.cancel": async (_context, { taskId }) => {
      const found = await findTask(deps, taskId);
      if (found === undefined) return { found: false, cancelled: false, reason: `unknown task ${JSON.stringify(taskId)}` };
      const { runId, sessionKey } = found.run;
      const stopped = await deps.cancelRuns({ sessionKey, runId });
      const cancelled = stopped.some((run) => run.runId === runId);
      const task = await toTask(deps, (await findTask(deps, runId)) ?? found);
      return { found: true, cancelled, ...(cancelled ? {} : { reason: `it has ended already: ${task.status}` }), task };
    },

    "tasks.retry": ({ principal: { id: by } }, { taskIds }) =>
      decideAll(deps, taskIds, async ({ run, delivery }) => {
        await retryResult(deps, { runId: run.runId, by });
        return delivery.status === "unconfirmed" ? { duplicateRisk: true } : {};
      }),

    "tasks.dismiss": ({ principal: { id: by } }, { taskIds }) =>
      decideAll(deps, taskIds, async ({ run }) => {
        await dismissResult(deps, { runId: run.runId, by });
        return {};
      }),
  };
}

function toRunStatuses(asked: readonly TaskStatus[]): readonly RunStatus[] {
  // Its keys are run statuses, which Object.keys forgets.
  return (Object.keys(statuses) as RunStatus[]).filter((status) => asked.includes(statuses[status]));
}

async function findTask(deps: HandlerDeps, taskId: string): Promise<RunDetails | undefined> {
  const found = await deps.store.runViews.find(taskId, everything);
  return found?.run.trigger === "spawn" ? found : undefined;
}

type Decision = Result<"tasks.retry">["results"][number];

/** Decides about a task as it stands, or throws why that cannot be. */
type Decide = (task: RunDetails) => Promise<Pick<Decision, "duplicateRisk">>;

/** One after the other: the same task may be named twice. */
async function decideAll(deps: HandlerDeps, taskIds: readonly string[], decide: Decide): Promise<Result<"tasks.retry">> {
  const results: Decision[] = [];
  for (const taskId of taskIds) results.push(await decideOne(deps, taskId, decide));
  return { results };
}

async function decideOne(deps: HandlerDeps, taskId: string, decide: Decide): Promise<Decision> {
  const found = await findTask(deps, taskId);
  if (found === undefined) return { taskId, ok: false, reason: `unknown task ${JSON.stringify(taskId)}` };
  try {
    const facts = await decide(found);
    return { taskId, ok: true, ...facts, task: await toTask(deps, (await findTask(deps, taskId)) ?? found) };
  } catch (error) {
    if (!(error instanceof ProtocolError) || error.code === "STORE_UNAVAILABLE") throw error;
    return { taskId, ok: false, reason: error.message, task: await toTask(deps, found) };
  }
}

async function toTask(deps: HandlerDeps, { run, delivery }: RunView): Promise<Task> {
  const { runId, parentSessionKey: owner, parentRunId, ending } = run;
  const parent = parentRunId === undefined ? undefined : await deps.store.runs.find(parentRunId);
  return {
    id: runId,
    taskId: runId,
    kind: "subagent",
    runtime: "subagent",
    status: statuses[run.status],
    title: run.label ?? run.terms.taskName ?? run.input.slice(0, longestTitle),
    agentId: run.agentId,
    ...(owner === undefined ? {} : { sessionKey: owner, ownerKey: owner }),
    childSessionKey: run.sessionKey,
    runId: run.wireId,
    ...(parent?.trigger === "spawn" ? { parentTaskId: parent.runId } : {}),
    createdAt: run.createdAtMs,
    updatedAt: Math.max(run.createdAtMs, run.startedAtMs ?? 0, run.endedAtMs ?? 0, delivery.atMs ?? 0),
    ...(run.startedAtMs === undefined ? {} : { startedAt: run.startedAtMs }),
    ...(run.endedAtMs === undefined ? {} : { endedAt: run.endedAtMs }),
    ...(ending?.error === undefined ? {} : { error: ending.error }),
    deliveryStatus: await toDeliveryStatus(deps, { run, delivery }),
    ...(run.status === "succeeded" ? { terminalOutcome: "succeeded" } : {}),
  };
}

async function toDeliveryStatus(
  { store }: Pick<HandlerDeps, "store">,
  { run, delivery }: Pick<RunView, "run" | "delivery">,
): Promise<Task["deliveryStatus"]> {
  switch (delivery.status) {
    case "not_required":
      return "not_applicable";
    case "pending":
      return run.endedAtMs === undefined ? "pending" : "session_queued";
    case "delivered":
    case "dismissed":
      return delivery.status;
    case "blocked":
    case "unconfirmed": {
      const parent = run.parentSessionKey === undefined ? undefined : await store.sessions.find(run.parentSessionKey);
      return parent === undefined ? "parent_missing" : "failed";
    }
  }
}

function toContents({ run, attempts }: RunDetails): Pick<Task, "prompt" | "result" | "toolUseCount"> {
  return {
    prompt: run.input.slice(0, textOfOne),
    ...(run.ending === undefined ? {} : { result: run.ending.text.slice(0, textOfOne) }),
    toolUseCount: attempts.toolCalls,
  };
}
