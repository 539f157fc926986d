/** How long to wait before the next attempt. */
import { setTimeout } from "node:timers/promises";

/** Milliseconds: the first wait, and the longest. */
export interface Backoff {
  readonly minDelayMs: number;
  readonly maxDelayMs: number;
}

/** The wait before attempt number `attempt` (from 0): doubles to the longest; `random` in [0, 1) takes off up to half. Pure. */
export function backoffDelayMs(attempt: number, { minDelayMs, maxDelayMs }: Backoff, random: number): number {
  const full = Math.min(maxDelayMs, minDelayMs * 2 ** Math.min(attempt, 30));
  return full * (1 - random / 2);
}

/** Resolves after `delayMs`, or rejects with the signal's reason when it aborts first. */
export async function pause(delayMs: number, signal: AbortSignal): Promise<void> {
  await setTimeout(delayMs, undefined, { signal }).catch(() => signal.throwIfAborted());
}
