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
  /** A real timer counts down, whatever the clock is set to meanwhile. */
  const tasks = new Set<{ readonly atMs: number; readonly afterMs: number; readonly task: () => void }>();
  const inOrder = (withinMs: number) => {
    const all = [...tasks].map((entry) => ({ entry, inMs: Math.min(entry.atMs - nowMs, entry.afterMs - elapsedMs) }));
    return all.filter(({ inMs }) => inMs <= withinMs).toSorted((a, b) => a.inMs - b.inMs);
  };
  return {
    now: () => nowMs,
    elapsedMs: () => elapsedMs,
    schedule(atMs, task) {
      const entry = { atMs, afterMs: elapsedMs + atMs - nowMs, task };
      tasks.add(entry);
      return { [Symbol.dispose]: () => void tasks.delete(entry) };
    },
    advance(byMs) {
      const untilMs = nowMs + byMs;
      for (;;) {
        const [next] = inOrder(untilMs - nowMs);
        if (next === undefined) break;
        tasks.delete(next.entry);
        pass(Math.max(0, next.inMs));
        next.entry.task();
      }
      pass(untilMs - nowMs);
    },
    jump(byMs) {
      pass(byMs);
      for (const { entry } of inOrder(0)) if (tasks.delete(entry)) entry.task();
    },
    set(toMs) {
      nowMs = toMs;
    },
  };
}
