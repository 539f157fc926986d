/** Nodes: what they declare and the decision about it, which there are, and what they are asked to do. */
import { ProtocolError } from "@portreeve/protocol";
import type { Context, Handlers } from "../dispatch/types.ts";
import type { DeviceManager } from "../identity/device-management.ts";
import { type NodePairing, unknownNode } from "../identity/node-pairing.ts";
import { toNodeRequest, toPairedNode } from "../identity/node-view.ts";
import type { Answerer } from "../nodes/invocations.ts";
import type { Nodes } from "../nodes/nodes.ts";
import type { NodeWorkStore } from "../store/node-work.ts";

export interface NodeHandlerDeps {
  readonly pairing: NodePairing;
  readonly nodes: Nodes;
  readonly manager: Pick<DeviceManager, "rename">;
  readonly work: Pick<NodeWorkStore, "enqueue" | "listWork" | "finishWork">;
  readonly now: () => number;
}

type PairingMethod =
  | "node.pair.list"
  | "node.pair.request"
  | "node.pair.verify"
  | "node.pair.approve"
  | "node.pair.reject"
  | "node.pair.remove";
type NodeMethod = "node.list" | "node.describe" | "node.rename" | "node.invoke";
type OwnMethod = "node.invoke.result" | "node.invoke.progress" | "node.event";
type WorkMethod = "node.pending.enqueue" | "node.pending.drain" | "node.pending.ack" | "node.pending.pull";

export function nodeHandlers(deps: NodeHandlerDeps): Pick<Handlers, PairingMethod | NodeMethod | OwnMethod | WorkMethod> {
  return { ...pairingHandlers(deps), ...operatorHandlers(deps), ...ownHandlers(deps), ...workHandlers(deps) };
}

function pairingHandlers({ pairing }: NodeHandlerDeps): Pick<Handlers, PairingMethod> {
  return {
    "node.pair.list": async ({ principal }) => {
      const { pending, paired } = await pairing.list(principal);
      return { pending: pending.map(toNodeRequest), paired: paired.map(toPairedNode) };
    },
    "node.pair.request": async ({ principal }, { nodeId, caps = [], commands = [] }) => {
      const outcome = await pairing.ask({ nodeId, caps, commands }, principal);
      return outcome.kind === "covered"
        ? { status: "approved", created: false, node: toPairedNode(outcome.node) }
        : { status: "pending", created: outcome.created, request: toNodeRequest(outcome.request) };
    },
    // Neither looks at the token nor keeps it.
    "node.pair.verify": () => Promise.resolve({ ok: false }),
    "node.pair.approve": async ({ principal }, { requestId }) => ({
      requestId,
      node: toPairedNode(await pairing.approve(requestId, principal)),
    }),
    "node.pair.reject": async ({ principal }, { requestId }) => ({ requestId, ...(await pairing.reject(requestId, principal)) }),
    "node.pair.remove": async ({ principal, connection, signal }, { nodeId }) => {
      await pairing.remove(nodeId, principal, { connId: connection?.connId, signal });
      return { nodeId };
    },
  };
}

function operatorHandlers({ nodes, manager, now }: NodeHandlerDeps): Pick<Handlers, NodeMethod> {
  return {
    "node.list": async () => ({ ts: now(), nodes: [...(await nodes.list())] }),
    "node.describe": async (_context, { nodeId }) => {
      const found = await nodes.find(nodeId);
      if (found === undefined) throw unknownNode();
      return { ts: now(), ...found };
    },
    "node.rename": async ({ principal }, { nodeId, displayName }) => {
      if ((await nodes.find(nodeId)) === undefined) throw unknownNode();
      await manager.rename({ deviceId: nodeId, label: displayName }, principal);
      return { nodeId, displayName };
    },
    "node.invoke": ({ principal, signal }, { nodeId, command, params, timeoutMs, idempotencyKey }) =>
      nodes.invoke(principal, { nodeId, command, params, timeoutMs, idempotencyKey, signal }),
  };
}

function ownHandlers({ nodes }: NodeHandlerDeps): Pick<Handlers, OwnMethod> {
  return {
    "node.invoke.result": async (context, result) => heard(await nodes.hearAnswer(answererOf(context), result)),
    "node.invoke.progress": async (context, { invokeId, nodeId }) => {
      const by = answererOf(context);
      return heard(nodeId === by.nodeId && nodes.hasInWork(by, invokeId));
    },
    "node.event": async (_context, { event }) => ({ ok: true, event, handled: false, reason: "this gateway does not act on it" }),
  };
}

function workHandlers({ work, now }: NodeHandlerDeps): Pick<Handlers, WorkMethod> {
  return {
    "node.pending.enqueue": async (_context, { nodeId, type, priority = "normal", expiresInMs = dayMs }) => {
      const nowMs = now();
      const added = await work.enqueue({ nodeId, type, priority, expiresAtMs: nowMs + expiresInMs }, nowMs);
      if (added === undefined) throw unknownNode();
      return { nodeId, ...added, wakeTriggered: false };
    },
    "node.pending.drain": async (context, { maxItems = 4 }) => {
      const { nodeId } = answererOf(context);
      const nowMs = now();
      const { revision, items } = await work.listWork(nodeId, nowMs);
      if (items.length > 0) return { nodeId, revision, items: items.slice(0, maxItems), hasMore: items.length > maxItems };
      const status = { id: "baseline-status", type: "status.request", priority: "default", createdAtMs: nowMs, expiresAtMs: null } as const;
      return { nodeId, revision, items: [status], hasMore: false };
    },
    "node.pending.ack": async (context, { ids }) => {
      const { nodeId } = answererOf(context);
      const { done, left } = await work.finishWork(nodeId, ids, now());
      return { nodeId, ackedIds: [...done], remainingCount: left };
    },
    "node.pending.pull": async (context) => ({ nodeId: answererOf(context).nodeId, actions: [] }),
  };
}

const dayMs = 86_400_000;

function heard(isIts: boolean): { ok: true; ignored?: true } {
  return isIts ? { ok: true } : { ok: true, ignored: true };
}

/** The node and the connection it speaks over: what it was asked over another one is not its to answer here. */
function answererOf({ principal, connection }: Pick<Context, "principal" | "connection">): Answerer {
  if (principal.kind !== "device" || connection === undefined) throw new ProtocolError("WRONG_CALLER", "only a connected node may answer");
  return { nodeId: principal.deviceId, connId: connection.connId };
}
