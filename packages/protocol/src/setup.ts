/** Setup codes: an operator invites one device, once, for exactly what the code says. */
import { z } from "zod";
import { event, method } from "./define.ts";
import { scopeNames } from "./scopes.ts";
import { nonEmpty, timeMs } from "./shapes.ts";

/** In the words of the reference's clients: `full` holds `operator.admin`, `limited` does not, `node` is no operator. */
const access = z.enum(["full", "limited", "node"]);

const completion = z.object({
  setupId: z.string(),
  deviceId: z.string(),
  deviceName: z.string().optional(),
  access,
  ts: timeMs,
});

export const setupMethods = {
  "device.pair.setupCode": method({
    summary: "Issue a setup code: it pairs the first device that presents it, once, for exactly its role and scopes.",
    scope: "operator.admin",
    kind: "command",
    callers: ["operator"],
    hidden: true,
    params: () =>
      z.strictObject({
        role: z.enum(["operator", "node"]).optional(),
        /** Default: everything an operator's client needs but `operator.admin` and `operator.pairing`. */
        scopes: z.array(z.enum(scopeNames)).max(scopeNames.length).optional(),
        minutes: z.number().int().min(1).max(10).optional(),
        /** The reference's form of the same choice. */
        bootstrapProfile: z.enum(["limited", "node"]).optional(),
        /** Under which the device reaches this gateway; default: the configured one, else the address it listens at. */
        publicUrl: z.url({ protocol: /^(wss?|https?)$/ }).optional(),
        includeQr: z.boolean().optional(),
      }),
    ignored: ["preferRemoteUrl"],
    unsupported: ["joinUrl"],
    result: () =>
      z.object({
        setupId: z.string(),
        expiresAtMs: timeMs,
        /** base64url of JSON `{url, bootstrapToken, expiresAtMs}`. */
        setupCode: z.string(),
        qrDataUrl: z.string().optional(),
        gatewayUrl: z.string(),
        /** What the gateway asks of clients without a code. */
        auth: z.string(),
        urlSource: z.enum(["params.publicUrl", "gateway.publicUrl", "gateway.bind"]),
        access,
        role: z.string(),
        scopes: z.array(z.string()),
      }),
  }),
  "device.pair.setupStatus": method({
    summary: "What became of a setup code.",
    scope: "operator.admin",
    kind: "query",
    callers: ["operator"],
    hidden: true,
    params: () => z.strictObject({ setupId: nonEmpty }),
    result: () =>
      z.object({
        state: z.enum(["waiting", "completed", "expired", "unknown"]),
        completion: completion.optional(),
        /** In place of `completion`: the device was paired, and may not know it. */
        deliveryUncertain: completion.optional(),
      }),
  }),
};

export const setupEvents = {
  "device.pair.setup.completed": event({
    summary: "A device was paired with a setup code.",
    scope: "operator.pairing",
    droppable: true,
    payload: () => completion,
  }),
  "device.pair.setup.deliveryUncertain": event({
    summary: "A device was paired with a setup code, and its connection broke before it was heard again: it may not know.",
    scope: "operator.pairing",
    droppable: true,
    payload: () => completion,
  }),
};

export type SetupAccess = z.infer<typeof access>;
