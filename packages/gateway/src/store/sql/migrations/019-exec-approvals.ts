/** Exec approvals: what was asked, by whom, and how it was decided. */
import type { Kysely } from "kysely";
import { sql } from "kysely";

const statements = [
  `create table exec_approvals (
    approval_id text primary key, requester text not null, reviewers text not null, shown text not null, binding text not null,
    node_id text, state text not null, decision text, decided_by text, decided_at_ms integer, used_at_ms integer,
    created_at_ms integer not null, expires_at_ms integer not null)`,
  `create index exec_approvals_by_state on exec_approvals (state, expires_at_ms)`,
];

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db);
}
