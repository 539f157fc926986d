/** Who sees an exec approval and who decides it: the one rule of every door. Pure. */
import { covers } from "@portreeve/protocol";
import type { Principal } from "./principal.ts";

/** Whom a request is bound to. */
export interface ApprovalBinding {
  /** The id of the principal that asked. */
  readonly requester: string;
  /** Devices that the request names. */
  readonly reviewers: readonly string[];
}

/** Whoever asked, whoever holds `operator.admin`, and the devices that the request names: no other approver. */
export function maySeeApproval(principal: Principal, approval: ApprovalBinding): boolean {
  return principal.id === approval.requester || mayReview(principal, approval);
}

/** Nobody decides what they asked themselves, whatever they hold. */
export function mayDecideApproval(principal: Principal, approval: ApprovalBinding): boolean {
  return principal.id !== approval.requester && mayReview(principal, approval);
}

function mayReview(principal: Principal, { reviewers }: ApprovalBinding): boolean {
  if (principal.kind !== "device" && principal.kind !== "secret") return false;
  if (!covers(principal.scopes, "operator.approvals")) return false;
  if (covers(principal.scopes, "operator.admin")) return true;
  return principal.kind === "device" && principal.role === "operator" && reviewers.includes(principal.deviceId);
}
