/** A clock that stands still until a test moves it; it begins at the real time, so that certificates and signatures fit. */
import type { SteadyClock } from "../../packages/gateway/src/kit/clock.ts";

export interface ManualClock extends SteadyClock {
  /** Moves time forward and runs what is due, in order. */
  advance(byMs: number): void;
  /** Moves time in one step, also back, as a suspended machine does: what is due by then runs once, in order. */
  jump(byMs: number): void;
  /** Sets the time, also back; nothing runs. */
  set(nowMs: number): void;
}

export function createManualClock(startMs: number = Date.now()): ManualClock {
  let [nowMs, elapsedMs] = [startMs, 0];
  const pass = (byMs: number): void => {
    nowMs += byMs;
    elapsedMs += Math.max(0, byMs);
  };
  const tasks = new Set<{ readonly atMs: number; readonly task: () => void }>();
  return {
    now: () => nowMs,
    elapsedMs: () => elapsedMs,
    schedule(atMs, task) {
      const entry = { atMs, task };
      tasks.add(entry);
      return { [Symbol.dispose]: () => void tasks.delete(entry) };
    },
    advance(byMs) {
      const untilMs = nowMs + byMs;
      for (;;) {
        const [next] = [...tasks].filter(({ atMs }) => atMs <= untilMs).toSorted((a, b) => a.atMs - b.atMs);
        if (next === undefined) break;
        tasks.delete(next);
        pass(Math.max(0, next.atMs - nowMs));
        next.task();
      }
      pass(untilMs - nowMs);
    },
    jump(byMs) {
      pass(byMs);
      for (const due of [...tasks].filter(({ atMs }) => atMs <= nowMs).toSorted((a, b) => a.atMs - b.atMs)) {
        if (tasks.delete(due)) due.task();
      }
    },
    set(toMs) {
      nowMs = toMs;
    },
  };
}
