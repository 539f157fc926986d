/** A call is also reserved in what its agent may use that day. */
import type { Kysely } from "kysely";
import { sql } from "kysely";

export async function up(db: Kysely<unknown>): Promise<void> {
  await sql.raw(`alter table reservations add column day_id text`).execute(db);
}
