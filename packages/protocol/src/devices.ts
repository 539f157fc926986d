/** Devices: who is paired, who waits for an approval, and the decision. */
import { z } from "zod";
import { event, method } from "./define.ts";
import { nonEmpty, timeMs } from "./shapes.ts";

/** Who a device says it is, and by which key it is known. */
const deviceFacts = {
  deviceId: z.string(),
  publicKey: z.string(),
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
  approvedVia: z.enum(["silent", "owner", "bootstrap"]),
  createdAtMs: timeMs,
  approvedAtMs: timeMs,
  lastSeenAtMs: timeMs.optional(),
  connected: z.boolean(),
  tokens: z.array(
    z.object({
      role: z.string(),
      scopes: z.array(z.string()),
      createdAtMs: timeMs,
      rotatedAtMs: timeMs.optional(),
      revokedAtMs: timeMs.optional(),
    }),
  ),
});

const requestIdParams = z.strictObject({ requestId: nonEmpty });

export const deviceMethods = {
  "device.pair.list": method({
    summary: "Pending pairing requests and paired devices, newest first.",
    scope: "operator.pairing",
    kind: "query",
    callers: ["operator"],
    params: z.strictObject({}),
    result: z.object({ pending: z.array(pairingRequest), paired: z.array(pairedDevice) }),
  }),
  "device.pair.approve": method({
    summary: "Approve a pending request; the approver must hold every scope it grants.",
    scope: "operator.pairing",
    kind: "command",
    callers: ["operator"],
    params: requestIdParams,
    result: z.object({ requestId: z.string(), device: pairedDevice }),
  }),
  "device.pair.reject": method({
    summary: "Reject a pending request; the refusal is remembered by key.",
    scope: "operator.pairing",
    kind: "command",
    callers: ["operator"],
    params: requestIdParams,
    result: z.object({ requestId: z.string(), deviceId: z.string() }),
  }),
};

export const deviceEvents = {
  "device.pair.requested": event({
    summary: "A device waits for an approval.",
    scope: "operator.pairing",
    droppable: true,
    payload: pairingRequest,
  }),
  "device.pair.resolved": event({
    summary: "A request was decided, or a device was approved silently.",
    scope: "operator.pairing",
    droppable: true,
    payload: z.object({ requestId: z.string(), deviceId: z.string(), decision: z.enum(["approved", "rejected"]), ts: timeMs }),
  }),
};

export type PairingRequest = z.infer<typeof pairingRequest>;
export type PairedDevice = z.infer<typeof pairedDevice>;
