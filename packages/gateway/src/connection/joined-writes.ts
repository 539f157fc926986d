/** What a socket is given in one turn of the event loop leaves together: a packet costs both sides more than the few hundred bytes in it. */
import type { Duplex } from "node:stream";

/** Bytes that wait for the end of the turn; with more, a packet is full anyway. */
const maxHeldBytes = 65_536;

/** The part of a socket that joining takes. */
export interface Corkable extends Pick<Duplex, "cork" | "uncork" | "writableLength"> {
  once(event: "drain", then: () => void): unknown;
}

export class JoinedWrites {
  readonly #socket: Corkable;
  #isHeld = false;
  #isLeaving = false;

  constructor(socket: Corkable) {
    this.#socket = socket;
  }

  /** Called before a write that somebody waits for: it leaves with what else the promises settled at this moment write. */
  holdAnswer(): void {
    if (!this.#cork() || this.#isLeaving) return;
    this.#isLeaving = true;
    // After the promises: the answers to requests of one packet are made there.
    process.nextTick(() => this.flush());
  }

  /** Called before a write that tells: it leaves with the next answer, or at the end of this turn of the event loop. */
  holdEvent(): void {
    const wasHeld = this.#isHeld;
    if (this.#cork() && !wasHeld) setImmediate(() => this.flush());
  }

  /** Nothing waits any more: for whoever destroys the socket next. */
  flush(): void {
    if (!this.#isHeld) return;
    this.#isHeld = false;
    this.#isLeaving = false;
    this.#socket.uncork();
  }

  /** Calls once when all that waits has left; only for a socket with so much that a drain is to come. */
  onceDrained(then: () => void): void {
    this.#socket.once("drain", then);
  }

  /** Answers whether the write waits: behind a full packet it need not. */
  #cork(): boolean {
    if (this.#socket.writableLength > maxHeldBytes) this.flush();
    else if (!this.#isHeld) {
      this.#isHeld = true;
      this.#socket.cork();
    }
    return this.#isHeld;
  }
}
