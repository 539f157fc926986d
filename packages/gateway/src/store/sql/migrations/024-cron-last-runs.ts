/** The newest run of a job, apart from the times that were skipped since. */
import type { Kysely } from "kysely";
import { sql } from "kysely";

const statements = [
  `alter table cron_jobs add column last_run_seq integer`,
  `update cron_jobs set last_run_seq = (
    select max(seq) from cron_fires where cron_fires.job_id = cron_jobs.job_id and kind = 'run')`,
];

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db);
}
