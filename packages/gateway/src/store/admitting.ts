/** What the store is told of a run that a caller starts, and what becomes of that. */
import type { ThinkingLevel } from "@portreeve/protocol";
import type { RunAuthority } from "../principal/principal.ts";
import type { QueueMode, RunRecord } from "./store.ts";

export interface RunToAdmit {
  readonly sessionKey: string;
  readonly agentId: string;
  readonly wireId: string;
  readonly input: string;
  readonly label: string | undefined;
  /** The model when the session has none of its own. */
  readonly defaultModel: string;
  readonly authority: RunAuthority;
  readonly startedBy: string;
  /** Counted from the first turn; undefined: none. */
  readonly timeoutMs: number | undefined;
  /** Everything that makes two calls the same call. */
  readonly paramsHash: string;
  readonly queueMode: QueueMode;
  /** What its session has from here on; a run that is refused, or was admitted before, changes nothing of it. */
  readonly session?: { readonly label?: string | undefined; readonly model?: string | undefined };
  /** A job's: with its own model and thinking, whatever the session's are. */
  readonly job?: { readonly model: string | undefined; readonly thinking: ThinkingLevel | undefined };
}

export type Admission =
  | {
      readonly kind: "admitted";
      readonly run: RunRecord;
      readonly createdSession: boolean;
      /** Runs that were cancelled for it. */
      readonly interrupted: readonly RunRecord[];
    }
  | Replay
  /** So many messages that start no turn wait there already. */
  | { readonly kind: "too-many-notes"; readonly unread: number }
  /** So many runs wait for their turn there already; never said of what interrupts, of a job or of children's results. */
  | { readonly kind: "too-many-waiting"; readonly waiting: number }
  /** The run that sends has ended: its authority is over. */
  | { readonly kind: "starter-ended" };

/** What was asked for under an idempotency key: by whom, for which session, and a hash of all that must be the same. */
export interface Asked {
  readonly startedBy: string;
  readonly askedIn: string;
  readonly key: string;
  readonly paramsHash: string;
}

/** The same caller used the same key before: for the same, or for something else. */
export type Replay = { readonly kind: "replayed"; readonly run: RunRecord } | { readonly kind: "mismatch" };
