/** Messages that start no turn and that no turn has read. */
import type { Kysely } from "kysely";
import { sql } from "kysely";

const statements = [
  `create table notes (run_id text primary key, session_key text not null references sessions(session_key) on delete cascade)`,
  `create index notes_by_session on notes (session_key)`,
];

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db);
}
