/** Sub-agents: spawn one, wait for one. */
import { ProtocolError } from "@portreeve/protocol";
import type { Handlers } from "../dispatch/types.ts";
import { spawn } from "../subagents/spawn.ts";
import type { HandlerDeps } from "./deps.ts";

export function subagentHandlers(deps: HandlerDeps): Pick<Handlers, "subagents.spawn" | "subagents.yield"> {
  const spawnDeps = {
    store: deps.store,
    limits: deps.spawnLimits,
    toolNamesOf: deps.toolNamesOf,
    now: deps.now,
    isAgent: (id: string) => deps.agents.ids.includes(id),
    ...deps.agents,
  };
  return {
    "subagents.spawn": async (context, params) => {
      const { receipt, run, isNew } = await spawn(spawnDeps, context.principal, params);
      if (isNew) deps.bus.publish("sessions.changed", { sessionKey: run.sessionKey, reason: "create", runId: run.wireId });
      deps.bus.publish("work", undefined);
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
  };
}
