import { ProtocolError } from "@portreeve/protocol";

/** Those who wait for one answer: several, when a call is repeated under its key. */
export class Askers {
  readonly #gone = new AbortController();
  #waiting = 0;

  /** Aborts when the last of them went away before there was an answer. */
  get gone(): AbortSignal {
    return this.#gone.signal;
  }

  /** Waits for `answer` as one of them; `signal` aborts when this one goes away. */
  async wait<T>(answer: Promise<T>, signal: AbortSignal): Promise<T> {
    this.#waiting += 1;
    const leave = (): void => {
      this.#waiting -= 1;
      if (this.#waiting === 0) this.#gone.abort(new ProtocolError("SHUTTING_DOWN", "whoever asked went away"));
    };
    if (signal.aborted) leave();
    else signal.addEventListener("abort", leave, { once: true });
    try {
      return await answer;
    } finally {
      signal.removeEventListener("abort", leave);
    }
  }
}
