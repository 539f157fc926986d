/** Indexes for what is asked all the time: what can be claimed, what is due, what nobody has read. */
import type { Kysely } from "kysely";
import { sql } from "kysely";

const statements = [
  `create index runs_queued_by_root on runs (root_session_key, created_at_ms, run_id) where status = 'queued' and depth > 0`,
  `create index runs_due on runs (deadline_at_ms) where deadline_at_ms is not null and ended_at_ms is null`,
  `create index runs_counted on runs ("trigger", status)`,
  `create index runs_by_time on runs (session_key, created_at_ms, run_id)`,
  `create index inbox_unread_by_session on inbox (session_key, created_at_ms, inbox_id) where consumed_at_ms is null`,
  `create index inbox_unread_by_run on inbox (parent_run_id) where consumed_at_ms is null`,
  `create index sessions_by_root on sessions (root_key, updated_at_ms)`,
];

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db);
}
