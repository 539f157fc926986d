/** `health` and `status`: what the gateway says of itself. */
import type { Health } from "@portreeve/protocol";
import type { Handlers } from "../dispatch/types.ts";
import type { HandlerDeps } from "./deps.ts";

/** Agents speak when they are spoken to. */
const noHeartbeat = { enabled: false, every: "0m", everyMs: null, prompt: "", target: "none", ackMaxChars: 0 } as const;

/** The health object, for the method, the hello and the event. */
export async function readHealth(deps: HandlerDeps): Promise<Health> {
  const startedAt = deps.now();
  const { total, of } = await countSessions(deps);
  const problem = await deps.store.findRefusal();
  return {
    ok: true,
    ts: startedAt,
    durationMs: deps.now() - startedAt,
    channels: {},
    channelOrder: [],
    channelLabels: {},
    heartbeatSeconds: 0,
    defaultAgentId: deps.agents.defaultAgentId,
    agents: deps.agents.ids.map((agentId) => ({
      agentId,
      isDefault: agentId === deps.agents.defaultAgentId,
      heartbeat: noHeartbeat,
      sessions: { path: "", count: of(agentId), recent: [] },
    })),
    sessions: { path: "", count: total, recent: [] },
    ...(problem === undefined ? {} : { store: { writable: false, problem } }),
  };
}

async function countSessions(deps: HandlerDeps): Promise<{ readonly total: number; of(agentId: string): number }> {
  const counts = await deps.store.sessions.countByAgent();
  return { total: [...counts.values()].reduce((sum, count) => sum + count, 0), of: (agentId) => counts.get(agentId) ?? 0 };
}

export function healthHandlers(deps: HandlerDeps): Pick<Handlers, "health" | "status"> {
  return {
    health: () => readHealth(deps),
    status: async () => {
      const { byStatus, children } = await deps.store.runs.counts();
      const of = (...statuses: readonly string[]): number => statuses.reduce((sum, status) => sum + (byStatus[status] ?? 0), 0);
      const total = of(...Object.keys(byStatus));
      const active = of("queued", "running", "waiting");
      const sessions = await countSessions(deps);
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
          paths: [],
          count: sessions.total,
          defaults: { model: deps.agents.modelOf(deps.agents.defaultAgentId) },
          recent: [],
          byAgent: deps.agents.ids.map((agentId) => ({ agentId, path: "", count: sessions.of(agentId), recent: [] })),
        },
        connections: deps.connections(),
        pairing: await deps.store.devices.counts(deps.now()),
        children,
      };
    },
  };
}
