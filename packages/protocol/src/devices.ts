/** Devices: who is paired, who waits for an approval, and the decision. */
import { z } from "zod";
import { event, method } from "./define.ts";
import { scopeNames } from "./scopes.ts";
import { nonEmpty, timeMs } from "./shapes.ts";

/** Who a device says it is, and by which key it is known. */
const deviceFacts = {
  deviceId: z.string(),
  publicKey: z.string(),
  /** What an operator named it, else what it calls itself. */
  displayName: z.string().optional(),
  platform: z.string().optional(),
  deviceFamily: z.string().optional(),
  clientId: z.string(),
  clientMode: z.string(),
  role: z.string(),
  roles: z.array(z.string()),
  scopes: z.array(z.string()),
  /** Absent for a device on the gateway's own machine. */
  remoteIp: z.string().optional(),
};

export const pairingRequest = z.object({
  ...deviceFacts,
  requestId: z.string(),
  silent: z.boolean(),
  isRepair: z.boolean(),
  reason: z.enum(["not-paired", "role-upgrade", "scope-upgrade", "metadata-upgrade"]),
  ts: timeMs,
  expiresAtMs: timeMs,
  /** Of the newest connect: the device shows the same ones when nobody stands between. */
  words: z.string().optional(),
});

export const pairedDevice = z.object({
  ...deviceFacts,
  approvedVia: z.enum(["silent", "owner", "bootstrap", "bearer"]),
  createdAtMs: timeMs,
  approvedAtMs: timeMs,
  lastSeenAtMs: timeMs.optional(),
  connected: z.boolean(),
  operatorLabel: z.string().optional(),
  tokens: z.array(
    z.object({
      role: z.string(),
      /** What the token covers for good. */
      scopes: z.array(z.string()),
      /** Scopes beyond those, until `elevatedUntilMs`. */
      elevatedScopes: z.array(z.string()).optional(),
      elevatedUntilMs: timeMs.optional(),
      createdAtMs: timeMs,
      rotatedAtMs: timeMs.optional(),
      revokedAtMs: timeMs.optional(),
    }),
  ),
});

const requestIdParams = z.strictObject({ requestId: nonEmpty });
const tokenParams = { deviceId: nonEmpty, role: nonEmpty };
/** A week: whoever needs more for longer is approved for good. */
const longestElevationMinutes = 10_080;

/** Runs of the device that had not ended, with all below them. */
const cancelledRuns = z.number().int().nonnegative().optional();

