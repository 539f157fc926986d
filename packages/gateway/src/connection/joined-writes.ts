/** What a socket is given in one turn of the event loop leaves together: a packet costs both sides more than the few hundred bytes in it. */
import type { Duplex } from "node:stream";

/** Bytes that wait for the end of the turn; with more, a packet is full anyway. */
const maxHeldBytes = 65_536;

/** The part of a socket that joining takes. */
export type Corkable = Pick<Duplex, "cork" | "uncork" | "writableLength">;

export class JoinedWrites {
  readonly #socket: Corkable;
  #isHeld = false;

  constructor(socket: Corkable) {
    this.#socket = socket;
  }

  /** Called before a write: it waits for those that follow in this turn. */
  hold(): void {
    if (this.#socket.writableLength > maxHeldBytes) return this.flush();
    if (this.#isHeld) return;
    this.#isHeld = true;
    this.#socket.cork();
    // After the promises that this turn settled: the answers to requests of one packet are made there.
    process.nextTick(() => this.flush());
  }

  /** Nothing waits any more: for whoever destroys the socket next. */
  flush(): void {
    if (!this.#isHeld) return;
    this.#isHeld = false;
    this.#socket.uncork();
  }
}
