/** Nodes and their requests as the wire shows them: listed fields only. */
import { type NodeRequest, type PairedNode, scopesToApproveNode } from "@portreeve/protocol";
import type { NodeDeclaration, NodeRecord, NodeRequestRecord } from "../store/nodes.ts";

export function toNodeRequest(request: NodeRequestRecord): NodeRequest {
  return {
    requestId: request.requestId,
    ...toDeclared(request),
    requiredApproveScopes: [...scopesToApproveNode(request.commands)],
    silent: false,
    ts: request.createdAtMs,
  };
}

export function toPairedNode(node: NodeRecord): PairedNode {
  return { ...toDeclared(node), createdAtMs: node.createdAtMs, approvedAtMs: node.approvedAtMs };
}

/** What an operator calls a node goes before what it calls itself. */
export function toDeclared(node: NodeDeclaration & { readonly label?: string | undefined }) {
  const displayName = node.label ?? node.displayName;
  return {
    nodeId: node.nodeId,
    clientId: node.clientId,
    clientMode: node.clientMode,
    ...(displayName === undefined ? {} : { displayName }),
    platform: node.platform,
    version: node.version,
    ...(node.deviceFamily === undefined ? {} : { deviceFamily: node.deviceFamily }),
    ...(node.modelIdentifier === undefined ? {} : { modelIdentifier: node.modelIdentifier }),
    caps: [...node.caps],
    commands: [...node.commands],
    permissions: { ...node.permissions },
  };
}
