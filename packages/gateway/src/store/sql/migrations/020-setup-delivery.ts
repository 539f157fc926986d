/** Whether a device that a setup code paired was heard since. */
import type { Kysely } from "kysely";
import { sql } from "kysely";

const statements = [
  `alter table setup_codes add column heard_at_ms integer`,
  // Nobody asked before: no doubt is made up afterwards.
  `update setup_codes set heard_at_ms = used_at_ms where used_at_ms is not null`,
];

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db);
}
