/** Names for devices, tokens that cover less than is approved, elevations that end, generations that outlive their device. */
import type { Kysely } from "kysely";
import { sql } from "kysely";

const statements = [
  `alter table devices add column operator_label text`,
  `alter table device_grants add column token_scopes text`,
  `alter table device_grants add column elevated_scopes text`,
  `alter table device_grants add column elevated_until_ms integer`,
  `alter table device_grants add column elevated_seen_ms integer`,
  `create table past_generations (
    device_id text not null, role text not null, generation integer not null, primary key (device_id, role))`,
];

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db);
}
