/** Refusals, counted: one row for each principal, method and rule in a minute. */
import type { Kysely } from "kysely";
import { sql } from "kysely";

const statements = [
  `create table refusals (
    minute_ms integer not null, principal text not null, method text not null, "rule" text not null, count integer not null,
    primary key (minute_ms, principal, method, "rule"))`,
  `create index audit_by_subject on audit (subject, seq)`,
];

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db);
}
