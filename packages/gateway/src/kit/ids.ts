/** Ids: opaque, prefixed by what they name, never paths. */
import { randomUUID, randomUUIDv7 } from "node:crypto";

export interface Ids {
  /** `<prefix>_<time-ordered uuid>`. */
  next(prefix: "run" | "msg" | "inbox" | "audit" | "err"): string;
  uuid(): string;
}

export function createIds(): Ids {
  return { next: (prefix) => `${prefix}_${randomUUIDv7().replaceAll("-", "")}`, uuid: () => randomUUID() };
}
