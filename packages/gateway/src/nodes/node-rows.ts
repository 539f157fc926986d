/** Nodes as `node.list` shows them: what is stored, together with who is connected. Pure. */
import type { NodeRow } from "@portreeve/protocol";
import type { NodeLink } from "../identity/node-link.ts";
import { toDeclared } from "../identity/node-view.ts";
import type { NodeRecord, NodeRequestRecord } from "../store/nodes.ts";
import { liveSurface } from "./surface.ts";

export interface KnownNode {
  readonly pending: NodeRequestRecord | undefined;
  readonly approved: NodeRecord | undefined;
  readonly link: NodeLink | undefined;
}

/** Every node that is stored; one that is connected and nowhere stored was rejected, and has no facts but those of its link. */
export function joinNodes(
  { pending, paired }: { readonly pending: readonly NodeRequestRecord[]; readonly paired: readonly NodeRecord[] },
  links: readonly NodeLink[],
): readonly KnownNode[] {
  const ids = new Set([...paired, ...pending, ...links].map(({ nodeId }) => nodeId));
  return [...ids].map((nodeId) => ({
    pending: pending.find((one) => one.nodeId === nodeId),
    approved: paired.find((one) => one.nodeId === nodeId),
    link: links.find((one) => one.nodeId === nodeId),
  }));
}

/** Undefined for a node that is not known at all. */
export function toNodeRow({ pending, approved, link }: KnownNode): NodeRow | undefined {
  const said = link?.declared ?? pending ?? approved;
  if (said === undefined) return undefined;
  const live = liveSurface(link?.declared ?? approved ?? said, approved);
  return {
    ...toDeclared({ ...said, label: approved?.label ?? pending?.label }),
    caps: [...live.caps],
    commands: [...live.commands],
    permissions: { ...live.permissions },
    sessionHost: false,
    approvalState: pending !== undefined ? "pending-approval" : approved !== undefined ? "approved" : "unapproved",
    ...(pending === undefined ? {} : toPending(pending)),
    ...(link === undefined ? {} : { connectedAtMs: link.openedAtMs }),
    ...(approved === undefined ? {} : { approvedAtMs: approved.approvedAtMs }),
    paired: true,
    connected: link !== undefined,
  };
}

function toPending({ requestId, caps, commands, permissions }: NodeRequestRecord) {
  return {
    pendingRequestId: requestId,
    pendingDeclaredCaps: [...caps],
    pendingDeclaredCommands: [...commands],
    pendingDeclaredPermissions: { ...permissions },
  };
}
