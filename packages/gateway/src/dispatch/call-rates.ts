/** How often somebody may call a method: so many times in a window, which begins with the first call. Pure but for what it counts. */

export interface CallRate {
  readonly calls: number;
  readonly windowMs: number;
}

interface Window {
  readonly beganAtMs: number;
  calls: number;
}

/** With more windows than these, the one that began first is forgotten. */
const keptWindows = 1_000;

export class CallRates {
  readonly #rate: CallRate;
  readonly #windows = new Map<string, Window>();

  constructor(rate: CallRate) {
    this.#rate = rate;
  }

  /** Counts a call under `key`; one too many is not counted, and the answer is how long to wait. */
  take(key: string, nowMs: number): number | undefined {
    const { calls, windowMs } = this.#rate;
    const found = this.#windows.get(key);
    // A clock that was set back prolongs no wait.
    const isOpen = found !== undefined && nowMs >= found.beganAtMs && nowMs < found.beganAtMs + windowMs;
    if (!isOpen) this.#begin(key, nowMs);
    else if (found.calls >= calls) return found.beganAtMs + windowMs - nowMs;
    else found.calls += 1;
    return undefined;
  }

  #begin(key: string, nowMs: number): void {
    this.#windows.delete(key);
    const [first] = this.#windows.keys();
    if (first !== undefined && this.#windows.size >= keptWindows) this.#windows.delete(first);
    this.#windows.set(key, { beganAtMs: nowMs, calls: 1 });
  }
}
