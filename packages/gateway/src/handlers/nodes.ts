/** Nodes: what they declare, and the decision about it. */
import type { Handlers } from "../dispatch/types.ts";
import type { NodePairing } from "../identity/node-pairing.ts";
import { toNodeRequest, toPairedNode } from "../identity/node-view.ts";

type NodeMethod =
  | "node.pair.list"
  | "node.pair.request"
  | "node.pair.verify"
  | "node.pair.approve"
  | "node.pair.reject"
  | "node.pair.remove";

export function nodeHandlers({ nodes }: { readonly nodes: NodePairing }): Pick<Handlers, NodeMethod> {
  return {
    "node.pair.list": async ({ principal }) => {
      const { pending, paired } = await nodes.list(principal);
      return { pending: pending.map(toNodeRequest), paired: paired.map(toPairedNode) };
    },
    "node.pair.request": async ({ principal }, { nodeId, caps = [], commands = [] }) => {
      const outcome = await nodes.ask({ nodeId, caps, commands }, principal);
      return outcome.kind === "covered"
        ? { status: "approved", created: false, node: toPairedNode(outcome.node) }
        : { status: "pending", created: outcome.created, request: toNodeRequest(outcome.request) };
    },
    // Neither looks at the token nor keeps it.
    "node.pair.verify": () => Promise.resolve({ ok: false }),
    "node.pair.approve": async ({ principal }, { requestId }) => ({
      requestId,
      node: toPairedNode(await nodes.approve(requestId, principal)),
    }),
    "node.pair.reject": async ({ principal }, { requestId }) => ({ requestId, ...(await nodes.reject(requestId, principal)) }),
    "node.pair.remove": async ({ principal, connection, signal }, { nodeId }) => {
      await nodes.remove(nodeId, principal, { connId: connection?.connId, signal });
      return { nodeId };
    },
  };
}
