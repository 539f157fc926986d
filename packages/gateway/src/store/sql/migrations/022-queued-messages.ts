/** What is queued is found by what it waits for: children by their conversation, everything else by its session. */
import type { Kysely } from "kysely";
import { sql } from "kysely";

const statements = [
  `drop index runs_by_status`,
  `create index runs_by_status on runs (status, "trigger", root_session_key, created_at_ms, run_id, depth, lease_until_ms)`,
  `create index runs_queued_in_session on runs (status, session_key, depth, created_at_ms, run_id) where status = 'queued' and "trigger" != 'spawn'`,
];

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db);
}
