/** What can be done to a paired device, as atomic sentences of the store; part of `DeviceStore`. */
import type { DeviceRecord, Grant } from "./device-store.ts";

/** Scopes beyond the approved ones that end by themselves. */
export interface Elevation {
  readonly scopes: readonly string[];
  readonly untilMs: number;
  /** The latest moment at which it was seen to last: a clock that was moved back does not undo the time until then. */
  readonly seenMs: number;
}

/** Who manages. What a device may is read again in the transaction: one that was removed meanwhile changes nothing. */
export interface Actor {
  readonly id: string;
  readonly scopes: readonly string[];
  /** Undefined for whoever is no device. */
  readonly deviceId: string | undefined;
  /** Sees and manages its own device alone. */
  readonly ownDeviceOnly: boolean;
}

export interface TokenSubject {
  readonly deviceId: string;
  readonly role: string;
}

/** Nothing was changed. `rule` is for the log: whoever asked learns only that it was denied. */
export interface Denied {
  readonly kind: "denied";
  readonly rule: string;
}

export interface RequestState {
  readonly deviceId: string;
  readonly state: "pending" | "approved" | "rejected" | "superseded";
  readonly expiresAtMs: number;
}

export type ApprovalOutcome =
  | { readonly kind: "approved"; readonly device: DeviceRecord }
  | { readonly kind: "unknown" }
  | { readonly kind: "exceeds-approver"; readonly scope: string }
  /** The approver may not decide about this device, or may do nothing any more. */
  | { readonly kind: "denied" }
  /** Scopes can be granted for a time, a role cannot. */
  | { readonly kind: "role-for-a-time"; readonly role: string };

export interface DeviceManagement {
  /** Forgets the device and its grants, rejects what it asked for and remembers its key as refused. */
  remove(
    deviceId: string,
    actor: Actor,
    nowMs: number,
  ): Promise<{ readonly kind: "removed"; readonly rejectedRequests: readonly string[] } | { readonly kind: "unknown" } | Denied>;
  rename(device: { readonly deviceId: string; readonly label: string }, actor: Actor, nowMs: number): Promise<"renamed" | "unknown">;
  /**
   * Ends the token and any elevation; the next token covers `scopes`, or what the last one did, within what is approved and
   * what `actor` holds for good. `mayReceive`: the actor is the device itself or holds `operator.admin`.
   */
  rotateToken(
    subject: TokenSubject & { readonly scopes: readonly string[] | undefined },
    actor: Actor,
    nowMs: number,
  ): Promise<{ readonly kind: "rotated"; readonly grant: Grant; readonly mayReceive: boolean } | Denied>;
  /** Ends the role's token and its approval and remembers the key as refused. Again: the time of the first. */
  revokeToken(
    subject: TokenSubject,
    actor: Actor,
    nowMs: number,
  ): Promise<{ readonly kind: "revoked"; readonly revokedAtMs: number } | Denied>;
  findRequest(requestId: string): Promise<RequestState | undefined>;
  /**
   * Ends the elevations whose time is over, and notes the time while anything still waits for its end: an elevation, a
   * request, a setup code. `nextInMs`: until the next of them ends.
   */
  sweepExpiries(nowMs: number): Promise<{ readonly ended: readonly TokenSubject[]; readonly nextInMs: number | undefined }>;
  /** The newest time there is a note of. */
  newestTimeMs(): Promise<number>;
}
