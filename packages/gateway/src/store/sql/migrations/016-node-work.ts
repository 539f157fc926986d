/** Commands that were sent to nodes, by the keys of their callers, and what waits for nodes. */
import type { Kysely } from "kysely";
import { sql } from "kysely";

const statements = [
  `create table node_invocations (
    principal text not null, idempotency_key text not null, fingerprint text not null, created_at_ms integer not null,
    primary key (principal, idempotency_key))`,
  `create index node_invocations_by_age on node_invocations (created_at_ms)`,
  `alter table nodes add column work_revision integer not null default 0`,
  `create table node_work (
    node_id text not null, type text not null, work_id text not null, is_urgent integer not null,
    created_at_ms integer not null, expires_at_ms integer not null, primary key (node_id, type))`,
];

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db);
}
