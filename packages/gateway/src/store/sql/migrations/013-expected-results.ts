/** Children whose result nobody waits for. */
import type { Kysely } from "kysely";
import { sql } from "kysely";

const statements = [`alter table runs add column expects_completion integer not null default 1`];

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db);
}
