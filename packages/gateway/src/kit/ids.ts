/** Ids: opaque, prefixed by what they name, never paths. */
import { randomBytes, randomUUID } from "node:crypto";

export interface Ids {
  /** `<prefix>_<time, count, 64 random bits>` in hex: ids of one source sort in the order they were made. */
  next(prefix: "run" | "msg" | "inbox" | "err"): string;
  uuid(): string;
}

export function createIds(): Ids {
  let lastMs = 0;
  let count = 0;
  const toRandom = pooledRandom();
  return {
    next(prefix) {
      // The clock may stand still or go back; the order may not.
      const nowMs = Math.max(Date.now(), lastMs);
      count = nowMs === lastMs ? count + 1 : 0;
      lastMs = nowMs;
      return `${prefix}_${nowMs.toString(16).padStart(12, "0")}${count.toString(16).padStart(5, "0")}${toRandom()}`;
    },
    uuid: () => randomUUID(),
  };
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
