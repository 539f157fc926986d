/** The in-process bus: hints that something changed, and live text nobody stores. Losing one costs latency, never data. */
import type { AgentEvent, ChatEvent, EventPayload } from "@portreeve/protocol";

/** An event for those alone who may see the approval. */
export interface BoundTo<P> {
  readonly payload: P;
  readonly requester: string;
  readonly reviewers: readonly string[];
}

export interface BusMessages {
  /** There may be a run to claim. */
  work: undefined;
  /** The run reached a terminal state. */
  "run-ended": { readonly runId: string };
  /** Live events of a run, in order. */
  agent: AgentEvent;
  chat: ChatEvent;
  "sessions.changed": { readonly sessionKey: string; readonly reason: EventPayload<"sessions.changed">["reason"]; readonly runId?: string };
  /** The session's transcript has grown: by the messages with these numbers. */
  appended: { readonly sessionKey: string; readonly fromSeq: number; readonly throughSeq: number };
  cron: EventPayload<"cron">;
  "config.changed": EventPayload<"config.changed">;
  /** Something was made that ends by itself. */
  "expiry-set": undefined;
  "device.pair.requested": EventPayload<"device.pair.requested">;
  "device.pair.resolved": EventPayload<"device.pair.resolved">;
  "device.pair.setup.completed": EventPayload<"device.pair.setup.completed">;
  "device.pair.setup.deliveryUncertain": EventPayload<"device.pair.setup.deliveryUncertain">;
  "device.pair.changed": EventPayload<"device.pair.changed">;
  "exec.approval.requested": BoundTo<EventPayload<"exec.approval.requested">>;
  "exec.approval.resolved": BoundTo<EventPayload<"exec.approval.resolved">>;
  "node.pair.requested": EventPayload<"node.pair.requested">;
  "node.pair.resolved": EventPayload<"node.pair.resolved">;
}

type Listener<T> = (message: T) => void;

export class Bus {
  readonly #listeners = new Map<keyof BusMessages, Set<Listener<never>>>();

  /** Tells every listener at once, in the order they came. A listener must not throw. */
  publish<T extends keyof BusMessages>(topic: T, message: BusMessages[T]): void {
    for (const listener of this.#listeners.get(topic) ?? []) (listener as Listener<BusMessages[T]>)(message);
  }

  /** Hears `topic` until disposed. */
  subscribe<T extends keyof BusMessages>(topic: T, listener: Listener<BusMessages[T]>): Disposable {
    const listeners = this.#listeners.get(topic) ?? new Set();
    this.#listeners.set(topic, listeners);
    listeners.add(listener as Listener<never>);
    return { [Symbol.dispose]: () => void listeners.delete(listener as Listener<never>) };
  }
}
