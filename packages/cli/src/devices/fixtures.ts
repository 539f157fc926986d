/** A waiting request and a paired device for tests of what is said about them. */
import type { PairedDevice, PairingRequest } from "./words.ts";

export const at = Date.UTC(2026, 0, 2, 3, 4, 5);

const kitchen = {
  deviceId: "d".repeat(64),
  publicKey: "k",
  displayName: "Kitchen",
  clientId: "webchat-ui",
  clientMode: "webchat",
  role: "operator",
  roles: ["operator"],
} as const;

/** Asks for more than `pairedDevice` has. */
export const upgradeRequest: PairingRequest = {
  ...kitchen,
  roles: ["operator"],
  requestId: "4f9d1c2a-1111",
  scopes: ["operator.read", "operator.write"],
  remoteIp: "192.0.2.7",
  silent: false,
  isRepair: true,
  reason: "scope-upgrade",
  ts: at - 60_000,
  expiresAtMs: at + 240_000,
};

export const pairedDevice: PairedDevice = {
  ...kitchen,
  roles: ["operator"],
  platform: "linux",
  scopes: ["operator.read"],
  approvedVia: "owner",
  createdAtMs: at,
  approvedAtMs: at,
  connected: false,
  lastSeenAtMs: at - 3 * 3_600_000,
  tokens: [{ role: "operator", scopes: ["operator.read"], createdAtMs: at }],
};

/** Of the command line on the gateway's own machine. */
export const ownDevice: PairedDevice = {
  ...pairedDevice,
  deviceId: "e".repeat(64),
  displayName: undefined,
  clientId: "cli",
  clientMode: "cli",
  scopes: ["operator.admin", "operator.read"],
  approvedVia: "silent",
  connected: true,
  tokens: [{ role: "operator", scopes: ["operator.admin", "operator.read"], createdAtMs: at }],
};
