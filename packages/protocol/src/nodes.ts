/** Nodes: what a paired node says it can do, and which of it is approved. */
import { z } from "zod";
import { event, method } from "./define.ts";
import { scopeToInvokeNode } from "./node-commands.ts";
import { label, nonEmpty, timeMs } from "./shapes.ts";

/** How much a node may say it can do. */
export const maxCaps = 256;
export const maxCommands = 1_024;

/** What a node declares when it connects. */
const surface = {
  caps: z.array(z.string()),
  commands: z.array(z.string()),
  permissions: z.record(z.string(), z.boolean()),
};

const nodeFacts = {
  nodeId: z.string(),
  clientId: z.string(),
  clientMode: z.string(),
  displayName: z.string().optional(),
  platform: z.string(),
  version: z.string(),
  deviceFamily: z.string().optional(),
  modelIdentifier: z.string().optional(),
};

export const nodeRequest = z.object({
  requestId: z.string(),
  ...nodeFacts,
  ...surface,
  /** What an approver must hold: more for commands that run programs on the node. */
  requiredApproveScopes: z.array(z.string()),
  silent: z.literal(false),
  ts: timeMs,
});

export const pairedNode = z.object({ ...nodeFacts, ...surface, createdAtMs: timeMs, approvedAtMs: timeMs });

/** A node as lists show it. `caps` and `commands`: what is live, which is what it declares and is approved. */
export const nodeRow = z.object({
  ...nodeFacts,
  caps: surface.caps,
  commands: surface.commands,
  permissions: surface.permissions,
  sessionHost: z.literal(false),
  /** `unapproved`: it is here, and what it declares was rejected. */
  approvalState: z.enum(["approved", "pending-approval", "unapproved"]),
  pendingRequestId: z.string().optional(),
  pendingDeclaredCaps: surface.caps.optional(),
  pendingDeclaredCommands: surface.commands.optional(),
  pendingDeclaredPermissions: surface.permissions.optional(),
  connectedAtMs: timeMs.optional(),
  approvedAtMs: timeMs.optional(),
  paired: z.literal(true),
  connected: z.boolean(),
});

/** Something a node is to do by itself, when it next asks. */
const nodeWork = z.object({
  id: z.string(),
  type: z.enum(["status.request", "location.request"]),
  priority: z.enum(["default", "normal", "high"]),
  createdAtMs: timeMs,
  expiresAtMs: timeMs.nullable(),
});

/** An answer or a report of a node: refused never, ignored when it belongs to no invocation of this very connection. */
const heard = z.object({ ok: z.literal(true), ignored: z.literal(true).optional() });

const requestIdParams = z.strictObject({ requestId: nonEmpty });

