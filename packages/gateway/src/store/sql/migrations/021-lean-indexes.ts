/** Indexes in the order of what is asked: one by status with all that a claim asks, lists without a sort; and children's with children alone. */
import type { Kysely } from "kysely";
import { sql } from "kysely";

const statements = [
  `drop index runs_by_status`,
  `drop index runs_queued_by_root`,
  `create index runs_by_status on runs (status, root_session_key, created_at_ms, run_id, depth, lease_until_ms)`,
  `drop index runs_by_parent`,
  `create index runs_by_parent on runs (parent_session_key, status) where parent_session_key is not null`,
  `drop index runs_by_parent_run`,
  `create index runs_by_parent_run on runs (parent_run_id) where parent_run_id is not null`,
  `drop index sessions_by_parent`,
  `create index sessions_by_parent on sessions (parent_key) where parent_key is not null`,
  `drop index sessions_by_update`,
  `create index sessions_by_update on sessions (updated_at_ms desc, session_key)`,
  `drop index sessions_by_root`,
  `create index sessions_by_root on sessions (root_key, updated_at_ms desc, session_key)`,
  `create index sessions_to_delete on sessions (session_key) where cleanup = 'delete'`,
  // `inbox_unread_by_session` finds the same.
  `drop index inbox_unread`,
];

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db);
}
