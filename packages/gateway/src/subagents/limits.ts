/** The refusals of a spawn, worded: which limit, who holds it, what to do next. */
import { ProtocolError } from "@portreeve/protocol";
import type { AttachmentLimits } from "../kit/attachments.ts";
import type { SpawnOutcome } from "../store/spawning.ts";

export interface SubagentLimits {
  readonly maxSpawnDepth: number;
  readonly maxChildrenPerAgent: number;
  /** Of a spawn that names none; 0: none. */
  readonly runTimeoutSeconds: number;
  readonly forkMaxBytes: number;
  readonly runTimeoutMinSeconds: number;
  /** 0: no bound. */
  readonly runTimeoutMaxSeconds: number;
  readonly attachments: AttachmentLimits;
}

/** What the caller is told when `outcome` is no receipt. */
export function toRefusal(outcome: Exclude<SpawnOutcome, { kind: "accepted" | "replayed" }>, limits: SubagentLimits): ProtocolError {
  switch (outcome.kind) {
    case "mismatch":
      return new ProtocolError("IDEMPOTENCY_MISMATCH", "the idempotency key was used before with other parameters", {
        remedy: "use a new idempotency key for a new spawn",
      });
    case "content-gone":
      return new ProtocolError("ATTACHMENT_UNUSABLE", "the content of the attachments was not kept, and no sub-agent was started with it", {
        remedy: "spawn again, with the whole content",
      });
    case "parent-ended":
      return new ProtocolError("UNKNOWN_RUN", "the run that wants to spawn has ended");
    case "budget-spent":
      return new ProtocolError("BUDGET_SPENT", `the budget of this run has no ${outcome.dimension} left to give`, {
        details: { dimension: outcome.dimension },
        remedy: "finish with what you have; a sub-agent could not make one call",
      });
    case "name-taken":
      return new ProtocolError("TASK_NAME_TAKEN", `a running sub-agent of this session has that taskName: ${outcome.holder}`, {
        details: { holder: outcome.holder },
        remedy: "use another taskName, or wait until that one has ended",
      });
    case "too-deep":
      return new ProtocolError(
        "SPAWN_DEPTH",
        `the session is at depth ${outcome.depth}, and ${limits.maxSpawnDepth} is the deepest a sub-agent may be`,
        {
          details: { configKey: "agents.defaults.subagents.maxSpawnDepth", limit: limits.maxSpawnDepth, depth: outcome.depth },
          remedy: "do the work in this session, or raise agents.defaults.subagents.maxSpawnDepth",
        },
      );
    case "too-many":
      return new ProtocolError(
        "SPAWN_CHILDREN",
        `the session has ${outcome.active} running sub-agents of at most ${limits.maxChildrenPerAgent}`,
        {
          details: {
            configKey: "agents.defaults.subagents.maxChildrenPerAgent",
            limit: limits.maxChildrenPerAgent,
            holders: outcome.holders,
          },
          remedy: "wait for one to end (sessions_yield), or raise agents.defaults.subagents.maxChildrenPerAgent",
        },
      );
  }
}
