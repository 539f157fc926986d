/** Budgets in SQL: one row a budget, one reservation a claimed run; whole tokens and millionths of a dollar. */
import { sql as raw } from "kysely";
import type { Ids } from "../../kit/ids.ts";
import type { Bound, Budget } from "../../principal/lattice.ts";
import type { BudgetLeft, BudgetStore, CallEstimate, DayBudget, Reservation } from "../budgets.ts";
import type { JournalEntry } from "../journal.ts";
import { findHeld, findRun } from "./run-rows.ts";
import type { BudgetRow, ReservationRow } from "./schema.ts";
import { type Args, row, type Sql, statement } from "./statement.ts";
import { readTerms } from "./terms.ts";
import type { WriteQueue } from "./write-queue.ts";

export function createBudgetStore(queue: WriteQueue): BudgetStore {
  return {
    reserve: (run, call, day) => queue.transact((sql) => reserve(sql, run, call, day)),
    reserveOfDay: (id, call, day) => queue.transact((sql) => reserveOfDay(sql, id, call, day)),
    release: (id) => queue.transact((sql) => settle(sql, id)),
    left: (runId) => queue.read((sql) => budgetLeftOf(sql, runId)),
  };
}

/** What is left of the run's budget and of all above it. */
export function budgetLeftOf(sql: Sql, runId: string): BudgetLeft | undefined {
  const run = findRun(sql, runId);
  const chain = run === undefined ? [] : chainOf(sql, readTerms(run.terms).budgetId);
  return chain.length === 0 ? undefined : leftIn(chain);
}

/** A budget below `parentId`, or none where nothing is limited. Answers the id that the run spends from. */
export function insertBudget(sql: Sql, ids: Ids, budget: Budget, parentId: string | undefined): string | undefined {
  const caps = { max_tokens: toCap(budget.tokens), max_micro_usd: toCap(budget.usd, 1_000_000), max_turns: toCap(budget.turns) };
  if (Object.values(caps).every((cap) => cap === null)) return parentId;
  const budget_id = `budget_${ids.orderedUuid()}`;
  sql.run(insertRow, { budget_id, parent_id: parentId ?? null, ...caps, ...unspent });
  return budget_id;
}

const unspent = { spent_tokens: 0, spent_micro_usd: 0, spent_turns: 0, held_tokens: 0, held_micro_usd: 0, held_turns: 0 };

type CallEnd = Extract<JournalEntry, { kind: "reply" | "model-error" | "compacted" | "compaction-failed" }>;

/** Whether with `entry` a call of a model is over. */
export function endsCall(entry: JournalEntry): entry is CallEnd {
  const { kind } = entry;
  return kind === "reply" || kind === "model-error" || kind === "compacted" || kind === "compaction-failed";
}

/** Ends the reservation of a run, or of a call of no run; what the call used, if it ended, is spent. */
export function settle(sql: Sql, runId: string, entries: readonly JournalEntry[] = []): void {
  const held = sql.first(reservationOf, { runId });
  if (held === undefined) return;
  const used = { tokens: 0, microUsd: 0, turns: 0 };
  for (const entry of entries) {
    if (!endsCall(entry)) continue;
    const { input = 0, output = 0, cacheRead = 0, cacheWrite = 0 } = entry.cost ?? {};
    used.tokens += entry.usage?.totalTokens ?? 0;
    used.microUsd += input + output + cacheRead + cacheWrite;
    used.turns += entry.kind === "reply" || entry.kind === "compacted" ? 1 : 0;
  }
  for (const { budget_id } of [...chainOf(sql, held.budget_id), ...chainOf(sql, held.day_id ?? undefined)]) {
    sql.run(spend, { budgetId: budget_id, ...used, heldTokens: held.tokens, heldMicroUsd: held.micro_usd, heldTurns: held.turns });
  }
  sql.run(deleteReservation, { runId });
}

/** Ends every reservation: of a process that is gone, no call is under way. */
export function releaseReservations(sql: Sql): void {
  sql.run(deleteReservations, {});
  sql.run(holdNothing, {});
}

