/** Setup codes as sentences of the domain; what holds for every store holds here. */
import type { SetupAccess } from "@portreeve/protocol";
import type { Actor, Denied } from "./device-management.ts";
import type { DeviceFacts, DeviceRecord } from "./device-store.ts";

export interface SetupCodeToIssue {
  readonly setupId: string;
  /** Hex SHA-256; the token itself is never stored. */
  readonly tokenHash: string;
  readonly role: "operator" | "node";
  readonly scopes: readonly string[];
  readonly expiresAtMs: number;
}

export type IssueOutcome =
  /** What the device is granted: neither more nor less. */
  | { readonly kind: "issued"; readonly scopes: readonly string[]; readonly access: SetupAccess }
  | { readonly kind: "exceeds-issuer"; readonly scope: string }
  /** The issuer may do nothing any more. */
  | Denied;

/** A device that proved its key and presents a code. */
export interface SetupCodePresentation {
  readonly tokenHash: string;
  readonly device: DeviceFacts;
  readonly role: string;
  readonly scopes: readonly string[];
}

export interface SetupCompletion {
  readonly setupId: string;
  readonly deviceId: string;
  readonly deviceName: string | undefined;
  readonly access: SetupAccess;
  readonly ts: number;
}

export type SetupOutcome =
  | { readonly kind: "approved"; readonly device: DeviceRecord; readonly completion: SetupCompletion; readonly issuedBy: string }
  | { readonly kind: "refused"; readonly why: "unknown" | "expired" | "used" | "other-key" | "issuer" | "beyond" }
  /** The stored record of the device cannot be read. */
  | { readonly kind: "corrupt" };

export type SetupStatus =
  | { readonly state: "waiting" | "expired" | "unknown" }
  /** `isHeard`: the device was, since it was paired. */
  | { readonly state: "completed"; readonly completion: SetupCompletion; readonly isHeard: boolean };

export interface SetupCodeStore {
  /**
   * Records a code with its audit row, for what of its scopes the issuer holds for good; for a node the issuer must hold
   * `operator.admin` so. Codes that ended more than a day ago go.
   */
  issue(code: SetupCodeToIssue, issuer: Actor, nowMs: number): Promise<IssueOutcome>;
  /** Whether this key may redeem such a code now; `redeem` judges anew. */
  isGood(presentation: { readonly tokenHash: string; readonly publicKey: string }, nowMs: number): Promise<boolean>;
  /**
   * Binds the code to the first key that presents it; when the ask lies within the code, pairs the device for exactly what the
   * code says, with its audit row, and ends the code. A refusal changes no device and no request. A code is dead while the
   * device that issued it holds less than the code gives.
   */
  redeem(presentation: SetupCodePresentation, nowMs: number): Promise<SetupOutcome>;
  status(setupId: string, nowMs: number): Promise<SetupStatus>;
  /** The device knows that it was paired. */
  markHeard(setupId: string, nowMs: number): Promise<void>;
  /** One more presentation that was refused. */
  countRefusal(): Promise<void>;
}
