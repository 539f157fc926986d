/** Which nodes are connected. A node that connects again is reached over its newest connection; an older one ends by itself. */
import type { NodeLink, NodeLinks } from "../identity/node-link.ts";

export class NodeSockets implements NodeLinks {
  /** In the order they were opened. */
  readonly #links = new Map<string, NodeLink>();
  readonly #onClosed: (connId: string) => void;

  constructor(onClosed: (connId: string) => void) {
    this.#onClosed = onClosed;
  }

  opened(link: NodeLink): void {
    this.#links.set(link.connId, link);
  }

  closed(connId: string): void {
    if (this.#links.delete(connId)) this.#onClosed(connId);
  }

  find(nodeId: string): NodeLink | undefined {
    return [...this.#links.values()].findLast((link) => link.nodeId === nodeId);
  }

  /** One link a node: the one it is reached over. */
  list(): readonly NodeLink[] {
    return [...new Map([...this.#links.values()].map((link) => [link.nodeId, link])).values()];
  }
}
