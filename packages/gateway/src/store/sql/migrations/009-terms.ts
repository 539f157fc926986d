/** What a run was started with, and what its session stays limited to. */
import type { Kysely } from "kysely";
import { sql } from "kysely";

const statements = [`alter table runs add column terms text`, `alter table sessions add column terms text`];

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db);
}
