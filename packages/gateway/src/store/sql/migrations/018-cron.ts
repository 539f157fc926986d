/** Jobs, and what came of each of their times. */
import type { Kysely } from "kysely";
import { sql } from "kysely";

const statements = [
  `create table cron_jobs (
    job_id text primary key, spec text not null, name text not null, agent_id text not null, session_key text, target_key text,
    schedule_kind text not null, enabled integer not null, acts_for text not null, authority text not null,
    created_at_ms integer not null, updated_at_ms integer not null, next_run_at_ms integer, fired integer not null,
    last_seq integer, disabled_reason text)`,
  `create index cron_jobs_due on cron_jobs (next_run_at_ms) where next_run_at_ms is not null`,
  `create index cron_jobs_by_actor on cron_jobs (acts_for, enabled)`,
  `create table cron_fires (
    seq integer primary key, job_id text not null, job_name text not null, agent_id text not null, due_at_ms integer not null,
    at_ms integer not null, kind text not null, run_id text, error text, times integer not null, wants_delivery integer not null)`,
  `create index cron_fires_by_job on cron_fires (job_id, seq)`,
  `create index cron_fires_by_run on cron_fires (run_id) where run_id is not null`,
];

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db);
}
