/** Runs for whoever operates the gateway: see every one, stop it, decide about a result that nobody has read. */
import { ProtocolError, type Result, type RunRow, toSessionKey } from "@portreeve/protocol";
import type { Context, Handlers } from "../dispatch/types.ts";
import { treeOf } from "../principal/principal.ts";
import type { DeliveryDecision, RunDetails, RunView } from "../store/run-views.ts";
import type { HandlerDeps } from "./deps.ts";

type Methods = "runs.list" | "runs.get" | "runs.tree" | "runs.cancel" | "runs.retry" | "runs.dismiss";

const defaultPage = 50;
const mostInTree = 1_000;
/** Characters. */
const taskInList = 200;
export const textOfOne = 8_000;

export function runHandlers(deps: HandlerDeps): Pick<Handlers, Methods> {
  return {
    "runs.list": async ({ principal }, { limit = defaultPage, cursor, sessionKey, agentId, status, undelivered }) => {
      const views = await deps.store.runViews.list({
        rootKey: treeOf(principal),
        limit: limit + 1,
        after: cursor === undefined ? undefined : parseCursor(cursor),
        sessionKey: sessionKey === undefined ? undefined : toSessionKey(sessionKey, agentId ?? deps.agents.defaultAgentId),
        agentId,
        statuses: status,
        undelivered,
      });
      const page = views.slice(0, limit);
      const last = page.at(-1);
      return {
        runs: page.map((view) => toRunRow(view)),
        ...(views.length > limit && last !== undefined ? { nextCursor: toCursor(last) } : {}),
      };
    },

    "runs.get": async (context, { runId }) => toDetails(await getRun(deps, context, runId)),

    "runs.tree": async (context, { runId }) => {
      const { run } = await getRun(deps, context, runId);
      const { runs, isCut } = await deps.store.runViews.listTree(run.runId, mostInTree);
      return { runs: runs.map((view) => toRunRow(view)), isCut };
    },

    "runs.cancel": async (context, params) => {
      const { runId, sessionKey } = (await getRun(deps, context, params.runId)).run;
      const cancelled = await deps.cancelRuns({ sessionKey, runId });
      const { run } = await getRun(deps, context, runId);
      return { runId, status: run.status, cancelledRunIds: cancelled.map((one) => one.runId) };
    },

    "runs.retry": async (context, params) => {
      const { runId } = (await getRun(deps, context, params.runId)).run;
      const { generation, sessionKey } = await retryResult(deps, { runId, by: context.principal.id });
      return { runId, generation, toSessionKey: sessionKey };
    },

    "runs.dismiss": async (context, params) => {
      const { runId } = (await getRun(deps, context, params.runId)).run;
      await dismissResult(deps, { runId, by: context.principal.id });
      return { runId };
    },
  };
}

/** @throws ProtocolError UNKNOWN_RUN, also for a run that the principal may not see. */
async function getRun(deps: HandlerDeps, { principal }: Pick<Context, "principal">, id: string): Promise<RunDetails> {
  const found = await deps.store.runViews.find(id, { rootKey: treeOf(principal) });
  if (found === undefined) throw new ProtocolError("UNKNOWN_RUN", `unknown run ${JSON.stringify(id)}`);
  return found;
}

interface Deciding {
  readonly runId: string;
  readonly by: string;
}

/** @throws ProtocolError DELIVERY_SETTLED, or UNKNOWN_SESSION when there is nowhere to deliver to. */
export async function retryResult(
  deps: Pick<HandlerDeps, "store" | "bus" | "now">,
  { runId, by }: Deciding,
): Promise<{ readonly generation: number; readonly sessionKey: string }> {
  const decided = await deps.store.runViews.retryDelivery(runId, by, deps.now());
  if (decided.kind !== "done") throw toRefusal(runId, decided);
  deps.bus.publish("work", undefined);
  return decided;
}

/** @throws ProtocolError DELIVERY_SETTLED */
export async function dismissResult(deps: Pick<HandlerDeps, "store" | "now">, { runId, by }: Deciding): Promise<void> {
  const decided = await deps.store.runViews.dismissDelivery(runId, by, deps.now());
  if (decided.kind !== "done") throw toRefusal(runId, decided);
}

