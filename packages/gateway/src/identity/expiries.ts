/**
 * Ends what was granted for a time, and notes the time while anything waits for its end (an elevation, a pairing request, a
 * setup code, a run with a deadline): a gateway that starts with an earlier clock goes on from that note, so that a clock moved back gives no time.
 */
import type { Bus } from "../bus.ts";
import type { Clock } from "../kit/clock.ts";
import { background, type Log } from "../kit/log.ts";
import type { DeviceStore } from "../store/device-store.ts";

/** Between two notes while something waits for its end: as much a clock moved back during a restart can give. */
const noteEveryMs = 60_000;

export interface ExpiryDeps {
  readonly store: DeviceStore;
  readonly clock: Clock;
  readonly log: Log;
  readonly bus: Bus;
}

/** Resolves once everything that ended while no gateway ran is ended. */
export async function startExpiries({ store, clock, log, bus }: ExpiryDeps): Promise<Disposable> {
  let timer: Disposable | undefined;
  let isStopped = false;
  const stop = (): void => {
    timer?.[Symbol.dispose]();
    timer = undefined;
  };
  const sweepIn = (ms: number): void => {
    stop();
    if (!isStopped) timer = clock.schedule(clock.now() + ms, () => background(log, "end what expires", sweep()));
  };
  const sweep = async (): Promise<void> => {
    // Kept when the store cannot be written now: what is over ends by the clock, its row at the next attempt.
    sweepIn(noteEveryMs);
    const { ended, nextInMs } = await store.sweepExpiries(clock.now());
    for (const subject of ended) log.info(subject, "elevation ended");
    if (nextInMs === undefined) stop();
    else sweepIn(Math.min(nextInMs, noteEveryMs));
    if (ended.length > 0) bus.publish("device.pair.changed", {});
  };
  // What was just made says itself when it was made.
  const sweepLater = (): void => (timer === undefined ? sweepIn(noteEveryMs) : undefined);
  await sweep();
  const hearing = new DisposableStack();
  // A new elevation begins with this event.
  hearing.use(bus.subscribe("device.pair.changed", () => background(log, "end what expires", sweep())));
  hearing.use(bus.subscribe("device.pair.requested", sweepLater));
  hearing.use(bus.subscribe("expiry-set", sweepLater));
  return {
    [Symbol.dispose]() {
      isStopped = true;
      hearing.dispose();
      stop();
    },
  };
}
