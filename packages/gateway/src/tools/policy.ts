/** Which tools a run gets. The same answer decides what a model is shown and what it may call. */
import type { Tool } from "./tool.ts";

export interface RunStanding {
  /** Whether a person with `operator.admin` started the run directly. */
  readonly owner: boolean;
  /** 0 for a run that no run spawned. */
  readonly depth: number;
  /** Whether the run may have no children. */
  readonly isLeaf: boolean;
}

/** The tools of a run; pure, asked again every turn. */
export function toolsFor(tools: readonly Tool[], { owner, depth, isLeaf }: RunStanding): readonly Tool[] {
  const isOwner = owner && depth === 0;
  return tools.filter((tool) => (!tool.ownerOnly || isOwner) && (!tool.notForLeaves || !isLeaf));
}
