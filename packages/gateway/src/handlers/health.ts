/** `health` and `status`: what the gateway says of itself. */
import type { Health } from "@portreeve/protocol";
import type { Handlers } from "../dispatch/types.ts";
import type { HandlerDeps } from "./deps.ts";

/** The health object, for the method, the hello and the event. */
export async function readHealth(deps: HandlerDeps): Promise<Health> {
  const startedAt = deps.now();
  const count = await deps.store.sessions.count();
  return {
    ok: true,
    ts: startedAt,
    durationMs: deps.now() - startedAt,
    channels: {},
    channelOrder: [],
    channelLabels: {},
    heartbeatSeconds: 0,
    defaultAgentId: deps.agents.defaultAgentId,
    agents: deps.agents.ids.map((agentId) => ({ agentId, isDefault: agentId === deps.agents.defaultAgentId })),
    sessions: { count, recent: [] },
  };
}

export function healthHandlers(deps: HandlerDeps): Pick<Handlers, "health" | "status"> {
  return {
    health: () => readHealth(deps),
    status: async () => {
      const { byStatus, children } = await deps.store.runs.counts();
      const of = (...statuses: readonly string[]): number => statuses.reduce((sum, status) => sum + (byStatus[status] ?? 0), 0);
      const total = of(...Object.keys(byStatus));
      const active = of("queued", "running", "waiting");
      return {
        runtimeVersion: deps.version,
        heartbeat: { defaultAgentId: deps.agents.defaultAgentId, agents: [] },
        channelSummary: [],
        queuedSystemEvents: [],
        tasks: {
          total,
          active,
          terminal: total - active,
          failures: total - active - of("succeeded", "cancelled"),
          byStatus: { ...byStatus },
        },
        sessions: {
          count: await deps.store.sessions.count(),
          defaults: { model: deps.agents.modelOf(deps.agents.defaultAgentId) },
          recent: [],
        },
        connections: deps.connections(),
        pairing: await deps.store.devices.counts(deps.now()),
        children,
      };
    },
  };
}
