/** Why an approval is not asked for or not decided. What a person needs stands in the message: some clients show nothing else. */
import { ProtocolError } from "@portreeve/protocol";

const seeThem = "See what waits with: ./portreeve approvals";

export function notFound(): ProtocolError {
  return new ProtocolError("APPROVAL_NOT_FOUND", "unknown or expired approval id", {
    details: { reason: "APPROVAL_NOT_FOUND" },
    remedy: seeThem,
  });
}

export function ambiguous(ids: readonly string[]): ProtocolError {
  const shown = [...ids.slice(0, 5), ...(ids.length > 5 ? ["…"] : [])].join(", ");
  return new ProtocolError("AMBIGUOUS_APPROVAL", `ambiguous approval id prefix; matches: ${shown}. Use the full id.`, { remedy: seeThem });
}

export function alreadyResolved(): ProtocolError {
  return new ProtocolError("APPROVAL_ALREADY_RESOLVED", "approval already resolved", { details: { reason: "APPROVAL_ALREADY_RESOLVED" } });
}

export function ownRequest(): ProtocolError {
  return new ProtocolError("APPROVAL_OWN_REQUEST", "whoever asks does not decide: approve or deny it from another device", {
    remedy: "Decide it with another paired device that holds operator.admin, or that the request names as a reviewer.",
  });
}

export function mayNotDecide(): ProtocolError {
  return new ProtocolError("DEVICE_ACTION_DENIED", "the device may decide no approvals any more", {
    remedy: "See what each device may do with: ./portreeve devices",
  });
}

export function invalidDecision(): ProtocolError {
  return new ProtocolError("INVALID_PARAMS", "invalid decision", {
    remedy: "Choose one of the request's allowedDecisions. ./portreeve approvals lists them.",
  });
}

export function idTaken(): ProtocolError {
  return new ProtocolError("APPROVAL_ID_TAKEN", "approval id already pending", { remedy: "Use a new id, or none." });
}

export function tooMany(): ProtocolError {
  return new ProtocolError("TOO_MANY_APPROVALS", "too many approvals wait", { retryAfterMs: 5_000, remedy: seeThem });
}

export function tooLarge(maxBytes: number): ProtocolError {
  return new ProtocolError("PAYLOAD_TOO_LARGE", `a request for an approval must not be larger than ${maxBytes} bytes: it is shown in full`);
}