function reserve(
  sql: Sql,
  { runId, epoch }: { readonly runId: string; readonly epoch: number },
  call: CallEstimate,
  day: DayBudget | undefined,
): Reservation {
  const run = findHeld(sql, runId, epoch);
  if (run === undefined) return { kind: "lost" };
  settle(sql, runId);
  const ofDay = day === undefined ? [] : [putDay(sql, day)];
  return holdFor(sql, runId, call, { above: chainOf(sql, readTerms(run.terms).budgetId), ofDay });
}

function reserveOfDay(sql: Sql, id: string, call: CallEstimate, day: DayBudget): Held {
  settle(sql, id);
  return holdFor(sql, id, call, { above: [], ofDay: [putDay(sql, day)] });
}

type Held = Exclude<Reservation, { kind: "lost" }>;

function holdFor(
  sql: Sql,
  id: string,
  call: CallEstimate,
  { above, ofDay }: { readonly above: readonly BudgetRow[]; readonly ofDay: readonly BudgetRow[] },
): Held {
  const chain = [...above, ...ofDay];
  const [own] = chain;
  if (own === undefined) return { kind: "unlimited" };

  const left = leftIn(chain);
  const exceeded = (dimension: keyof BudgetLeft, needed: number): Held => {
    const isDay = (leftIn(ofDay)[dimension] ?? Infinity) < needed;
    return { kind: "exceeded", dimension, needed, left, isDay };
  };
  const { input, leastOutput, mostOutput, price } = call;
  if ((left.turns ?? 1) < 1) return exceeded("turns", 1);
  if (left.tokens !== undefined && left.tokens < input + leastOutput) return exceeded("tokens", input + leastOutput);
  const leftMicroUsd = left.usd === undefined ? Infinity : Math.round(left.usd * 1_000_000);
  const leastMicroUsd = price === undefined ? Infinity : input * price.input + leastOutput * price.output;
  if (left.usd !== undefined && leftMicroUsd < leastMicroUsd) return exceeded("usd", leastMicroUsd / 1_000_000);

  const byMoney =
    left.usd === undefined || price === undefined || price.output === 0 ? Infinity : (leftMicroUsd - input * price.input) / price.output;
  const affordable = Math.floor(Math.min((left.tokens ?? Infinity) - input, byMoney));
  const output = Math.min(mostOutput, affordable);
  const microUsd = price === undefined ? 0 : Math.ceil(input * price.input + output * price.output);
  const held = { tokens: input + output, micro_usd: microUsd, turns: 1 };
  const [day] = ofDay;
  const day_id = day === undefined || day === own ? null : day.budget_id;
  sql.run(insertReservation, { run_id: id, budget_id: own.budget_id, day_id, ...held });
  for (const { budget_id } of chain) sql.run(hold, { budgetId: budget_id, tokens: input + output, microUsd, turns: 1 });
  const isFree = left.tokens === undefined && left.usd === undefined;
  return { kind: "reserved", maxOutput: isFree ? undefined : output, isAll: affordable <= mostOutput };
}

/** The row of the day, with the bounds that are configured now. */
function putDay(sql: Sql, { id, most }: DayBudget): BudgetRow {
  const caps = { max_tokens: most.tokens ?? null, max_micro_usd: toMicro(most.usd), max_turns: most.turns ?? null };
  const known = sql.first(byId, { id });
  if (known === undefined) sql.run(insertRow, { budget_id: id, parent_id: null, ...caps, ...unspent });
  else sql.run(setCaps, { id, ...caps });
  return { budget_id: id, parent_id: null, ...unspent, ...known, ...caps };
}

function toMicro(usd: number | undefined): number | null {
  return usd === undefined ? null : Math.floor(usd * 1_000_000);
}

/** The budget and all above it. */
function chainOf(sql: Sql, budgetId: string | undefined): readonly BudgetRow[] {
  const chain: BudgetRow[] = [];
  for (let id = budgetId ?? null; id !== null;) {
    const found: BudgetRow | undefined = sql.first(byId, { id });
    if (found === undefined) throw new Error(`there is no budget ${id}`);
    chain.push(found);
    id = found.parent_id;
  }
  return chain;
}