function toRefusal(runId: string, refused: Exclude<DeliveryDecision<object>, { kind: "done" }>): ProtocolError {
  if (refused.kind === "no-session") {
    return new ProtocolError("UNKNOWN_SESSION", `the result was for ${refused.sessionKey}, which is gone`, {
      remedy: `dismiss it: ./portreeve runs dismiss ${runId}`,
    });
  }
  const { status, readBy } = refused;
  const by = readBy === undefined ? "" : ` (run ${readBy})`;
  const why: Readonly<Record<typeof status, string>> = {
    not_required: "nobody is owed it",
    pending: `it is not there yet, or a turn will read it${by}`,
    delivered: `a turn has read it${by}`,
    unconfirmed: "a turn read it and failed",
    blocked: "no turn will read it by itself",
    dismissed: "it was dismissed",
  };
  return new ProtocolError("DELIVERY_SETTLED", `the result of ${runId} is ${status}: ${why[status]}`, { details: { delivery: status } });
}

export function toRunRow({ run, children, waitsFor, delivery }: RunView, taskChars = taskInList): RunRow {
  const { ending } = run;
  return {
    runId: run.runId,
    wireId: run.wireId,
    sessionKey: run.sessionKey,
    rootSessionKey: run.rootSessionKey,
    agentId: run.agentId,
    trigger: run.trigger,
    ...(run.terms.taskName === undefined ? {} : { taskName: run.terms.taskName }),
    ...(run.label === undefined ? {} : { label: run.label }),
    task: run.input.slice(0, taskChars),
    model: run.model,
    startedBy: run.startedBy,
    ...(run.parentRunId === undefined ? {} : { parentRunId: run.parentRunId }),
    ...(run.parentSessionKey === undefined ? {} : { parentSessionKey: run.parentSessionKey }),
    depth: run.authority.depth,
    scopes: [...run.authority.scopes],
    owner: run.authority.owner,
    status: run.status,
    createdAt: run.createdAtMs,
    ...(run.startedAtMs === undefined ? {} : { startedAt: run.startedAtMs }),
    ...(run.endedAtMs === undefined ? {} : { endedAt: run.endedAtMs }),
    ...(run.deadlineAtMs === undefined ? {} : { deadlineAt: run.deadlineAtMs }),
    ...(ending === undefined ? {} : { stopReason: ending.stopReason }),
    ...(ending?.error === undefined ? {} : { error: ending.error }),
    usage: run.usage,
    children,
    ...(waitsFor === undefined
      ? {}
      : { waitsFor: waitsFor.kind === "children" ? { ...waitsFor, runIds: [...waitsFor.runIds] } : waitsFor }),
    delivery: {
      status: delivery.status,
      ...(delivery.readBy === undefined ? {} : { readBy: delivery.readBy }),
      ...(delivery.atMs === undefined ? {} : { at: delivery.atMs }),
    },
  };
}

function toDetails(details: RunDetails): Result<"runs.get"> {
  const { ending } = details.run;
  return {
    run: toRunRow(details, textOfOne),
    ...(ending === undefined ? {} : { result: ending.text.slice(0, textOfOne) }),
    ancestors: details.ancestors.map((view) => toRunRow(view)),
    attempts: {
      ...details.attempts,
      failures: details.attempts.failures.map(({ atMs, errorKind, message }) => ({ at: atMs, errorKind, message })),
    },
    deliveries: details.deliveries.map((hop) => ({
      generation: hop.generation,
      state: hop.state,
      toSessionKey: hop.toSessionKey,
      createdAt: hop.createdAtMs,
      ...(hop.settledAtMs === undefined ? {} : { settledAt: hop.settledAtMs }),
      ...(hop.readBy === undefined ? {} : { readBy: hop.readBy }),
      ...(hop.closedBy === undefined ? {} : { closedBy: hop.closedBy }),
    })),
  };
}

export function toCursor({ run }: RunView): string {
  return `${run.createdAtMs}.${run.runId}`;
}

export function parseCursor(cursor: string): { createdAtMs: number; runId: string } {
  const dot = cursor.indexOf(".");
  return { createdAtMs: Number(cursor.slice(0, dot)), runId: cursor.slice(dot + 1) };
}
