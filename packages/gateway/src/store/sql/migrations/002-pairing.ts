/** Names for devices, tokens that cover less than is approved, elevations that end, generations that outlive their device, nodes. */
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
  `create table nodes (
    node_id text primary key, declaration text not null, created_at_ms integer not null, approved_at_ms integer not null)`,
  `create table node_requests (
    node_id text primary key, request_id text not null unique, declaration text not null, created_at_ms integer not null)`,
];

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db);
}
