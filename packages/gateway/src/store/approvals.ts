/** Exec approvals as atomic sentences of the store: each is decided once, and used once. */
import type { ApprovalDecision, ShownRequest } from "@portreeve/protocol";
import type { Actor } from "./device-management.ts";

export interface NewApproval {
  readonly id: string;
  /** The principal that asked. */
  readonly requester: string;
  /** Devices that may decide it without `operator.admin`. */
  readonly reviewers: readonly string[];
  readonly shown: ShownRequest;
  /** The digest of the effect. */
  readonly binding: string;
  readonly nodeId: string | null;
  readonly expiresAtMs: number;
}

export interface ApprovalRecord extends Omit<NewApproval, "binding"> {
  readonly createdAtMs: number;
  readonly state: "pending" | "decided" | "expired" | "cancelled";
  readonly decision: ApprovalDecision | undefined;
  readonly decidedBy: string | undefined;
  readonly decidedAtMs: number | undefined;
}

export type DecideOutcome =
  | { readonly kind: "decided" | "repeated"; readonly approval: ApprovalRecord }
  /** Of all the callers at once only one decides. */
  | { readonly kind: "already-decided" }
  | { readonly kind: "not-offered" }
  | { readonly kind: "own-request" }
  | { readonly kind: "unknown" }
  | { readonly kind: "denied" }
  | { readonly kind: "ambiguous"; readonly ids: readonly string[] };

export interface ApprovalStore {
  /** Bounded: so many wait for one principal, and so many in all. */
  request(approval: NewApproval, nowMs: number): Promise<"waits" | "id-taken" | "too-many">;
  find(id: string): Promise<ApprovalRecord | undefined>;
  /** The oldest first. */
  listPending(nowMs: number): Promise<readonly ApprovalRecord[]>;
  /** `maySee` is asked about the record as it is in the transaction; `matchPrefix`: the id may be the beginning of one alone. */
  decide(
    decision: { readonly id: string; readonly decision: string; readonly matchPrefix?: boolean | undefined },
    by: Actor & { readonly maySee: (approval: ApprovalRecord) => boolean },
    nowMs: number,
  ): Promise<DecideOutcome>;
  /** Ends it without a decision. */
  cancel(id: string, nowMs: number): Promise<ApprovalRecord | undefined>;
  /** Ends what nobody decided in time. `nextAtMs`: when the next one ends. */
  expire(nowMs: number): Promise<{ readonly expired: readonly ApprovalRecord[]; readonly nextAtMs: number | undefined }>;
}

/** An approval that a command stands on: bound to who asked and to the effect, and gone with its use. */
export interface ApprovalUse {
  readonly id: string;
  readonly requester: string;
  readonly binding: string;
}
