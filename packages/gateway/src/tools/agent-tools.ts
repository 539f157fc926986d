/** The tools of every agent's runs, from the configuration: the one answer that spawns, models and calls are held to. */
import { ConfigError } from "../kit/config.ts";
import { toolsFor, type ToolPolicy } from "./policy.ts";
import type { Tool } from "./tool.ts";

/** The part of a run's authority that decides its tools. */
interface ToolAuthority {
  readonly owner: boolean;
  readonly depth: number;
  readonly limits?: { readonly tools: "all" | readonly string[] };
  readonly policyOf?: readonly string[];
}

export type ToolsOf = (authority: ToolAuthority, agentId: string) => readonly Tool[];

export interface AgentToolsInput {
  readonly tools: readonly Tool[];
  readonly agents: Readonly<Record<string, { readonly tools?: ToolPolicy | undefined }>>;
  readonly maxSpawnDepth: number;
  /** Names the configuration in errors. */
  readonly source: string;
}

/** @throws ConfigError for a policy that names a tool there is not: it would permit, or deny, something else than was meant. */
export function createToolsOf({ tools, agents, maxSpawnDepth, source }: AgentToolsInput): ToolsOf {
  for (const [id, { tools: policy }] of Object.entries(agents)) {
    const unknown = [...(policy?.allow ?? []), ...(policy?.deny ?? [])].filter((name) => !tools.some((tool) => tool.name === name));
    if (unknown.length > 0) throw new ConfigError(`${source}: agents.entries.${id}.tools: unknown tool ${unknown.join(", ")}`);
  }
  return ({ owner, depth, limits, policyOf = [] }, agentId) =>
    toolsFor(tools, {
      owner,
      depth,
      isLeaf: depth >= maxSpawnDepth,
      limitedTo: limits?.tools ?? "all",
      policies: [...policyOf, agentId].map((id) => policyFor(agents, id)),
    });
}

/** By the tool of that name, whether or not a run may use it: what is refused is written down too. */
export function createRedact(tools: readonly Tool[]): (call: { readonly name: string; readonly arguments: unknown }) => unknown {
  return ({ name, arguments: args }) => {
    const redact = tools.find((tool) => tool.name === name)?.redact;
    return redact === undefined ? args : redact(args);
  };
}

/** An agent that is gone permits nothing: what its runs started must not gain by that. */
function policyFor(agents: AgentToolsInput["agents"], id: string): ToolPolicy {
  const agent = Object.hasOwn(agents, id) ? agents[id] : undefined;
  return agent === undefined ? { allow: [], deny: [] } : (agent.tools ?? { deny: [] });
}
