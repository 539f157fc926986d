/** Processes that runs have started. */
import type { Kysely } from "kysely";
import { sql } from "kysely";

export async function up(db: Kysely<unknown>): Promise<void> {
  await sql.raw(`create table run_processes (pid integer primary key, started_at text, run_id text not null)`).execute(db);
}
