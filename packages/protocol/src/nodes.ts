/** Nodes: what a paired node says it can do, and which of it is approved. */
import { z } from "zod";
import { event, method } from "./define.ts";
import { nonEmpty, timeMs } from "./shapes.ts";

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

const requestIdParams = z.strictObject({ requestId: nonEmpty });

export const nodeMethods = {
  "node.pair.list": method({
    summary: "What nodes declare and wait to have approved, and what is approved, newest first.",
    scope: "operator.pairing",
    kind: "query",
    callers: ["operator"],
    params: z.strictObject({}),
    result: z.object({ pending: z.array(nodeRequest), paired: z.array(pairedNode) }),
  }),
  "node.pair.approve": method({
    summary: "Approve what a node declares. Commands need `operator.write` too, those that run programs `operator.admin`.",
    scope: "operator.pairing",
    kind: "command",
    callers: ["operator"],
    params: requestIdParams,
    result: z.object({ requestId: z.string(), node: pairedNode }),
  }),
  "node.pair.request": method({
    summary: "Ask that more of a node be approved, beside what it declares itself; it has to be paired. Grants nothing.",
    scope: "operator.pairing",
    kind: "command",
    callers: ["operator"],
    versions: [3],
    params: z.strictObject({
      nodeId: nonEmpty,
      caps: z.array(nonEmpty.max(128)).max(maxCaps).optional(),
      commands: z.array(nonEmpty.max(128)).max(maxCommands).optional(),
    }),
    // What a node is called and runs on, the approver hears from the node alone.
    ignored: ["displayName", "platform", "version", "coreVersion", "uiVersion", "deviceFamily", "modelIdentifier", "remoteIp"],
    unsupported: ["silent"],
    result: z.discriminatedUnion("status", [
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
    params: z.strictObject({ nodeId: nonEmpty, token: nonEmpty }),
    // Of the node's device token, too, this says nothing: an answer that depended on it would help whoever guesses.
    result: z.object({ ok: z.literal(false) }),
  }),
  "node.pair.reject": method({
    summary: "Reject what a node declares; what was approved before stays.",
    scope: "operator.pairing",
    kind: "command",
    callers: ["operator"],
    params: requestIdParams,
    result: z.object({ requestId: z.string(), nodeId: z.string() }),
  }),
  "node.pair.remove": method({
    summary: "Forget what is approved for a node and close its sockets; it stays paired as a device.",
    scope: "operator.pairing",
    kind: "command",
    callers: ["operator"],
    params: z.strictObject({ nodeId: nonEmpty }),
    result: z.object({ nodeId: z.string() }),
  }),
};

export const nodeEvents = {
  "node.pair.requested": event({
    summary: "A node declares what is not approved yet.",
    scope: "operator.pairing",
    droppable: true,
    payload: nodeRequest,
  }),
  "node.pair.resolved": event({
    summary: "What a node declared was decided, or its approval removed.",
    scope: "operator.pairing",
    droppable: true,
    payload: z.object({
      requestId: z.string(),
      nodeId: z.string(),
      decision: z.enum(["approved", "rejected", "removed"]),
      ts: timeMs,
    }),
  }),
};

const programCommands = new Set([
  "browser.proxy",
  "browser.proxy.upload.v1",
  "fs.listDir",
  "system.execApprovals.get",
  "system.execApprovals.set",
  "system.run",
  "system.run.prepare",
  "system.which",
]);

/** What an approver of these commands must hold. Pure. */
export function scopesToApproveNode(commands: readonly string[]): readonly string[] {
  if (commands.length === 0) return ["operator.pairing"];
  const isProgram = (command: string): boolean =>
    programCommands.has(command) || command.startsWith("system.") || command.startsWith("browser.proxy");
  return commands.some(isProgram) ? ["operator.pairing", "operator.write", "operator.admin"] : ["operator.pairing", "operator.write"];
}

export type NodeRequest = z.infer<typeof nodeRequest>;
export type PairedNode = z.infer<typeof pairedNode>;
