/** The last part of a run's time: whoever watches is warned of it, and the model is told, so that it hands over what it has. */
import type { Clock } from "../kit/clock.ts";
import type { RunRecord } from "../store/store.ts";
import { warningShare } from "./stall-watch.ts";

type Times = Pick<RunRecord, "startedAtMs" | "deadlineAtMs">;

/** When the last part begins; undefined without a deadline. */
export function lastPartAt({ startedAtMs, deadlineAtMs }: Times): number | undefined {
  if (startedAtMs === undefined || deadlineAtMs === undefined) return undefined;
  return startedAtMs + (deadlineAtMs - startedAtMs) * warningShare;
}

/** Undefined before the last part. */
export function secondsLeft(run: Times, nowMs: number): number | undefined {
  const fromMs = lastPartAt(run);
  if (run.deadlineAtMs === undefined || fromMs === undefined || nowMs < fromMs) return undefined;
  return Math.max(0, Math.round((run.deadlineAtMs - nowMs) / 1_000));
}

/** Tells `warn` when the last part begins, unless it has begun. */
export function warnInLastPart(clock: Clock, run: Times, warn: (deadlineAtMs: number) => void): Disposable | undefined {
  const { deadlineAtMs } = run;
  const atMs = lastPartAt(run);
  if (atMs === undefined || deadlineAtMs === undefined || atMs < clock.now()) return undefined;
  return clock.schedule(atMs, () => warn(deadlineAtMs));
}
