/** The usage ledger in SQL. */
import { sql as raw } from "kysely";
import type { JournalEntry } from "../journal.ts";
import type { Cost, UsageStore } from "../usage.ts";
import type { RunTableRow, UsageRow } from "./schema.ts";
import { type Args, row, type Sql, statement } from "./statement.ts";
import type { WriteQueue } from "./write-queue.ts";

/** Every offset from UTC is a multiple of it. */
const slotMs = 900_000;
const dayMs = 86_400_000;

export function createUsageStore(queue: WriteQueue): UsageStore {
  return {
    list: ({ fromMs, toMs, offsetMs, sessionKey, agentId }) =>
      queue.read((sql) => {
        const rows = sql.query((db) =>
          db
            .selectFrom("usage_ledger")
            .select(raw<number>`cast((slot_ms + ${offsetMs}) / ${dayMs} as integer)`.as("day"))
            .select(["session_key", "session_id", "agent_id", "model"])
            .select((build) => sums.map((column) => build.fn.sum<number>(column).as(column)))
            .select((build) => [build.fn.min("slot_ms").as("first"), build.fn.max("slot_ms").as("last")])
            .where("slot_ms", ">=", fromMs)
            .where("slot_ms", "<", toMs)
            .$if(sessionKey !== undefined, (query) => query.where("session_key", "=", sessionKey ?? ""))
            .$if(agentId !== undefined, (query) => query.where("agent_id", "=", agentId ?? ""))
            .groupBy(["day", "session_key", "session_id", "agent_id", "model"])
            .orderBy("day")
            .orderBy("session_key")
            .orderBy("model"),
        );
        return rows.map((one) => ({
          day: one.day,
          sessionKey: one.session_key,
          sessionId: one.session_id,
          agentId: one.agent_id,
          model: one.model,
          calls: one.calls,
          unpricedCalls: one.unpriced_calls,
          input: one.input,
          output: one.output,
          cacheRead: one.cache_read,
          cacheWrite: one.cache_write,
          cost: { input: one.input_cost, output: one.output_cost, cacheRead: one.cache_read_cost, cacheWrite: one.cache_write_cost },
          firstMs: one.first,
          lastMs: one.last,
        }));
      }),
  };
}

/** Who the call was for; a call for no run has no run id. */
type Charged = Pick<RunTableRow, "run_id" | "session_id" | "session_key" | "agent_id" | "model">;

/** Charges the model calls among `entries` to the run and to the ledger. */
export function charge(sql: Sql, run: Charged, entries: readonly JournalEntry[], nowMs: number): void {
  for (const entry of entries) {
    // A provider that fails before it reads anything says nothing of usage.
    if (!("usage" in entry) || entry.usage === undefined) continue;
    const { input, output, cacheRead = 0, cacheWrite = 0 } = entry.usage;
    const cost = entry.cost ?? noCost;
    const unpriced = entry.cost === undefined ? 1 : 0;
    const used = { input, output, cache_read: cacheRead, cache_write: cacheWrite };
    sql.run(chargeRun, { run_id: run.run_id, ...used, cost: totalOf(cost), unpriced });
    sql.run(chargeLedger, {
      slot_ms: nowMs - (nowMs % slotMs),
      session_id: run.session_id,
      session_key: run.session_key,
      agent_id: run.agent_id,
      model: ("model" in entry ? entry.model : undefined) ?? run.model,
      calls: 1,
      unpriced_calls: unpriced,
      ...used,
      input_cost: cost.input,
      output_cost: cost.output,
      cache_read_cost: cost.cacheRead,
      cache_write_cost: cost.cacheWrite,
    });
  }
}

const noCost: Cost = { input: 0, output: 0, cacheRead: 0, cacheWrite: 0 };

function totalOf({ input, output, cacheRead, cacheWrite }: Cost): number {
  return input + output + cacheRead + cacheWrite;
}

const sums = [
  "calls",
  "unpriced_calls",
  "input",
  "output",
  "cache_read",
  "cache_write",
  "input_cost",
  "output_cost",
  "cache_read_cost",
  "cache_write_cost",
] as const satisfies readonly (keyof UsageRow)[];

// ---- statements

interface RunCharge {
  readonly run_id: string;
  readonly input: number;
  readonly output: number;
  readonly cache_read: number;
  readonly cache_write: number;
  readonly cost: number;
  readonly unpriced: number;
}

const chargeRun = statement((db, arg: Args<RunCharge>) =>
  db
    .updateTable("runs")
    .set({
      usage_input: raw<number>`usage_input + ${arg("input")}`,
      usage_output: raw<number>`usage_output + ${arg("output")}`,
      usage_cache_read: raw<number>`usage_cache_read + ${arg("cache_read")}`,
      usage_cache_write: raw<number>`usage_cache_write + ${arg("cache_write")}`,
      cost_micro_usd: raw<number>`cost_micro_usd + ${arg("cost")}`,
      unpriced_calls: raw<number>`unpriced_calls + ${arg("unpriced")}`,
    })
    .where("run_id", "=", arg("run_id")),
);

const chargeLedger = statement((db, arg: Args<UsageRow>) =>
  db
    .insertInto("usage_ledger")
    .values(
      row(arg, {
        slot_ms: true,
        session_id: true,
        session_key: true,
        agent_id: true,
        model: true,
        calls: true,
        unpriced_calls: true,
        input: true,
        output: true,
        cache_read: true,
        cache_write: true,
        input_cost: true,
        output_cost: true,
        cache_read_cost: true,
        cache_write_cost: true,
      }),
    )
    .onConflict((conflict) =>
      conflict
        .columns(["slot_ms", "session_id", "model"])
        .doUpdateSet(
          Object.fromEntries(
            sums.map((column) => [column, raw<number>`${raw.ref(`usage_ledger.${column}`)} + ${raw.ref(`excluded.${column}`)}`]),
          ),
        ),
    ),
);
