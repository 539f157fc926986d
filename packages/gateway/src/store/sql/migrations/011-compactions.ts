/** Summaries that stand for the older part of a transcript where a model reads it; the messages themselves stay. */
import type { Kysely } from "kysely";
import { sql } from "kysely";

const statements = [
  `create table compactions (
    session_key text not null references sessions(session_key) on delete cascade, through_seq integer not null,
    pinned_seq integer, summary text not null, run_id text, at_ms integer not null, primary key (session_key, through_seq))`,
];

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db);
}
