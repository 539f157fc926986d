/** Bearers: paired devices that have a token and no key. Listed, narrowed and ended as every device is; part of the store. */
import type { Actor, Denied } from "./device-management.ts";
import type { DeviceFacts, DeviceRecord } from "./device-store.ts";

export interface BearerToIssue {
  /** Of a key that nobody has. */
  readonly device: Pick<DeviceFacts, "deviceId" | "publicKey">;
  readonly label: string;
  readonly scopes: readonly string[];
  /** When the scopes end; undefined: never. */
  readonly untilMs: number | undefined;
}

export type BearerOutcome =
  | { readonly kind: "issued"; readonly device: DeviceRecord }
  /** The issuer does not hold the scope, or not for as long. */
  | { readonly kind: "exceeds-issuer"; readonly scope: string }
  /** A bearer that is not removed has the name. */
  | { readonly kind: "name-taken"; readonly deviceId: string }
  /** Each one is tried against a token that is presented: there is a bound. */
  | { readonly kind: "too-many"; readonly most: number }
  | Denied;

export interface BearerStore {
  /** Pairs the device with exactly the scopes, with its audit row, by the authority that `issuer` has at this moment. */
  issue(bearer: BearerToIssue, issuer: Actor, nowMs: number): Promise<BearerOutcome>;
  /** Those that are not revoked, with what their tokens are derived from. */
  list(): Promise<readonly { readonly deviceId: string; readonly role: string; readonly generation: number }[]>;
}
