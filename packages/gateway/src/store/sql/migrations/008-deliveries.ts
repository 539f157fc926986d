/** What people decide about results, and the orders in which runs are listed. */
import type { Kysely } from "kysely";
import { sql } from "kysely";

const statements = [
  `alter table inbox add column closed_as text`,
  `alter table inbox add column closed_by text`,
  `create index runs_newest on runs (created_at_ms, run_id)`,
  `create index runs_newest_of_tree on runs (root_session_key, created_at_ms, run_id)`,
];

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db);
}
