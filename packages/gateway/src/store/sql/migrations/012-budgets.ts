/** What trees of runs may spend and have spent, and what calls under way may still use of it. */
import type { Kysely } from "kysely";
import { sql } from "kysely";

const statements = [
  `create table budgets (
    budget_id text primary key, parent_id text, max_tokens integer, max_micro_usd integer, max_turns integer,
    spent_tokens integer not null, spent_micro_usd integer not null, spent_turns integer not null,
    held_tokens integer not null, held_micro_usd integer not null, held_turns integer not null)`,
  `create table reservations (
    run_id text primary key, budget_id text not null, tokens integer not null, micro_usd integer not null, turns integer not null)`,
];

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db);
}
