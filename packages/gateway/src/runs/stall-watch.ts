/**
 * Notices that nothing comes any more: of the model, or of the tools. Every sign of life starts its time anew. Time in which
 * nobody could have heard one does not count, nor what the clock is set on by.
 */
import type { SteadyClock } from "../kit/clock.ts";

export interface StallWatchInput {
  readonly clock: SteadyClock;
  /** Undefined: it never stalls. */
  readonly stallMs: number | undefined;
  /** Most of the time has passed; told once each time, with when it will be over. */
  readonly onWarning: (limitAtMs: number) => void;
  readonly onStalled: () => void;
}

/** What of the time has passed when a warning is given. */
export const warningShare = 0.8;

/** So often within its time it looks, to learn how long the machine slept: some clocks count that as time that passed. */
const looks = 10;

export class StallWatch implements Disposable {
  readonly #input: StallWatchInput;
  /** In the clock's steady time, like the next. */
  #lastSignMs: number;
  #nextLookMs = 0;
  #isHeld = false;
  #isWarned = false;
  #timer: Disposable | undefined;

  constructor(input: StallWatchInput) {
    this.#input = input;
    this.#lastSignMs = input.clock.elapsedMs();
    this.#arm();
  }

  /** A token, a tool's output: cheap, as it is called for each. */
  sign(): void {
    this.#lastSignMs = this.#input.clock.elapsedMs();
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

  /** One timer, set for when the next thing is due if nothing comes until then, or for a look before. */
  #arm(): void {
    const { clock, stallMs } = this.#input;
    if (stallMs === undefined) return;
    const dueAfterMs = this.#isWarned ? stallMs : stallMs * warningShare;
    const nowMs = clock.elapsedMs();
    const inMs = Math.max(1, Math.min(this.#lastSignMs + dueAfterMs - nowMs, stallMs / looks));
    this.#nextLookMs = nowMs + inMs;
    this.#timer = clock.schedule(clock.now() + inMs, () => this.#look(stallMs));
  }

  #look(stallMs: number): void {
    const { clock, onWarning, onStalled } = this.#input;
    const nowMs = clock.elapsedMs();
    if (this.#isHeld) this.sign();
    // The machine slept, or the event loop stood still.
    else if (nowMs > this.#nextLookMs) this.#lastSignMs = Math.min(nowMs, this.#lastSignMs + nowMs - this.#nextLookMs);
    const quietMs = nowMs - this.#lastSignMs;
    if (quietMs >= stallMs) return onStalled();
    if (quietMs >= stallMs * warningShare && !this.#isWarned) {
      this.#isWarned = true;
      onWarning(clock.now() + stallMs - quietMs);
    }
    this.#arm();
  }
}
