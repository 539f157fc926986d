/** What goes out over one socket: answers, and events numbered for this connection alone. */
import { limits, type ErrorBody, type EventName } from "@portreeve/protocol";
import { cutCloseReason } from "./close-reason.ts";
import type { JoinedWrites } from "./joined-writes.ts";

/** The part of a WebSocket that sending needs. */
export interface Sink {
  readonly bufferedAmount: number;
  send(text: string): void;
  close(code: number, reason: string): void;
}

/** The numbers of what a hello shows and events renew. */
export interface StateVersion {
  readonly presence: number;
  readonly health: number;
}

export interface OutgoingEvent {
  readonly name: EventName;
  /** JSON of the payload, in the connection's version: made once for all who hear it. */
  readonly payloadJson: string;
  readonly droppable: boolean;
  /** The numbers of the states that the event carries. */
  readonly stateVersion?: StateVersion | undefined;
}

type Writes = Pick<JoinedWrites, "holdAnswer" | "holdEvent" | "flush" | "onceDrained">;

export class Outbound {
  readonly #sink: Sink;
  readonly #writes: Writes;
  #seq = 0;
  #isClosed = false;

  constructor(sink: Sink, writes: Writes) {
    this.#sink = sink;
    this.#writes = writes;
  }

  /** From our close on; the peer may still be sending. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** So much waits that whoever asks for more has to read first. */
  get isBehind(): boolean {
    return this.#sink.bufferedAmount > limits.unsentBytes;
  }

  /** Calls once, while it is behind, when everything is sent. */
  onceDrained(then: () => void): void {
    this.#writes.onceDrained(then);
  }

  /** Without a number: it comes before the connection is one. */
  challenge(payload: object): void {
    this.#send(JSON.stringify({ type: "event", event: "connect.challenge", payload }));
  }

  /** For this connection alone, and without a number. */
  direct(name: EventName, payload: unknown): void {
    this.#sendOrClose(() => JSON.stringify({ type: "event", event: name, payload }));
  }

  answer(id: string, payload: unknown): void {
    this.#sendOrClose(() => JSON.stringify({ type: "res", id, ok: true, payload }));
  }

  refuse(id: string, error: ErrorBody): void {
    this.#sendOrClose(() => JSON.stringify({ type: "res", id, ok: false, error }));
  }

  /** An event that is skipped uses up its number: the gap tells the client to read again. */
  event({ name, payloadJson, droppable, stateVersion }: OutgoingEvent): void {
    this.#seq += 1;
    if (droppable && this.#isFull()) return;
    const versions = stateVersion === undefined ? "" : `,"stateVersion":${JSON.stringify(stateVersion)}`;
    this.#sendOrClose(
      () => `{"type":"event","event":${JSON.stringify(name)},"payload":${payloadJson},"seq":${this.#seq}${versions}}`,
      "told",
    );
  }

  /** Nothing is sent after this. */
  close(code: number, reason: string): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#sink.close(code, cutCloseReason(reason));
    this.#writes.flush();
  }

  #sendOrClose(makeText: () => string, as: "awaited" | "told" = "awaited"): void {
    if (this.#isFull()) this.close(1008, "slow consumer");
    else this.#send(makeText(), as);
  }

  #send(text: string, as: "awaited" | "told" = "awaited"): void {
    if (this.#isClosed) return;
    if (as === "told") this.#writes.holdEvent();
    else this.#writes.holdAnswer();
    this.#sink.send(text);
  }

  #isFull(): boolean {
    return this.#sink.bufferedAmount > limits.maxBufferedBytes;
  }
}
