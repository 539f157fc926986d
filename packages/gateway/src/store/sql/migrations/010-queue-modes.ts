/** What becomes of a message for a busy session, and how often a run's worker has died. */
import type { Kysely } from "kysely";
import { sql } from "kysely";

const statements = [
  `alter table runs add column queue_mode text not null default 'followup'`,
  `alter table runs add column absorbed_by text`,
  `alter table runs add column takeovers integer not null default 0`,
];

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db);
}
