/** The few statements about session rows that several files share. */
import type { SessionTableRow } from "./schema.ts";
import { type Args, type Sql, statement } from "./statement.ts";

/** Statuses of a run that has not ended. */
export const openStatuses = ["queued", "running", "waiting"] as const;

export function findSession(sql: Sql, key: string): SessionTableRow | undefined {
  return sql.first(byKey, { key });
}

/** Marks the session as changed, and as not archived when it is worked in again. */
export function touchSession(sql: Sql, key: string, nowMs: number, options: { readonly unarchive: boolean } = { unarchive: false }): void {
  sql.run(options.unarchive ? touchAndUnarchive : touch, { key, nowMs });
}

const byKey = statement((db, arg: Args<{ key: string }>) => db.selectFrom("sessions").selectAll().where("session_key", "=", arg("key")));

const touch = statement((db, arg: Args<{ key: string; nowMs: number }>) =>
  db
    .updateTable("sessions")
    .set({ updated_at_ms: arg("nowMs") })
    .where("session_key", "=", arg("key"))
    // Not again in the same moment: two indexes would be written anew.
    .where("updated_at_ms", "<", arg("nowMs")),
);

const touchAndUnarchive = statement((db, arg: Args<{ key: string; nowMs: number }>) =>
  db
    .updateTable("sessions")
    .set({ updated_at_ms: arg("nowMs"), archived_at_ms: null })
    .where("session_key", "=", arg("key")),
);
