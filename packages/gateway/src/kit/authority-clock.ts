/**
 * The time by which authority ends. It follows the machine's clock and never goes back: when that one is moved back, time
 * goes on from where it was, so that nothing that has ended begins again and nothing lasts longer than it was meant to.
 */
import type { SteadyClock } from "./clock.ts";

/** `floorMs`: the newest time that was ever noted; a process that starts with an earlier clock goes on from there. */
export function createAuthorityClock(clock: SteadyClock, floorMs: number): SteadyClock {
  let newest = { atMs: Math.max(clock.now(), floorMs), elapsedMs: clock.elapsedMs() };
  const now = (): number => {
    const elapsedMs = clock.elapsedMs();
    newest = { atMs: Math.max(clock.now(), newest.atMs + elapsedMs - newest.elapsedMs), elapsedMs };
    return Math.trunc(newest.atMs);
  };
  return { now, elapsedMs: () => clock.elapsedMs(), schedule: (atMs, task) => clock.schedule(clock.now() + atMs - now(), task) };
}
