/** Opening a conversation: everything a client shows first, in one answer. */
import type { Result } from "@portreeve/protocol";
import { listCommands } from "../commands/list.ts";
import type { Handlers } from "../dispatch/types.ts";
import { listAgents } from "./agents.ts";
import { type CatalogueDeps, resolveSession, splitModel, toSessionRow } from "./deps.ts";
import { readHistory } from "./history.ts";
import { listModels } from "./models.ts";

export function startupHandlers(deps: CatalogueDeps): Pick<Handlers, "chat.startup" | "chat.metadata"> {
  return {
    "chat.startup": async (context, params) => {
      const { page, session } = await readHistory(deps, context, params);
      const model = splitModel(deps.agents.modelOf(deps.agents.defaultAgentId));
      return {
        ...page,
        ...(session === undefined ? {} : { sessionInfo: toSessionRow(deps.agents, session) }),
        defaults: { modelProvider: model.provider, model: model.name },
        agentsList: listAgents(deps, context),
        metadata: tellMetadata(deps, session?.agentId ?? params.agentId),
      };
    },

    "chat.metadata": async (_context, { sessionKey, agentId }) =>
      tellMetadata(deps, sessionKey === undefined ? agentId : resolveSession(deps.agents, sessionKey, agentId).agentId),
  };
}

function tellMetadata(deps: CatalogueDeps, agentId: string | undefined): Result<"chat.metadata"> {
  return { models: listModels(deps, { agentId }), commands: listCommands({ includeArgs: true }) };
}
