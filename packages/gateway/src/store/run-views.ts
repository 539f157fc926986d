/** Runs as a person who operates the gateway sees them, and what they decide about results. */
import type { RunStatus, Usage } from "@portreeve/protocol";
import type { Delivery, DeliveryHop, DeliveryStatus } from "./deliveries.ts";
import type { RunRecord } from "./store.ts";

export type WaitsFor =
  | { readonly kind: "slot" }
  | { readonly kind: "session"; readonly runId: string }
  | { readonly kind: "children"; readonly runIds: readonly string[] };

export interface RunView {
  readonly run: RunRecord;
  readonly children: { readonly total: number; readonly open: number };
  readonly waitsFor: WaitsFor | undefined;
  readonly delivery: Delivery;
}

export interface RunDetails extends RunView {
  /** From the first cause down to the run's parent. */
  readonly ancestors: readonly RunView[];
  readonly attempts: {
    readonly claims: number;
    readonly modelCalls: number;
    readonly toolCalls: number;
    readonly failures: readonly { readonly atMs: number; readonly errorKind: string; readonly message: string }[];
  };
  readonly deliveries: readonly DeliveryHop[];
}

export interface SessionSum {
  readonly usage: Usage;
  /** Of what was delegated from it. */
  readonly children: { readonly total: number; readonly open: number };
  /** Oldest first. */
  readonly open: readonly RunRecord[];
}

/** What the asking principal may see; undefined: every run. */
export interface RunVisibility {
  readonly rootKey: string | undefined;
}

export interface RunFilter extends RunVisibility {
  readonly limit: number;
  /** Only runs that come after this one in the list. */
  readonly after?: { readonly createdAtMs: number; readonly runId: string } | undefined;
  readonly sessionKey?: string | undefined;
  /** Only what that session delegated. */
  readonly parentSessionKey?: string | undefined;
  readonly trigger?: RunRecord["trigger"] | undefined;
  readonly agentId?: string | undefined;
  readonly statuses?: readonly RunStatus[] | undefined;
  readonly undelivered?: boolean | undefined;
}

export type DeliveryDecision<Done> =
  | ({ readonly kind: "done" } & Done)
  /** Not one that can be decided about; `readBy`: the run that has read it or will. */
  | { readonly kind: "settled"; readonly status: DeliveryStatus; readonly readBy: string | undefined }
  /** The session it was for is gone. */
  | { readonly kind: "no-session"; readonly sessionKey: string };

export interface RunViewStore {
  /** Newest first. */
  list(filter: RunFilter): Promise<readonly RunView[]>;
  /** By the run's own id or the newest with that wire id. */
  find(id: string, view: RunVisibility): Promise<RunDetails | undefined>;
  /** The run and its descendants, parents before children; at most `limit`. */
  listTree(runId: string, limit: number): Promise<{ readonly runs: readonly RunView[]; readonly isCut: boolean }>;
  /** The run of this id, or the newest of this session, if it is one of those that `listBelow` lists, however old. */
  findBelow(sessionKey: string, id: string): Promise<RunView | undefined>;
  /** What all runs of a session come to. */
  sumUp(sessionKey: string): Promise<SessionSum>;
  /**
   * Runs of the sessions below `sessionKey`, newest first: its children's and, unless `depth` is "children", theirs. Also of
   * sessions that have been deleted since. Of more than `limit` those that have not ended come before those that have.
   */
  listBelow(sessionKey: string, options: { readonly depth: "children" | "all"; readonly limit: number }): Promise<readonly RunView[]>;
  /** Session keys of all sub-agents below `sessionKey`, also deleted ones, in the order in which they were made. */
  listSubagents(sessionKey: string): Promise<readonly string[]>;
  /**
   * Sends the result to the parent's session under the next generation, for a turn of its own: whatever carried it before can
   * not be read any more. Audited.
   */
  retryDelivery(
    runId: string,
    by: string,
    nowMs: number,
  ): Promise<DeliveryDecision<{ readonly generation: number; readonly sessionKey: string }>>;
  /** Nobody will read the result any more. Audited. */
  dismissDelivery(runId: string, by: string, nowMs: number): Promise<DeliveryDecision<object>>;
}
