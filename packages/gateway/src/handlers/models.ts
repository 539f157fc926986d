/** Models: what agents are configured to use, and what could be. */
import type { ModelChoice, Params } from "@portreeve/protocol";
import type { Handlers } from "../dispatch/types.ts";
import { type CatalogueDeps, splitModel, unknownAgent } from "./deps.ts";

type Ask = Omit<Params<"models.list">, "view"> & { readonly view?: Params<"models.list">["view"] | undefined };

export function modelHandlers(deps: CatalogueDeps): Pick<Handlers, "models.list"> {
  return { "models.list": async (_context, ask) => ({ models: listModels(deps, ask) }) };
}

/** The default agent's model first. @throws ProtocolError UNKNOWN_AGENT_ID */
export function listModels(deps: CatalogueDeps, { agentId, provider, view = "default" }: Ask): ModelChoice[] {
  const { agents, models } = deps;
  if (agentId !== undefined && !agents.ids.includes(agentId)) throw unknownAgent(agentId);
  const agentIds = agentId === undefined ? [agents.defaultAgentId, ...agents.ids] : [agentId];
  const used = agentIds.flatMap((id) => [agents.modelOf(id), ...agents.fallbacksOf(id)]);
  const ids = new Set([...used, ...(view === "all" ? models.offered : [])]);
  const cooling = models.cooling();
  const rows = [...ids].map((id) => toChoice(deps, id, { isDefault: id === used[0], isCooling: cooling.has(id) }));
  return rows.filter((row) => provider === undefined || row.provider === provider);
}

function toChoice(
  { agents, models }: CatalogueDeps,
  id: string,
  { isDefault, isCooling }: { readonly isDefault: boolean; readonly isCooling: boolean },
): ModelChoice {
  const { provider, name } = splitModel(id);
  const isUsable = agents.problemWithModel(id) === undefined;
  const reason = isUsable ? "cooldown" : "missing-auth";
  return {
    id: name,
    name,
    provider,
    ...(isDefault ? { tags: ["default"] } : {}),
    available: isUsable && !isCooling,
    ...(isUsable && !isCooling ? {} : { unavailableReason: reason }),
    contextWindow: models.contextWindowOf(id),
    input: ["text"],
  };
}