export const deviceMethods = {
  "device.pair.list": method({
    summary: "Pending pairing requests and paired devices, newest first.",
    scope: "operator.pairing",
    kind: "query",
    callers: ["operator"],
    params: () => z.strictObject({}),
    result: () => z.object({ pending: z.array(pairingRequest), paired: z.array(pairedDevice) }),
  }),
  "device.pair.approve": method({
    summary:
      "Approve a pending request; the approver must hold every scope it grants. With `expiresInMinutes` the scopes beyond what the device had end then.",
    scope: "operator.pairing",
    kind: "command",
    callers: ["operator"],
    params: () =>
      z.strictObject({ requestId: nonEmpty, expiresInMinutes: z.number().int().min(1).max(longestElevationMinutes).optional() }),
    result: () => z.object({ requestId: z.string(), device: pairedDevice }),
  }),
  "device.pair.reject": method({
    summary: "Reject a pending request; the refusal is remembered by key.",
    scope: "operator.pairing",
    kind: "command",
    callers: ["operator"],
    params: () => requestIdParams,
    result: () => z.object({ requestId: z.string(), deviceId: z.string() }),
  }),
  "device.pair.remove": method({
    summary:
      "Unpair a device: its sockets are closed, its tokens end, its runs with all they spawned are cancelled, and it is never paired silently again.",
    scope: "operator.pairing",
    kind: "command",
    callers: ["operator"],
    params: () => z.strictObject({ deviceId: nonEmpty }),
    result: () => z.object({ deviceId: z.string(), cancelledRuns }),
  }),
  "device.pair.rename": method({
    summary: "Give a paired device a name of the operator's choice.",
    scope: "operator.pairing",
    kind: "command",
    callers: ["operator"],
    params: () => z.strictObject({ deviceId: nonEmpty, label: z.string().trim().min(1).max(64) }),
    result: () => z.object({ deviceId: z.string(), label: z.string() }),
  }),
  "device.token.rotate": method({
    summary:
      "End the token of one device and role and make the next one, within what is approved and what the caller holds. It is returned to the device itself or to `operator.admin`.",
    scope: "operator.pairing",
    kind: "command",
    callers: ["operator"],
    params: () => z.strictObject({ ...tokenParams, scopes: z.array(nonEmpty).max(64).optional() }),
    result: () =>
      z.object({
        deviceId: z.string(),
        role: z.string(),
        scopes: z.array(z.string()),
        rotatedAtMs: timeMs,
        tokenDelivery: z.enum(["in-band", "withheld-cross-device"]),
        token: z.string().optional(),
      }),
  }),
  "device.token.revoke": method({
    summary: "End the token of one device and role, and the runs it started as operator; the role must be approved again.",
    scope: "operator.pairing",
    kind: "command",
    callers: ["operator"],
    params: () => z.strictObject(tokenParams),
    result: () => z.object({ deviceId: z.string(), role: z.string(), revokedAtMs: timeMs, cancelledRuns }),
  }),
  "device.token.issue": method({
    summary:
      "Pair a device that has no key but a token, for programs that speak HTTP: exactly these scopes, for good or for a time. The token is answered this once.",
    scope: "operator.admin",
    kind: "command",
    callers: ["operator"],
    params: () =>
      z.strictObject({
        label: z.string().trim().min(1).max(64),
        scopes: z.array(z.enum(scopeNames)).max(scopeNames.length),
        expiresInMinutes: z.number().int().min(1).max(longestElevationMinutes).optional(),
      }),
    result: () =>
      z.object({
        deviceId: z.string(),
        label: z.string(),
        scopes: z.array(z.string()),
        /** Presented as `Authorization: Bearer …`, over TLS or on the gateway's machine. */
        token: z.string(),
        expiresAtMs: timeMs.optional(),
      }),
  }),
  "device.scopes.requestUpgrade": method({
    summary: "Ask, from an open connection, that this device be approved for more scopes: the present ones and others. Never silent.",
    scope: "none",
    kind: "command",
    callers: ["operator"],
    params: () => z.strictObject({ scopes: z.array(nonEmpty).min(1).max(64) }),
    result: () => z.object({ requestId: z.string() }),
  }),
  "device.scopes.waitUpgrade": method({
    summary: "Wait until a request of this device is decided or expires. Connect again with the token to have the scopes.",
    scope: "none",
    kind: "query",
    callers: ["operator"],
    params: () => requestIdParams,
    result: () =>
      z.discriminatedUnion("status", [
        z.object({ status: z.literal("approved"), requestId: z.string(), deviceToken: z.string(), scopes: z.array(z.string()) }),
        z.object({ status: z.enum(["rejected", "expired"]), requestId: z.string() }),
      ]),
  }),
};

export const deviceEvents = {
  "device.pair.requested": event({
    summary: "A device waits for an approval.",
    scope: "operator.pairing",
    droppable: true,
    payload: () => pairingRequest,
  }),
  "device.pair.resolved": event({
    summary: "A request was decided, or a device was approved silently.",
    scope: "operator.pairing",
    droppable: true,
    payload: () => z.object({ requestId: z.string(), deviceId: z.string(), decision: z.enum(["approved", "rejected"]), ts: timeMs }),
  }),
  "device.pair.changed": event({
    summary: "A paired device was renamed or removed, or its tokens or scopes changed: list again.",
    scope: "operator.pairing",
    droppable: true,
    payload: () => z.object({}),
  }),
};

export type PairingRequest = z.infer<typeof pairingRequest>;
export type PairedDevice = z.infer<typeof pairedDevice>;
