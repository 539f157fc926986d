/** One time for all processes of a simulation, and each process's own timers, which end with it. */
import type { SteadyClock } from "../../packages/gateway/src/kit/clock.ts";

interface Task {
  atMs: number;
  readonly run: () => void;
}

export interface ProcessClock extends SteadyClock {
  /** While stopped, what falls due waits. */
  isStopped: boolean;
  /** Its timers run on when the time of day is set back. */
  readonly isSteady: boolean;
  readonly tasks: Set<Task>;
}

/** More tasks than this without time moving on: something re-arms itself for a time that has passed. */
const hotLoopAfter = 500;

export class Timeline {
  nowMs = 1_795_435_000_000;
  /** How much later than meant a timer may fall due. */
  setBackMs = 0;
  #highestMs = 0;
  /** Of the time of day, what did not pass. */
  #setByMs = 0;
  readonly #clocks = new Set<ProcessClock>();

  /** The latest that any clock has told. */
  get highestMs(): number {
    return (this.#highestMs = Math.max(this.#highestMs, this.nowMs));
  }

  createClock({ isSteady = false } = {}): ProcessClock {
    const tasks = new Set<Task>();
    const clock: ProcessClock = {
      isStopped: false,
      isSteady,
      tasks,
      now: () => this.nowMs,
      elapsedMs: () => this.nowMs - this.#setByMs,
      schedule(atMs, run) {
        const task = { atMs, run };
        tasks.add(task);
        return { [Symbol.dispose]: () => void tasks.delete(task) };
      },
    };
    this.#clocks.add(clock);
    return clock;
  }

  remove(clock: ProcessClock): void {
    clock.tasks.clear();
    this.#clocks.delete(clock);
  }

  /** Moves on task by task; `settle` lets each have its consequences before the next. */
  async advance(byMs: number, settle: () => Promise<void>): Promise<void> {
    const untilMs = this.nowMs + byMs;
    for (let atOnce = 0; ; atOnce += 1) {
      const next = this.#next();
      if (next === undefined || next.task.atMs > untilMs) break;
      // Clocks tell whole milliseconds.
      if (next.task.atMs > this.nowMs) [this.nowMs, atOnce] = [Math.ceil(next.task.atMs), 0];
      if (atOnce > hotLoopAfter) throw new Error(`hot loop: ${atOnce} timers fell due without time moving on`);
      next.clock.tasks.delete(next.task);
      next.task.run();
      await settle();
    }
    this.nowMs = Math.max(this.nowMs, untilMs);
  }

  /** As a suspended machine, or one whose time is corrected: also back. What is due by then is run by the next `advance`. */
  jump(byMs: number): void {
    this.#highestMs = this.highestMs;
    this.nowMs += byMs;
    const backMs = Math.max(0, -byMs);
    this.setBackMs += backMs;
    this.#setByMs -= backMs;
    for (const clock of this.#clocks) if (clock.isSteady) for (const task of clock.tasks) task.atMs -= backMs;
  }

  /** When the next timer falls due. */
  nextAtMs(): number | undefined {
    return this.#next()?.task.atMs;
  }

  #next(): { clock: ProcessClock; task: Task } | undefined {
    let found: { clock: ProcessClock; task: Task } | undefined;
    for (const clock of this.#clocks) {
      if (clock.isStopped) continue;
      for (const task of clock.tasks) if (found === undefined || task.atMs < found.task.atMs) found = { clock, task };
    }
    return found;
  }
}
