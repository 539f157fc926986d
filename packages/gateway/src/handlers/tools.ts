/** Tools: all there are, and those a run in a session would get. */
import { ProtocolError } from "@portreeve/protocol";
import type { Handlers } from "../dispatch/types.ts";
import { authorityToStart, withinSession } from "../principal/principal.ts";
import { type CatalogueDeps, resolveSession, type ToolFacts, unknownAgent } from "./deps.ts";

export function toolHandlers(deps: CatalogueDeps): Pick<Handlers, "tools.catalog" | "tools.effective"> {
  return {
    "tools.catalog": async (_context, { agentId = deps.agents.defaultAgentId }) => {
      if (!deps.agents.ids.includes(agentId)) throw unknownAgent(agentId);
      const tools = deps.tools.map((tool) => ({ ...toShown(tool), defaultProfiles: ["full" as const] }));
      return {
        agentId,
        profiles: [{ id: "full", label: "Full" }],
        groups: [{ id: "core", label: "Built in", source: "core", tools }],
      };
    },

    "tools.effective": async ({ principal }, params) => {
      const { key, agentId } = resolveSession(deps.agents, params.sessionKey, params.agentId);
      const session = await deps.store.sessions.find(key);
      if (session === undefined) throw new ProtocolError("UNKNOWN_SESSION", `unknown session key ${JSON.stringify(params.sessionKey)}`);
      const start = authorityToStart(principal);
      const authority = withinSession({ ...start, depth: Math.max(start.depth, session.depth) }, session.limits);
      const tools = deps.toolsOf(authority, agentId).map((tool) => ({ ...toShown(tool), rawDescription: tool.description }));
      return { agentId, profile: "full", groups: [{ id: "core", label: "Built in", source: "core", tools }] };
    },
  };
}

function toShown({ name, description }: ToolFacts) {
  return { id: name, label: name, description, source: "core" as const };
}
