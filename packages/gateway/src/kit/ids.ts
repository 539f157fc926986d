/** Ids: opaque, prefixed by what they name, never paths. */
import { randomBytes, randomUUID } from "node:crypto";

export interface Ids {
  /** `<prefix>_<time, count, 64 random bits>` in hex: ids of one source sort in the order they were made. */
  next(prefix: "run" | "msg" | "inbox" | "err"): string;
  /** Version 4: nothing can be told from it. */
  uuid(): string;
  /**
   * Version 7 (RFC 9562): time, count, 62 random bits; those of one source sort in the order they were made. For rows that are made
   * one after the other: they lie side by side in every index, where version 4 writes a page of its own for each.
   */
  orderedUuid(): string;
}

/** As many as version 7 counts in a millisecond. */
const mostInOneMs = 0x1000;

/** `now` answers the time in milliseconds. */
export function createIds(now: () => number = Date.now): Ids {
  let timeMs = 0;
  let count = 0;
  const toRandom = pooledRandom();
  const tick = (): void => {
    // The clock may stand still or go back; the order may not.
    const nowMs = now();
    if (nowMs > timeMs) [timeMs, count] = [nowMs, 0];
    else if (count + 1 < mostInOneMs) count += 1;
    else [timeMs, count] = [timeMs + 1, 0];
  };
  return {
    next(prefix) {
      tick();
      return `${prefix}_${toHex(timeMs, 12)}${toHex(count, 5)}${toRandom()}`;
    },
    uuid: () => randomUUID(),
    orderedUuid() {
      tick();
      const time = toHex(timeMs, 12);
      const random = toRandom();
      const variant = (8 + (Number.parseInt(random.charAt(0), 16) & 3)).toString(16);
      return `${time.slice(0, 8)}-${time.slice(8)}-7${toHex(count, 3)}-${variant}${random.slice(1, 4)}-${random.slice(4)}`;
    },
  };
}

function toHex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, "0");
}

/** 64 bits in hex at a time: asking the system for a few bytes costs as much as for many. */
function pooledRandom(): () => string {
  let pool = Buffer.alloc(0);
  let used = 0;
  return () => {
    if (used === pool.length) [pool, used] = [randomBytes(1_024), 0];
    used += 8;
    return pool.toString("hex", used - 8, used);
  };
}
