/** What model calls used and cost, by quarter of an hour, session and model; it outlives sessions. */
import type { Kysely } from "kysely";
import { sql } from "kysely";

const statements = [
  `create table usage_ledger (
    slot_ms integer not null, session_id text not null, session_key text not null, agent_id text not null, model text not null,
    calls integer not null, unpriced_calls integer not null, input integer not null, output integer not null,
    cache_read integer not null, cache_write integer not null, input_cost integer not null, output_cost integer not null,
    cache_read_cost integer not null, cache_write_cost integer not null, primary key (slot_ms, session_id, model))`,
  `create index usage_by_session on usage_ledger (session_key, slot_ms)`,
  `alter table runs add column usage_cache_read integer not null default 0`,
  `alter table runs add column usage_cache_write integer not null default 0`,
  `alter table runs add column cost_micro_usd integer not null default 0`,
  `alter table runs add column unpriced_calls integer not null default 0`,
];

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db);
}