export const nodeMethods = {
  "node.pair.list": method({
    summary: "What nodes declare and wait to have approved, and what is approved, newest first.",
    scope: "operator.pairing",
    kind: "query",
    callers: ["operator"],
    params: () => z.strictObject({}),
    result: () => z.object({ pending: z.array(nodeRequest), paired: z.array(pairedNode) }),
  }),
  "node.pair.approve": method({
    summary: "Approve what a node declares. Commands need `operator.write` too, those that run programs `operator.admin`.",
    scope: "operator.pairing",
    kind: "command",
    callers: ["operator"],
    params: () => requestIdParams,
    result: () => z.object({ requestId: z.string(), node: pairedNode }),
  }),
  "node.pair.request": method({
    summary: "Ask that more of a node be approved, beside what it declares itself; it has to be paired. Grants nothing.",
    scope: "operator.pairing",
    kind: "command",
    callers: ["operator"],
    versions: [3],
    params: () =>
      z.strictObject({
        nodeId: nonEmpty,
        caps: z.array(nonEmpty.max(128)).max(maxCaps).optional(),
        commands: z.array(nonEmpty.max(128)).max(maxCommands).optional(),
      }),
    // What a node is called and runs on, the approver hears from the node alone.
    ignored: ["displayName", "platform", "version", "coreVersion", "uiVersion", "deviceFamily", "modelIdentifier", "remoteIp"],
    unsupported: ["silent"],
    result: () =>
      z.discriminatedUnion("status", [
        z.object({ status: z.literal("pending"), created: z.boolean(), request: nodeRequest }),
        z.object({ status: z.literal("approved"), created: z.literal(false), node: pairedNode }),
      ]),
  }),
  "node.pair.verify": method({
    summary: "Whether a token of node pairing is right. None is: none is ever issued, a node proves itself with its device key.",
    scope: "operator.pairing",
    kind: "query",
    callers: ["operator"],
    versions: [3],
    params: () => z.strictObject({ nodeId: nonEmpty, token: nonEmpty }),
    // Of the node's device token, too, this says nothing: an answer that depended on it would help whoever guesses.
    result: () => z.object({ ok: z.literal(false) }),
  }),
  "node.pair.reject": method({
    summary: "Reject what a node declares; what was approved before stays.",
    scope: "operator.pairing",
    kind: "command",
    callers: ["operator"],
    params: () => requestIdParams,
    result: () => z.object({ requestId: z.string(), nodeId: z.string() }),
  }),
  "node.pair.remove": method({
    summary: "Forget what is approved for a node and close its sockets; it stays paired as a device.",
    scope: "operator.pairing",
    kind: "command",
    callers: ["operator"],
    params: () => z.strictObject({ nodeId: nonEmpty }),
    result: () => z.object({ nodeId: z.string() }),
  }),
  "node.list": method({
    summary: "Nodes that are approved, wait for an approval or are connected, with what of them is live.",
    scope: "operator.read",
    kind: "query",
    callers: ["operator"],
    params: () => z.strictObject({}),
    result: () => z.object({ ts: timeMs, nodes: z.array(nodeRow) }),
  }),
  "node.describe": method({
    summary: "One node, as `node.list` shows it.",
    scope: "operator.read",
    kind: "query",
    callers: ["operator"],
    params: () => z.strictObject({ nodeId: nonEmpty }),
    result: () => nodeRow.extend({ ts: timeMs }),
  }),
  "node.rename": method({
    summary: "Give a node a name of the operator's; the name of its device.",
    scope: "operator.pairing",
    kind: "command",
    callers: ["operator"],
    params: () => z.strictObject({ nodeId: nonEmpty, displayName: label }),
    result: () => z.object({ nodeId: z.string(), displayName: z.string() }),
  }),
  "node.invoke": method({
    summary: "Run one command on a node: declared by it, approved for it, and within the caller's scopes.",
    scope: {
      byParams: ({ command, params }) => scopeToInvokeNode(command, params),
      malformed: "operator.write",
      oneOf: ["operator.write", "operator.admin"],
    },
    kind: "command",
    callers: ["operator"],
    params: () =>
      z.strictObject({
        nodeId: nonEmpty,
        command: nonEmpty,
        params: z.unknown().optional(),
        /** At most ten minutes; 0 and nothing mean 30 seconds. */
        timeoutMs: z.number().int().nonnegative().optional(),
        idempotencyKey: nonEmpty.max(256),
      }),
    ignored: ["sessionKey", "turnSourceChannel", "turnSourceTo", "turnSourceAccountId", "turnSourceThreadId"],
    result: () =>
      z.object({
        ok: z.literal(true),
        nodeId: z.string(),
        command: z.string(),
        /** null when the node gave none, or JSON that cannot be read. */
        payload: z.unknown().optional(),
        payloadJSON: z.string().nullable(),
      }),
  }),
  "node.invoke.result": method({
    summary: "A node's answer to an invocation that this connection was sent; any other is ignored, and says so.",
    scope: "none",
    kind: "command",
    callers: ["node"],
    params: () =>
      z.strictObject({
        id: nonEmpty,
        nodeId: nonEmpty,
        ok: z.boolean(),
        payload: z.unknown().optional(),
        payloadJSON: z.string().nullish(),
        error: z.strictObject({ code: nonEmpty.optional(), message: nonEmpty.optional() }).nullish(),
      }),
    result: () => heard,
  }),
  "node.invoke.progress": method({
    summary: "A node's sign of life in an invocation that this connection was sent. Nothing of it is kept: an invocation has one answer.",
    scope: "none",
    kind: "command",
    callers: ["node"],
    params: () =>
      z.strictObject({
        invokeId: nonEmpty,
        nodeId: nonEmpty,
        seq: z.number().int().nonnegative(),
        chunk: z.string().max(16_384),
      }),
    result: () => heard,
  }),
  "node.event": method({
    summary: "What a node reports of itself. It changes nothing here: a node holds no scopes.",
    scope: "none",
    kind: "command",
    callers: ["node"],
    params: () => z.strictObject({ event: nonEmpty, payload: z.unknown().optional(), payloadJSON: z.string().nullish() }),
    result: () => z.object({ ok: z.literal(true), event: z.string(), handled: z.literal(false), reason: z.string() }),
  }),
  "node.pending.enqueue": method({
    summary: "Leave work for an approved node until it asks; of each type one piece waits, for a day unless it is said otherwise.",
    scope: "operator.write",
    kind: "command",
    callers: ["operator"],
    params: () =>
      z.strictObject({
        nodeId: nonEmpty,
        type: nodeWork.shape.type,
        priority: z.enum(["normal", "high"]).optional(),
        expiresInMs: z.number().int().min(1_000).max(86_400_000).optional(),
      }),
    // There is no way to wake a node that is away.
    ignored: ["wake"],
    result: () => z.object({ nodeId: z.string(), revision: z.number().int(), queued: nodeWork, wakeTriggered: z.literal(false) }),
  }),
  "node.pending.drain": method({
    summary: "A node's waiting work, the urgent first; it waits until it is acknowledged. With none, a request for its status.",
    scope: "none",
    kind: "query",
    callers: ["node"],
    params: () => z.strictObject({ maxItems: z.number().int().min(1).max(10).optional() }),
    result: () => z.object({ nodeId: z.string(), revision: z.number().int(), items: z.array(nodeWork), hasMore: z.boolean() }),
  }),
  "node.pending.ack": method({
    summary: "A node has done these pieces of its own work.",
    scope: "none",
    kind: "command",
    callers: ["node"],
    params: () => z.strictObject({ ids: z.array(nonEmpty).min(1).max(100) }),
    result: () => z.object({ nodeId: z.string(), ackedIds: z.array(z.string()), remainingCount: z.number().int() }),
  }),
  "node.pending.pull": method({
    summary: "Commands that wait for a node. There are none: a command for a node that is away is refused, never kept.",
    scope: "none",
    kind: "query",
    callers: ["node"],
    params: () => z.strictObject({}),
    result: () => z.object({ nodeId: z.string(), actions: z.array(z.never()) }),
  }),
};

