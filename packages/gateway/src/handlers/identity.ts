/** Who answers: an agent's name, and the gateway's own key. */
import type { Handlers } from "../dispatch/types.ts";
import { type CatalogueDeps, resolveSession, unknownAgent } from "./deps.ts";

export function identityHandlers(deps: CatalogueDeps): Pick<Handlers, "agent.identity.get" | "gateway.identity.get"> {
  return {
    "agent.identity.get": async (_context, { agentId: asked, sessionKey = "" }) => {
      const agentId =
        sessionKey.trim() === "" ? (asked ?? deps.agents.defaultAgentId) : resolveSession(deps.agents, sessionKey, asked).agentId;
      if (!deps.agents.ids.includes(agentId)) throw unknownAgent(agentId);
      return { agentId, name: agentId, nameSource: "default" };
    },

    "gateway.identity.get": async () => ({ deviceId: deps.gatewayKey.id, publicKey: deps.gatewayKey.publicKey }),
  };
}
