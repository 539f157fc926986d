/** What is made of the configuration and follows its changes: tools, models, the facts of agents, what runs are held to. */
import type { AgentFacts } from "../handlers/deps.ts";
import type { Clock } from "../kit/clock.ts";
import type { Config } from "../kit/config.ts";
import { makePrivateFolder } from "../kit/home.ts";
import type { LiveConfig } from "../kit/live-config.ts";
import { createContextWindows } from "../models/context-window.ts";
import type { Models } from "../models/model.ts";
import { createPrices } from "../models/price.ts";
import { createModels } from "../models/registry.ts";
import { type Cooldowns, firstReady } from "../runs/cooldowns.ts";
import { createToolsOf, type ToolsOf } from "../tools/agent-tools.ts";
import type { Tool } from "../tools/tool.ts";

/** @throws ConfigError */
export function openTools(
  { configFile, tools }: { readonly configFile: string; readonly tools: readonly Tool[] },
  live: LiveConfig,
): ToolsOf {
  const toolsOf = live.derive(({ agents: { entries, defaults } }) =>
    createToolsOf({ tools, agents: entries, maxSpawnDepth: defaults.subagents.maxSpawnDepth, source: configFile }),
  );
  toolsOf();
  return (authority, agentId) => toolsOf()(authority, agentId);
}

export function liveModels(
  live: LiveConfig,
  { env, clock }: { readonly env: Readonly<Record<string, string | undefined>>; readonly clock: Clock },
): Models {
  const now = live.derive(({ models, agents }) =>
    createModels({ providers: models.providers, defaultModel: agents.defaults.model, env, clock }),
  );
  return {
    get defaultId() {
      return now().defaultId;
    },
    problemWith: (id) => now().problemWith(id),
    get: (id) => now().get(id),
    problemWithThinking: (id, level) => now().problemWithThinking(id, level),
  };
}

export function agentFacts(
  { clock, workspaceDir }: { readonly clock: Clock; readonly workspaceDir: string },
  live: LiveConfig,
  { models, cooldowns }: { readonly models: Models; readonly cooldowns: Cooldowns },
): AgentFacts {
  const defaultAgentId = "main";
  const entryOf = (id: string) => live.current.agents.entries[id];
  const modelOf = (id: string): string => entryOf(id)?.model ?? models.defaultId;
  const fallbacksOf = (id: string): readonly string[] => entryOf(id)?.fallbacks ?? live.current.agents.defaults.fallbacks;
  const prices = live.derive((config) => createPrices(config.models.prices));
  return {
    defaultAgentId,
    get ids() {
      return Object.keys(live.current.agents.entries);
    },
    modelOf,
    fallbacksOf,
    modelToStart: (id) => firstReady([modelOf(id), ...fallbacksOf(id)], cooldowns.cooling(clock.now())),
    workspaceOf: (id) => entryOf(id)?.workspace ?? (id === defaultAgentId ? workspaceDir : `${workspaceDir}-${id}`),
    isPriced: (model) => prices()(model) !== undefined,
    problemWithModel: (id) => models.problemWith(id),
    problemWithThinking: (id, level) => models.problemWithThinking(id, level),
  };
}

/** What runs are held to: prices and sizes of models, how long a transcript may be, and how long nothing may happen. */
export function runSettings({ gateway, models, agents }: Config, live: LiveConfig) {
  const { subagents, compaction, stallSeconds } = agents.defaults;
  const prices = live.derive((now) => createPrices(now.models.prices));
  return {
    priceOf: (model: string) => prices()(model),
    contextWindowOf: createContextWindows(models.contextWindows),
    compactAtShare: compaction.share,
    budgetPerDay(agentId: string) {
      const { entries, defaults } = live.current.agents;
      return entries[agentId]?.budgetPerDay ?? defaults.budgetPerDay;
    },
    maxConcurrentChildren: subagents.maxConcurrent,
    stallMs: toMs(stallSeconds),
    drainMs: gateway.drainSeconds * 1_000,
  };
}

export function archiveAfterMs({ agents }: Config): number | undefined {
  return toMs(agents.defaults.subagents.archiveAfterMinutes * 60);
}

/** 0 is never. */
function toMs(seconds: number): number | undefined {
  return seconds === 0 ? undefined : seconds * 1_000;
}

/** Folders the configuration does not name are ours to make. */
export async function makeWorkspaces(live: LiveConfig, agents: AgentFacts): Promise<void> {
  for (const id of agents.ids) {
    if (live.current.agents.entries[id]?.workspace === undefined) await makePrivateFolder(agents.workspaceOf(id));
  }
}
