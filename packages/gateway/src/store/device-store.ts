/** What the gateway remembers of devices and their pairing. */
import type { Actor, ApprovalOutcome, DeviceManagement, Elevation } from "./device-management.ts";

export interface DeviceFacts {
  readonly deviceId: string;
  /** Raw 32 bytes, base64url. */
  readonly publicKey: string;
  readonly displayName: string | undefined;
  readonly platform: string | undefined;
  readonly deviceFamily: string | undefined;
  readonly clientId: string;
  readonly clientMode: string;
  /** Undefined for a direct local peer. */
  readonly remoteIp: string | undefined;
}

/** What an approved device may do in one role. The token is derived from `generation`, never stored. */
export interface Grant {
  readonly role: string;
  /** Approved for good. */
  readonly scopes: readonly string[];
  /** What of them the current token covers. */
  readonly tokenScopes: readonly string[];
  readonly elevation: Elevation | undefined;
  readonly generation: number;
  readonly createdAtMs: number;
  readonly rotatedAtMs: number | undefined;
  readonly revokedAtMs: number | undefined;
}

export interface DeviceRecord extends DeviceFacts {
  /** What an operator named it. */
  readonly label: string | undefined;
  /** `bearer`: it has no key, and its token alone is its credential; such a device is never anything else. */
  readonly approvedVia: "silent" | "owner" | "bootstrap" | "bearer";
  readonly createdAtMs: number;
  readonly approvedAtMs: number;
  readonly lastSeenAtMs: number | undefined;
  readonly grants: readonly Grant[];
}

/** Everything stored of one device id. */
export type DeviceState =
  | {
      readonly kind: "unknown";
      /** An operator rejected, removed or revoked it once: never silent again. */ readonly refused: boolean;
      readonly pending: PairingRecord | undefined;
    }
  | { readonly kind: "paired"; readonly device: DeviceRecord; readonly refused: boolean; readonly pending: PairingRecord | undefined }
  /** The row cannot be read; it grants nothing and is named in the log. */
  | { readonly kind: "corrupt" };

export type PairingReason = "not-paired" | "role-upgrade" | "scope-upgrade" | "metadata-upgrade";

export interface PairingAsk extends DeviceFacts {
  readonly role: string;
  readonly scopes: readonly string[];
  readonly reason: PairingReason;
  readonly isRepair: boolean;
  /** What both sides show; undefined for a request from before there were any. */
  readonly words?: string | undefined;
}

export interface PairingRecord extends PairingAsk {
  readonly requestId: string;
  /** Merged requests hold every role and scope that was asked for. */
  readonly roles: readonly string[];
  readonly silent: boolean;
  readonly createdAtMs: number;
  readonly expiresAtMs: number;
}

export interface DeviceStore extends DeviceManagement {
  /** `publicKey`: the key that asks, so that a refusal of it is known. Never throws for a row it cannot read: that is `corrupt`. */
  find(deviceId: string, publicKey?: string): Promise<DeviceState>;
  list(nowMs: number): Promise<{ readonly pending: readonly PairingRecord[]; readonly paired: readonly DeviceRecord[] }>;
  /**
   * Pairs a device nobody approved by hand, exactly as asked, with its audit row. Refused as `not-new` when in the
   * meantime the device was paired, refused or has a pending request: the caller decides again.
   */
  approveSilently(
    ask: PairingAsk,
    nowMs: number,
  ): Promise<{ readonly kind: "approved"; readonly device: DeviceRecord } | { readonly kind: "not-new" }>;
  /**
   * Records one pending request a device: the same or a narrower ask keeps the id, a wider one replaces it with the union.
   * `dropped` means that the bound on pending requests is reached (16 a peer, 256 in all; the oldest are kept), `covered` that
   * an approval came first, `rejected` that the request `sawRequestId` was rejected since it was seen: nothing new is recorded.
   */
  requestPairing(
    ask: PairingAsk,
    nowMs: number,
    sawRequestId?: string,
  ): Promise<
    | { readonly kind: "pending"; readonly request: PairingRecord; readonly created: boolean; readonly superseded: string | undefined }
    | { readonly kind: "dropped" | "covered" | "rejected" }
  >;
  /**
   * Approves with the authority that `approver` has at this moment: every requested scope must be covered by what it holds
   * for good, or, with `untilMs`, for at least as long.
   */
  approve(requestId: string, approver: Actor, nowMs: number, untilMs?: number): Promise<ApprovalOutcome>;
  /** Rejects and remembers the key. */
  reject(
    requestId: string,
    rejecter: Actor,
    nowMs: number,
  ): Promise<{ readonly kind: "rejected"; readonly deviceId: string } | { readonly kind: "unknown" } | { readonly kind: "denied" }>;
  markSeen(deviceId: string, nowMs: number): Promise<void>;
  counts(nowMs: number): Promise<{ readonly requestsCreated: number; readonly pending: number }>;
}
