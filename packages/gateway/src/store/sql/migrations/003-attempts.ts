/** Failed attempts to authenticate, a row for each kind of credential and peer. */
import type { Kysely } from "kysely";
import { sql } from "kysely";

const statements = [
  `create table failed_attempts (
    kind text not null, peer text not null, failed_at_ms text not null, locked_at_ms integer, touched_at_ms integer not null,
    primary key (kind, peer))`,
  `create index failed_attempts_by_age on failed_attempts (touched_at_ms)`,
];

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db);
}
