/** Notices that nothing comes any more: of the model, or of the tools. Every sign of life starts its time anew. */
import type { Clock } from "../kit/clock.ts";

export interface StallWatchInput {
  readonly clock: Clock;
  /** Undefined: it never stalls. */
  readonly stallMs: number | undefined;
  /** Most of the time has passed; told once each time, with when it will be over. */
  readonly onWarning: (limitAtMs: number) => void;
  readonly onStalled: () => void;
}

/** What of the time has passed when a warning is given. */
export const warningShare = 0.8;

export class StallWatch implements Disposable {
  readonly #input: StallWatchInput;
  #lastSignMs: number;
  #isHeld = false;
  #isWarned = false;
  #timer: Disposable | undefined;

  constructor(input: StallWatchInput) {
    this.#input = input;
    this.#lastSignMs = input.clock.now();
    this.#arm();
  }

  /** A token, a tool's output: cheap, as it is called for each. */
  sign(): void {
    this.#lastSignMs = this.#input.clock.now();
    this.#isWarned = false;
  }

  /** Nothing is expected to come until the returned handle is disposed. */
  hold(): Disposable {
    this.#isHeld = true;
    return {
      [Symbol.dispose]: () => {
        this.#isHeld = false;
        this.sign();
      },
    };
  }

  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]();
  }

  /** One timer, set for when the next thing is due if nothing comes until then. */
  #arm(): void {
    const { clock, stallMs } = this.#input;
    if (stallMs === undefined) return;
    const dueAfterMs = this.#isWarned ? stallMs : stallMs * warningShare;
    this.#timer = clock.schedule(Math.max(this.#lastSignMs + dueAfterMs, clock.now() + 1), () => this.#look(stallMs));
  }

  #look(stallMs: number): void {
    const { clock, onWarning, onStalled } = this.#input;
    if (this.#isHeld) this.sign();
    const quietMs = clock.now() - this.#lastSignMs;
    if (quietMs >= stallMs) return onStalled();
    if (quietMs >= stallMs * warningShare && !this.#isWarned) {
      this.#isWarned = true;
      onWarning(this.#lastSignMs + stallMs);
    }
    this.#arm();
  }
}
