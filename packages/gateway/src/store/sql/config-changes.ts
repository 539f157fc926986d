/** Changes of the configuration on the record. */
import type { ConfigChangeStore } from "../audit-store.ts";
import { writeAudit } from "./audit.ts";
import type { WriteQueue } from "./write-queue.ts";

/** Named in one row; the count says how many there were. */
const maxPaths = 200;

export function createConfigChangeStore(queue: WriteQueue): ConfigChangeStore {
  return {
    record: ({ by, method, paths, hash }, nowMs) =>
      queue.transact((sql) => {
        const facts = { method, paths: paths.slice(0, maxPaths), changes: paths.length, hash };
        writeAudit(sql, { kind: "config.changed", actor: by, subject: "config", facts }, nowMs);
      }),
  };
}
