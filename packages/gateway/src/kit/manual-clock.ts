/** Time for tests: it stands still until it is advanced, and runs what is due on the way. */
import type { SteadyClock } from "./clock.ts";

export class ManualClock implements SteadyClock {
  #nowMs = 1_795_435_000_000;
  /** What the clock was set on by, beside the time that passed. */
  #setByMs = 1_795_435_000_000;
  readonly #tasks = new Set<{ readonly atMs: number; readonly task: () => void }>();

  now(): number {
    return this.#nowMs;
  }

  elapsedMs(): number {
    return this.#nowMs - this.#setByMs;
  }

  schedule(atMs: number, task: () => void): Disposable {
    const entry = { atMs, task };
    this.#tasks.add(entry);
    return { [Symbol.dispose]: () => void this.#tasks.delete(entry) };
  }

  advance(byMs: number): void {
    const untilMs = this.#nowMs + byMs;
    for (;;) {
      const [next] = [...this.#tasks].filter(({ atMs }) => atMs <= untilMs).sort((a, b) => a.atMs - b.atMs);
      if (next === undefined) break;
      this.#tasks.delete(next);
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      next.task();
    }
    this.#nowMs = untilMs;
  }

  /** Sets the time; none passes. */
  setOn(byMs: number): void {
    this.#nowMs += byMs;
    this.#setByMs += byMs;
  }

  /** As a machine that sleeps: what was due meanwhile runs when it wakes. */
  sleep(byMs: number): void {
    this.#nowMs += byMs;
    this.advance(0);
  }

  /** Advances to each next task that is due `withinMs`, until `work` has settled. */
  async runUntil<T>(work: Promise<T>, withinMs: number): Promise<T> {
    let isSettled = false;
    const settle = (): void => void (isSettled = true);
    work.then(settle, settle);
    while (!isSettled) {
      await new Promise(setImmediate);
      const next = Math.min(...[...this.#tasks].map(({ atMs }) => atMs));
      if (!isSettled && next <= this.#nowMs + withinMs) this.advance(Math.max(0, next - this.#nowMs));
    }
    return await work;
  }
}
