/** The open connection of a node, and who hears that there is one. */
import type { EventName, EventPayload } from "@portreeve/protocol";
import type { NodeDeclaration } from "../store/nodes.ts";

export interface NodeLink {
  readonly connId: string;
  readonly nodeId: string;
  /** What the node said when it connected; what is approved of it decides what is live. */
  readonly declared: NodeDeclaration;
  readonly openedAtMs: number;
  /** Sends an event to this connection alone. */
  tell<N extends EventName>(name: N, payload: EventPayload<N>): void;
}

export interface NodeLinks {
  opened(link: NodeLink): void;
  /** From here on the connection has no say. Told once more, or of another connection, it changes nothing. */
  closed(connId: string): void;
}