export const nodeEvents = {
  "node.pair.requested": event({
    summary: "A node declares what is not approved yet.",
    scope: "operator.pairing",
    droppable: true,
    payload: () => nodeRequest,
  }),
  "node.pair.resolved": event({
    summary: "What a node declared was decided, or its approval removed.",
    scope: "operator.pairing",
    droppable: true,
    payload: () =>
      z.object({
        requestId: z.string(),
        nodeId: z.string(),
        decision: z.enum(["approved", "rejected", "removed"]),
        ts: timeMs,
      }),
  }),
  "node.invoke.request": event({
    summary: "A command for this node: sent to its own connection alone, and answered with `node.invoke.result`.",
    scope: "addressee",
    droppable: false,
    payload: () =>
      z.object({
        id: z.string(),
        nodeId: z.string(),
        command: z.string(),
        paramsJSON: z.string().optional(),
        timeoutMs: z.number().int(),
        idempotencyKey: z.string(),
      }),
  }),
  "node.invoke.cancel": event({
    summary: "A command that this node was sent is over without its answer: out of time, its caller gone, or approved no more.",
    scope: "addressee",
    droppable: false,
    payload: () => z.object({ invokeId: z.string(), nodeId: z.string() }),
  }),
};

export type NodeRow = z.infer<typeof nodeRow>;
export type NodeRequest = z.infer<typeof nodeRequest>;
export type PairedNode = z.infer<typeof pairedNode>;
