/** The time by which authority ends, by the rule alone: it passes, it never goes back, and a start goes on from the last note. */
export class ModelClock {
  /** Of the rule. So late that no machine's clock is set to before the first of all times. */
  nowMs = 1_000_000_000_000;
  #machineMs = this.nowMs;
  #notedMs = -Infinity;

  pass(ms: number): void {
    this.#machineMs += ms;
    this.nowMs = Math.max(this.#machineMs, this.nowMs + ms);
  }

  set(byMs: number): void {
    this.#machineMs += byMs;
    this.nowMs = Math.max(this.#machineMs, this.nowMs);
  }

  /** `ends`: of all that waits for its end or has ended unnoticed; the time is noted as long as there is any. */
  note(ends: readonly number[]): void {
    if (ends.some((atMs) => atMs > this.#notedMs)) this.#notedMs = Math.max(this.#notedMs, this.nowMs);
  }

  /** `begins`: when what there is was made, which is known without a note. */
  restart(begins: readonly number[]): void {
    this.nowMs = Math.max(this.#machineMs, this.#notedMs, ...begins);
  }
}
