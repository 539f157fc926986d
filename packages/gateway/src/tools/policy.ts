/** Which tools a run gets. The same answer decides what a model is shown and what it may call. */
import type { Tool } from "./tool.ts";

/** What an agent may use, as configured. */
export interface ToolPolicy {
  /** The only ones; undefined: every one. */
  readonly allow?: readonly string[] | undefined;
  /** Wins over `allow`. */
  readonly deny: readonly string[];
}

export interface RunStanding {
  /** Whether a person with `operator.admin` started the run directly. */
  readonly owner: boolean;
  /** 0 for a run that no run spawned. */
  readonly depth: number;
  /** Whether the run may have no children. */
  readonly isLeaf: boolean;
  /** What it was limited to when it was started. */
  readonly limitedTo: "all" | readonly string[];
  /** Of its own agent and of those of the runs above it: every one must permit. */
  readonly policies: readonly ToolPolicy[];
}

/** The tools of a run; pure, asked again every turn. */
export function toolsFor<T extends Pick<Tool, "name" | "ownerOnly" | "notForLeaves" | "notForChildren">>(
  tools: readonly T[],
  { owner, depth, isLeaf, limitedTo, policies }: RunStanding,
): readonly T[] {
  const isOwner = owner && depth === 0;
  return tools.filter(
    ({ name, ownerOnly, notForLeaves, notForChildren }) =>
      (!ownerOnly || isOwner) &&
      (!notForLeaves || !isLeaf) &&
      (!notForChildren || depth === 0) &&
      (limitedTo === "all" || limitedTo.includes(name)) &&
      policies.every((policy) => permitsTool(policy, name)),
  );
}

function permitsTool({ allow, deny }: ToolPolicy, name: string): boolean {
  return !deny.includes(name) && (allow === undefined || allow.includes(name));
}
