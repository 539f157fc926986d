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
  return {
    next(prefix) {
      // The clock may stand still or go back; the order may not.
      const nowMs = Math.max(Date.now(), lastMs);
      count = nowMs === lastMs ? count + 1 : 0;
      lastMs = nowMs;
      return `${prefix}_${nowMs.toString(16).padStart(12, "0")}${count.toString(16).padStart(5, "0")}${randomBytes(8).toString("hex")}`;
    },
    uuid: () => randomUUID(),
  };
}
