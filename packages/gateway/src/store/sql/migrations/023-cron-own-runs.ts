/** Which run the only time of a job has started, apart from those that somebody started by hand. */
import type { Kysely } from "kysely";
import { sql } from "kysely";

const statements = [
  `alter table cron_jobs add column own_run_id text`,
  // Whoever starts a job by hand does it at the moment that is written down as due. What may be either removes no job.
  `update cron_jobs set own_run_id = (
    select run_id from cron_fires where seq = last_seq and kind = 'run' and due_at_ms < at_ms) where schedule_kind = 'at'`,
];

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db);
}
