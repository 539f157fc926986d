/** The handshake: the one request that may come first, its answer, and the events of a connection itself. */
import { z } from "zod";
import { event, method } from "./define.ts";
import { maxCaps, maxCommands } from "./nodes.ts";
import { nonEmpty, timeMs } from "./shapes.ts";

export const clientIds = [
  "webchat-ui",
  "openclaw-control-ui",
  "openclaw-tui",
  "webchat",
  "cli",
  "gateway-client",
  "openclaw-macos",
  "openclaw-ios",
  "openclaw-android",
  "node-host",
  "test",
  "fingerprint",
  "openclaw-probe",
  "openclaw-browser-copilot",
  "openclaw-linux",
  "openclaw-watchos",
  "openclaw-worker",
] as const;

export const clientModes = ["webchat", "cli", "ui", "backend", "node", "probe", "test", "worker"] as const;

export const connectParams = z.strictObject({
  minProtocol: z.number().int().min(1),
  maxProtocol: z.number().int().min(1),
  client: z.strictObject({
    id: z.enum(clientIds),
    mode: z.enum(clientModes),
    version: nonEmpty,
    platform: nonEmpty,
    displayName: nonEmpty.optional(),
    deviceFamily: nonEmpty.optional(),
    modelIdentifier: nonEmpty.optional(),
    instanceId: nonEmpty.optional(),
    buildId: nonEmpty.max(96).optional(),
    timeZone: nonEmpty.max(64).optional(),
  }),
  role: nonEmpty.optional(),
  scopes: z.array(nonEmpty).max(64).optional(),
  caps: z.array(nonEmpty).max(maxCaps).optional(),
  commands: z.array(nonEmpty).max(maxCommands).optional(),
  permissions: z.record(z.string(), z.boolean()).optional(),
  pathEnv: z.string().optional(),
  locale: z.string().optional(),
  userAgent: z.string().optional(),
  device: z
    .strictObject({ id: nonEmpty, publicKey: nonEmpty, signature: nonEmpty, nonce: z.string(), signedAt: z.number().int().nonnegative() })
    .optional(),
  auth: z
    .strictObject({
      token: z.string().optional(),
      bootstrapToken: z.string().optional(),
      deviceToken: z.string().optional(),
      password: z.string().optional(),
      approvalRuntimeToken: z.string().optional(),
      agentRuntimeIdentityToken: z.string().optional(),
    })
    .optional(),
  computerUse: z.unknown().optional(),
  workerRuns: z.unknown().optional(),
  modelCatalog: z.unknown().optional(),
});

export type ConnectParams = z.infer<typeof connectParams>;

/** hello-ok as version 4 has it; the version 3 form is a projection. */
export const helloOk = z.object({
  type: z.literal("hello-ok"),
  protocol: z.number().int(),
  server: z.object({ version: z.string(), connId: z.string(), bootId: z.string() }),
  features: z.object({ methods: z.array(z.string()), events: z.array(z.string()), capabilities: z.array(z.string()) }),
  snapshot: z.object({
    presence: z.array(z.unknown()),
    health: z.unknown(),
    stateVersion: z.object({ presence: z.number().int(), health: z.number().int() }),
    uptimeMs: z.number().int(),
    sessionDefaults: z.object({
      defaultAgentId: z.string(),
      mainKey: z.string(),
      mainSessionKey: z.string(),
      scope: z.string(),
      modelConfigured: z.boolean(),
    }),
    suspension: z.object({ phase: z.literal("accepting") }),
    configPath: z.string().optional(),
    stateDir: z.string().optional(),
    authMode: z.string().optional(),
  }),
  auth: z.object({
    method: z.enum(["token", "password", "device-token", "bootstrap-token", "trusted-proxy", "none"]),
    role: z.string(),
    scopes: z.array(z.string()),
    deviceToken: z.string().optional(),
    issuedAtMs: timeMs.optional(),
  }),
  policy: z.object({
    maxPayload: z.number().int(),
    maxBufferedBytes: z.number().int(),
    tickIntervalMs: z.number().int(),
    attachments: z.object({ maxBytes: z.number().int(), maxImageBytes: z.number().int() }),
  }),
});

export type HelloOk = z.infer<typeof helloOk>;

export const connectMethods = {
  connect: method({
    summary: "Open the connection; valid only as its first request.",
    scope: "operator.admin",
    kind: "command",
    callers: ["operator", "node"],
    hidden: true,
    params: () => connectParams,
    result: () => helloOk,
  }),
};

export const connectEvents = {
  "connect.challenge": event({
    summary: "The first frame of every connection: the nonce a device signs, and the gateway's own proof over it.",
    scope: "everyone",
    droppable: false,
    payload: () =>
      z.object({
        nonce: z.string(),
        ts: timeMs,
        /** The gateway's Ed25519 key and its signature over `portreeve-gateway|nonce|ts`: whose tokens are safe to present here. */
        gateway: z.object({ publicKey: z.string(), signature: z.string() }),
      }),
  }),
  tick: event({
    summary: "The gateway is alive; sent every `policy.tickIntervalMs`.",
    scope: "everyone",
    droppable: true,
    payload: () => z.object({ ts: timeMs }),
  }),
  shutdown: event({
    summary: "The gateway stops; the socket closes with 1012 next.",
    scope: "everyone",
    droppable: false,
    payload: () => z.object({ reason: z.string(), restartExpectedMs: z.number().int().nullable() }),
  }),
};
