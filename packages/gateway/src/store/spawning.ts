/** What the store is told of a child, and what becomes of that. */
import type { ThinkingLevel } from "@portreeve/protocol";
import type { JsonSchema } from "../kit/json-schema.ts";
import type { RunAuthority } from "../principal/principal.ts";
import type { Replay } from "./admitting.ts";
import type { RunRecord } from "./store.ts";

/** What a run was started with beside its task: the same at every turn, whatever is configured later. */
export interface RunTerms {
  /** Unique among the running children of a session. */
  readonly taskName?: string;
  readonly thinking?: ThinkingLevel;
  /** What its result must be. */
  readonly outputSchema?: JsonSchema;
  /** It was asked for: whether it begins with its parent's conversation, and how large that was. */
  readonly fork?: { readonly isForked: boolean; readonly bytes: number };
  /** The same for every run in the child's session. */
  readonly attachments?: Manifest;
}

/** The files a child was handed; their content is on disk, under `id`. */
export interface Manifest {
  /** Ours, never from input. */
  readonly id: string;
  readonly files: readonly { readonly name: string; readonly bytes: number; readonly sha256: string; readonly mimeType?: string }[];
}

export interface ChildToSpawn {
  readonly parentSessionKey: string;
  readonly parentAgentId: string;
  /** Undefined when an operator spawns without a run: the result then starts a turn of its own. */
  readonly parentRunId: string | undefined;
  readonly agentId: string;
  readonly task: string;
  /** The child begins with a copy of the parent's conversation, unless that is larger; its message is then `task` of this. */
  readonly fork?: { readonly maxBytes: number; readonly task: string } | undefined;
  readonly label: string | undefined;
  readonly model: string | undefined;
  readonly defaultModel: string;
  /** Its depth is the store's to say: the parent may be deeper than the caller. */
  readonly authority: Omit<RunAuthority, "depth" | "owner">;
  readonly terms: RunTerms;
  readonly spawnedBy: string;
  readonly timeoutMs: number | undefined;
  readonly cleanup: "keep" | "delete";
  /** Left out: yes. */
  readonly expectsCompletion?: boolean | undefined;
  readonly idempotencyKey: string;
  readonly paramsHash: string;
  /** The content of its attachments is not there any more: only a child that was made before can be found. */
  readonly isReplayOnly?: boolean;
  readonly limits: { readonly maxSpawnDepth: number; readonly maxChildrenPerAgent: number };
}

export type SpawnOutcome =
  | { readonly kind: "accepted"; readonly run: RunRecord }
  | Replay
  | { readonly kind: "content-gone" }
  | { readonly kind: "parent-ended" }
  | { readonly kind: "budget-spent"; readonly dimension: string }
  | { readonly kind: "name-taken"; readonly holder: string }
  | { readonly kind: "too-deep"; readonly depth: number }
  | { readonly kind: "too-many"; readonly active: number; readonly holders: readonly string[] };
