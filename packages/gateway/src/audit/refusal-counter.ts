/**
 * Counts refusals and writes them down some seconds later, so that nobody who is refused, or refuses, waits for a disk.
 * Noise is bounded: so many different rows a minute, then one `other` row a rule; and so many days and rows on disk.
 */
import type { CountRefusal, Refusal } from "../dispatch/types.ts";
import type { Clock } from "../kit/clock.ts";
import { background, type Log } from "../kit/log.ts";
import type { RefusalCount, RefusalStore } from "../store/audit-store.ts";

export interface RefusalCounter extends AsyncDisposable {
  readonly count: CountRefusal;
  /** Writes what was counted so far. Never rejects: what cannot be written is said in the log and forgotten. */
  flush(): Promise<void>;
}

export interface RefusalCounterDeps {
  readonly store: Pick<RefusalStore, "add">;
  readonly clock: Clock;
  readonly log: Log;
}

const minuteMs = 60_000;
export const flushAfterMs = 5_000;
export const rowsPerMinute = 64;
export const keptDays = 30;
export const keptRows = 50_000;
const longestName = 256;

export function createRefusalCounter(deps: RefusalCounterDeps): RefusalCounter {
  const counts = new MinuteCounts();
  let timer: Disposable | undefined;
  const flush = async (): Promise<void> => {
    timer?.[Symbol.dispose]();
    timer = undefined;
    const batch = counts.take();
    if (batch.length === 0) return;
    try {
      await deps.store.add(batch, { sinceMs: deps.clock.now() - keptDays * 86_400_000, rows: keptRows });
    } catch (error) {
      const lost = batch.reduce((sum, { count }) => sum + count, 0);
      deps.log.error({ err: error, lost }, "refusals could not be written down; they were refused all the same");
    }
  };
  return {
    count(refusal) {
      const nowMs = deps.clock.now();
      counts.add(refusal, nowMs - (nowMs % minuteMs));
      timer ??= deps.clock.schedule(nowMs + flushAfterMs, () => background(deps.log, "write refusals", flush()));
    },
    flush,
    [Symbol.asyncDispose]: flush,
  };
}

/** The counts of the minute at hand, and those of the one before that are not taken yet. */
class MinuteCounts {
  #minuteMs = 0;
  /** Of this minute, also those that were taken already: a flush does not open the door for more. */
  #known = new Set<string>();
  #pending = new Map<string, RefusalCount>();

  add(refusal: Refusal, minute: number): void {
    // A clock that goes back stays in the minute it was in: else each step would allow the minute's rows afresh.
    if (minute > this.#minuteMs) {
      this.#minuteMs = minute;
      this.#known = new Set();
    }
    const asked = shorten(refusal);
    const isOther = !this.#known.has(keyOf(asked)) && this.#known.size >= rowsPerMinute;
    const row = isOther ? { principal: "other", method: "other", rule: asked.rule } : asked;
    if (!isOther) this.#known.add(keyOf(asked));
    const key = `${this.#minuteMs} ${keyOf(row)}`;
    this.#pending.set(key, { ...row, minuteMs: this.#minuteMs, count: (this.#pending.get(key)?.count ?? 0) + 1 });
  }

  take(): readonly RefusalCount[] {
    const taken = [...this.#pending.values()];
    this.#pending = new Map();
    return taken;
  }
}

function keyOf({ principal, method, rule }: Refusal): string {
  return JSON.stringify([principal, method, rule]);
}

function shorten({ principal, method, rule }: Refusal): Refusal {
  return { principal: principal.slice(0, longestName), method: method.slice(0, longestName), rule: rule.slice(0, longestName) };
}
