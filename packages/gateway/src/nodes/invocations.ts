/** Commands in work on nodes: each bound to the one connection it was sent to, and settled exactly once. */
import { limits } from "@portreeve/protocol";
import type { NodeLink } from "../identity/node-link.ts";
import type { Clock } from "../kit/clock.ts";

export type InvokeOutcome =
  | { readonly kind: "answered"; readonly payload: unknown; readonly payloadJSON: string | null }
  | { readonly kind: "failed"; readonly code: string; readonly message: string }
  | { readonly kind: "timed-out" | "cancelled" | "disconnected" | "pairing-changed" | "too-large" };

/** Who answers: only the connection that was asked may. */
export interface Answerer {
  readonly nodeId: string;
  readonly connId: string;
}

export interface Command {
  readonly id: string;
  readonly command: string;
  readonly paramsJSON: string | undefined;
  readonly timeoutMs: number;
  /** Aborts when nobody waits for the answer any more. */
  readonly gone: AbortSignal;
}

interface Invocation {
  readonly link: NodeLink;
  readonly command: string;
  readonly settle: (outcome: InvokeOutcome) => void;
  readonly timer: Disposable;
}

export class Invocations {
  readonly #clock: Clock;
  readonly #open = new Map<string, Invocation>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  isFull(nodeId: string): boolean {
    return [...this.#open.values()].filter(({ link }) => link.nodeId === nodeId).length >= limits.nodeInvocations;
  }

  /** Sends the command; resolves with how it ended, and never rejects. */
  send(link: NodeLink, { id, command, paramsJSON, timeoutMs, gone }: Command): Promise<InvokeOutcome> {
    const { nodeId } = link;
    const { promise, resolve: settle } = Promise.withResolvers<InvokeOutcome>();
    const timer = this.#clock.schedule(this.#clock.now() + timeoutMs, () => this.#cancel(id, "timed-out"));
    this.#open.set(id, { link, command, settle, timer });
    gone.addEventListener("abort", () => this.#cancel(id, "cancelled"), { once: true });
    const params = paramsJSON === undefined ? {} : { paramsJSON };
    // The caller's own key stays here: two callers may have chosen the same, and a node that knows it would answer one with the other's.
    link.tell("node.invoke.request", { id, nodeId, command, ...params, timeoutMs, idempotencyKey: id });
    return promise;
  }

  /** The command that `by` was sent under this id and has not answered. */
  find(id: string, by: Answerer): string | undefined {
    const found = this.#open.get(id);
    return found?.link.nodeId === by.nodeId && found.link.connId === by.connId ? found.command : undefined;
  }

  /** Whether there was something for `by` to settle. */
  settle(id: string, by: Answerer, outcome: InvokeOutcome): boolean {
    return this.find(id, by) !== undefined && this.#settle(id, outcome);
  }

  /** Nobody can answer any more. */
  endConnection(connId: string): void {
    for (const [id, { link }] of this.#open) if (link.connId === connId) this.#settle(id, { kind: "disconnected" });
  }

  /** Ends what is in work on the node and not approved any more. */
  endUnapproved(nodeId: string, approved: readonly string[]): void {
    for (const [id, { link, command }] of this.#open)
      if (link.nodeId === nodeId && !approved.includes(command)) this.#cancel(id, "pairing-changed");
  }

  /** Ends what the node has not answered, and tells it so. */
  #cancel(id: string, kind: "timed-out" | "cancelled" | "pairing-changed"): void {
    const link = this.#open.get(id)?.link;
    if (this.#settle(id, { kind })) link?.tell("node.invoke.cancel", { invokeId: id, nodeId: link.nodeId });
  }

  #settle(id: string, outcome: InvokeOutcome): boolean {
    const found = this.#open.get(id);
    if (found === undefined) return false;
    this.#open.delete(id);
    found.timer[Symbol.dispose]();
    found.settle(outcome);
    return true;
  }
}
