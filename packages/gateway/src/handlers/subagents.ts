/** Sub-agents: spawn one, wait for them, see and stop them. */
import { ProtocolError, type Result } from "@portreeve/protocol";
import type { Context, Handlers } from "../dispatch/types.ts";
import type { RunRecord } from "../store/store.ts";
import { getSubagent, sessionOf } from "../subagents/control.ts";
import { spawn } from "../subagents/spawn.ts";
import { type HandlerDeps, resolveSession } from "./deps.ts";
import { send } from "./messages.ts";
import { toRunRow } from "./runs.ts";
import { waitAtMost } from "./waiting.ts";

type ControlMethods = "subagents.list" | "subagents.wait" | "subagents.cancel" | "subagents.cancelAll" | "subagents.steer";
type Methods = "subagents.spawn" | "subagents.yield" | ControlMethods;

const defaultListed = 50;
const defaultWaitSeconds = 30;

export function subagentHandlers(deps: HandlerDeps): Pick<Handlers, Methods> {
  const spawnDeps = {
    store: deps.store,
    get limits() {
      return deps.spawnLimits;
    },
    attachments: deps.attachments,
    toolNamesOf: deps.toolNamesOf,
    spawnRun: deps.spawnRun,
    isAgent: (id: string) => deps.agents.ids.includes(id),
    toKey: (raw: string) => resolveSession(deps.agents, raw, undefined).key,
    ...deps.agents,
    modelOf: deps.agents.modelToStart,
  };
  return {
    "subagents.spawn": async (context, params) => {
      const { receipt, run, isNew } = await spawn(spawnDeps, context.principal, params);
      if (isNew) deps.bus.publish("sessions.changed", { sessionKey: run.sessionKey, reason: "create", runId: run.wireId });
      return receipt;
    },

    "subagents.yield": async ({ principal }) => {
      if (principal.kind !== "run") throw new ProtocolError("WRONG_CALLER", "only a run can yield");
      const { open, unread } = await deps.store.runs.openChildren(principal.runId);
      if (open === 0 && unread === 0) {
        throw new ProtocolError("NO_OPEN_CHILDREN", "there is no sub-agent to wait for: all results have been read", {
          remedy: "answer with what you have, or spawn a sub-agent first",
        });
      }
      return { status: "yielded", openChildren: open };
    },

    ...controlHandlers(deps),
  };
}

function controlHandlers(deps: HandlerDeps): Pick<Handlers, ControlMethods> {
  const controlDeps = { store: deps.store, defaultAgentId: deps.agents.defaultAgentId };
  const actAs = ({ principal }: Pick<Context, "principal">, sessionKey: string | undefined) => ({
    principal,
    sessionKey: sessionOf(principal, sessionKey, deps.agents.defaultAgentId),
  });
  return {
    "subagents.list": async (context, { sessionKey, depth = "children", limit = defaultListed }) => {
      const acting = actAs(context, sessionKey);
      const views = await deps.store.runViews.listBelow(acting.sessionKey, { depth, limit });
      const order = await deps.store.runViews.listSubagents(acting.sessionKey);
      const numbers = new Map(order.map((key, index) => [key, index + 1]));
      const subagents = views.map((view) => ({ ...toRunRow(view), ...toNumber(numbers.get(view.run.sessionKey)) }));
      return { sessionKey: acting.sessionKey, subagents };
    },

    "subagents.wait": async (context, { sessionKey, subagents, timeoutSeconds = defaultWaitSeconds }) => {
      const acting = actAs(context, sessionKey);
      const meant = await Promise.all(subagents.map((handle) => getSubagent(controlDeps, acting, handle)));
      const budget = AbortSignal.timeout(timeoutSeconds * 1_000);
      const runs = await Promise.all(meant.map(({ run }) => waitAtMost(deps, run, { budget, signal: context.signal })));
      return { status: runs.every(({ endedAtMs }) => endedAtMs !== undefined) ? "ended" : "timeout", subagents: runs.map(toAsked) };
    },

    "subagents.cancel": async (context, { sessionKey, subagent }) => {
      const { run } = await getSubagent(controlDeps, actAs(context, sessionKey), subagent);
      // Its whole session: what else was sent there, or waits to be announced there, is the sub-agent's too.
      const cancelled = await deps.cancelRuns({ sessionKey: run.sessionKey });
      const after = await deps.store.runs.find(run.runId);
      return { subagent: toAsked(after ?? run), cancelledRunIds: cancelled.map(({ runId }) => runId) };
    },

    "subagents.cancelAll": async (context, params) => {
      const { sessionKey } = actAs(context, params.sessionKey);
      const cancelled = await deps.cancelRuns({ belowSessionKey: sessionKey });
      return { sessionKey, cancelledRunIds: cancelled.map(({ runId }) => runId) };
    },

    "subagents.steer": async (context, { sessionKey, subagent, ...params }) => {
      const { run } = await getSubagent(controlDeps, actAs(context, sessionKey), subagent);
      const session = { key: run.sessionKey, agentId: run.agentId };
      if ((await deps.store.sessions.find(run.sessionKey)) === undefined)
        throw new ProtocolError("UNKNOWN_SESSION", `the session of the sub-agent is gone: ${run.sessionKey}`);
      const sent = await send(deps, context, {
        session,
        params: { ...params, timeoutMs: undefined },
        queueMode: "steer",
        isController: true,
      });
      return { subagent: toAsked(run), runId: sent.run.runId };
    },
  };
}

function toNumber(number: number | undefined): { readonly number?: number } {
  return number === undefined ? {} : { number };
}

function toAsked({ runId, sessionKey, terms: { taskName }, label, status, endedAtMs }: RunRecord): Result<"subagents.cancel">["subagent"] {
  return {
    runId,
    childSessionKey: sessionKey,
    ...(taskName === undefined ? {} : { taskName }),
    ...(label === undefined ? {} : { label }),
    status,
    hasEnded: endedAtMs !== undefined,
  };
}
