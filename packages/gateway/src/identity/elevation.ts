/**
 * Ends what was granted for a time. Sockets end by a timer of their own; this ends it in the store, and notes now and then
 * that it still lasts, so that a clock that is moved back gives no time back.
 */
import type { Bus } from "../bus.ts";
import type { Clock } from "../kit/clock.ts";
import { background, type Log } from "../kit/log.ts";
import type { DeviceStore } from "../store/store.ts";

/** Between two notes that an elevation still lasts: as much a clock moved back during a restart can give. */
const noteEveryMs = 60_000;

export interface ElevationDeps {
  readonly store: DeviceStore;
  readonly clock: Clock;
  readonly log: Log;
  readonly bus: Bus;
}

/** Resolves once everything that ended while no gateway ran is ended. */
export async function startElevations({ store, clock, log, bus }: ElevationDeps): Promise<Disposable> {
  let timer: Disposable | undefined;
  let isStopped = false;
  const sweepIn = (ms: number): void => {
    timer?.[Symbol.dispose]();
    if (!isStopped) timer = clock.schedule(clock.now() + ms, () => background(log, "end elevations", sweep()));
  };
  const sweep = async (): Promise<void> => {
    // Kept when the store cannot be written now: what is over ends by the clock, its row at the next attempt.
    sweepIn(noteEveryMs);
    const { ended, nextInMs } = await store.sweepElevations(clock.now());
    for (const subject of ended) log.info(subject, "elevation ended");
    if (nextInMs === undefined) timer?.[Symbol.dispose]();
    else sweepIn(Math.min(nextInMs, noteEveryMs));
    if (ended.length > 0) bus.publish("device.pair.changed", {});
  };
  await sweep();
  // A new one begins with this event.
  const hearing = bus.subscribe("device.pair.changed", () => background(log, "end elevations", sweep()));
  return {
    [Symbol.dispose]() {
      isStopped = true;
      hearing[Symbol.dispose]();
      timer?.[Symbol.dispose]();
    },
  };
}
