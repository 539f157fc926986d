/** Setup codes, by the hash of their token; and the words shown for a pairing request. */
import type { Kysely } from "kysely";
import { sql } from "kysely";

const statements = [
  `create table setup_codes (
    setup_id text primary key, token_hash text not null unique, role text not null, scopes text not null,
    access text not null, issued_by text not null, created_at_ms integer not null, expires_at_ms integer not null,
    bound_key text, used_at_ms integer, device_id text, device_name text)`,
  `alter table pairing_requests add column words text`,
];

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db);
}