function leftIn(chain: readonly BudgetRow[]): BudgetLeft {
  const least = (lefts: readonly (number | undefined)[]): number | undefined => {
    const limited = lefts.filter((one) => one !== undefined);
    return limited.length === 0 ? undefined : Math.max(0, Math.min(...limited));
  };
  const tokens = least(chain.map((one) => (one.max_tokens === null ? undefined : one.max_tokens - one.spent_tokens - one.held_tokens)));
  const micro = least(
    chain.map((one) => (one.max_micro_usd === null ? undefined : one.max_micro_usd - one.spent_micro_usd - one.held_micro_usd)),
  );
  const turns = least(chain.map((one) => (one.max_turns === null ? undefined : one.max_turns - one.spent_turns - one.held_turns)));
  return {
    ...(tokens === undefined ? {} : { tokens }),
    ...(micro === undefined ? {} : { usd: micro / 1_000_000 }),
    ...(turns === undefined ? {} : { turns }),
  };
}

function toCap(bound: Bound, factor = 1): number | null {
  return bound === "unlimited" ? null : Math.floor(bound * factor);
}

// ---- statements

const byId = statement((db, arg: Args<{ id: string }>) => db.selectFrom("budgets").selectAll().where("budget_id", "=", arg("id")));

const reservationOf = statement((db, arg: Args<{ runId: string }>) =>
  db.selectFrom("reservations").selectAll().where("run_id", "=", arg("runId")),
);

const insertRow = statement((db, arg: Args<BudgetRow>) =>
  db.insertInto("budgets").values(
    row(arg, {
      budget_id: true,
      parent_id: true,
      max_tokens: true,
      max_micro_usd: true,
      max_turns: true,
      spent_tokens: true,
      spent_micro_usd: true,
      spent_turns: true,
      held_tokens: true,
      held_micro_usd: true,
      held_turns: true,
    }),
  ),
);

const setCaps = statement((db, arg: Args<{ id: string } & Pick<BudgetRow, "max_tokens" | "max_micro_usd" | "max_turns">>) =>
  db
    .updateTable("budgets")
    .set({ max_tokens: arg("max_tokens"), max_micro_usd: arg("max_micro_usd"), max_turns: arg("max_turns") })
    .where("budget_id", "=", arg("id")),
);

const insertReservation = statement((db, arg: Args<ReservationRow>) =>
  db
    .insertInto("reservations")
    .values(row(arg, { run_id: true, budget_id: true, tokens: true, micro_usd: true, turns: true, day_id: true })),
);

const hold = statement((db, arg: Args<{ budgetId: string; tokens: number; microUsd: number; turns: number }>) =>
  db
    .updateTable("budgets")
    .set({
      held_tokens: raw<number>`held_tokens + ${arg("tokens")}`,
      held_micro_usd: raw<number>`held_micro_usd + ${arg("microUsd")}`,
      held_turns: raw<number>`held_turns + ${arg("turns")}`,
    })
    .where("budget_id", "=", arg("budgetId")),
);

interface Spending {
  readonly budgetId: string;
  readonly tokens: number;
  readonly microUsd: number;
  readonly turns: number;
  readonly heldTokens: number;
  readonly heldMicroUsd: number;
  readonly heldTurns: number;
}

const spend = statement((db, arg: Args<Spending>) =>
  db
    .updateTable("budgets")
    .set({
      spent_tokens: raw<number>`spent_tokens + ${arg("tokens")}`,
      spent_micro_usd: raw<number>`spent_micro_usd + ${arg("microUsd")}`,
      spent_turns: raw<number>`spent_turns + ${arg("turns")}`,
      held_tokens: raw<number>`held_tokens - ${arg("heldTokens")}`,
      held_micro_usd: raw<number>`held_micro_usd - ${arg("heldMicroUsd")}`,
      held_turns: raw<number>`held_turns - ${arg("heldTurns")}`,
    })
    .where("budget_id", "=", arg("budgetId")),
);

const deleteReservation = statement((db, arg: Args<{ runId: string }>) => db.deleteFrom("reservations").where("run_id", "=", arg("runId")));

const deleteReservations = statement((db, _arg: Args<object>) => db.deleteFrom("reservations"));

const holdNothing = statement((db, _arg: Args<object>) =>
  db.updateTable("budgets").set({ held_tokens: 0, held_micro_usd: 0, held_turns: 0 }),
);
