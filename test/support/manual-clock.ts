/** A clock that stands until a test moves it, forwards or back. */
import type { Clock } from "../../packages/gateway/src/kit/clock.ts";

export interface ManualClock extends Clock {
  /** Moves the time and runs, once and in order, what is due by then. Backwards nothing is due. */
  move(ms: number): void;
}

export function createManualClock(startMs: number): ManualClock {
  let nowMs = startMs;
  const tasks = new Map<object, { readonly atMs: number; readonly task: () => void }>();
  return {
    now: () => nowMs,
    schedule(atMs, task) {
      const handle = {};
      tasks.set(handle, { atMs, task });
      return { [Symbol.dispose]: () => void tasks.delete(handle) };
    },
    move(ms) {
      nowMs += ms;
      const due = [...tasks].filter(([, { atMs }]) => atMs <= nowMs).toSorted(([, a], [, b]) => a.atMs - b.atMs);
      for (const [handle, { task }] of due) {
        if (tasks.delete(handle)) task();
      }
    },
  };
}
