/** Failed attempts in SQL. */
import { type AttemptKey, type AttemptRule, type AttemptStore, longestLockMs } from "../attempt-store.ts";
import type { FailedAttemptRow } from "./schema.ts";
import { type Args, row, type Sql, statement } from "./statement.ts";
import type { WriteQueue } from "./write-queue.ts";

/** Rows in all. Beyond it the oldest goes that is not locked: whoever has that many addresses has as many guesses anyway. */
const maxRows = 4_096;

export function createAttemptStore(queue: WriteQueue): AttemptStore {
  return {
    fail: (key, rule, nowMs) =>
      queue.transact((sql) => {
        const found = sql.first(findRow, key);
        const untilMs = lockedUntil(found, rule, nowMs);
        if (untilMs !== undefined) return { kind: "locked", untilMs };
        const recent = [...recentFailures(found, rule, nowMs), nowMs];
        const isLocked = rule.lockMs > 0 && recent.length >= rule.maxFailures;
        const hasRoom = found !== undefined || makeRoom(sql, nowMs);
        if (!hasRoom && rule.lockMs > 0) return { kind: "locked", untilMs: nowMs + rule.windowMs };
        sql.run(putRow, {
          ...key,
          failed_at_ms: JSON.stringify(recent.slice(-rule.maxFailures)),
          locked_at_ms: isLocked ? nowMs : null,
          touched_at_ms: nowMs,
        });
        return { kind: "counted", failures: recent.length };
      }),

    async pass(key, rule, nowMs) {
      // Where nothing locks there is only something to forget. A lock must be seen in the order of the guesses before it.
      if (rule.lockMs === 0 && (await queue.read((sql) => sql.first(findRow, key))) === undefined) return { kind: "open" };
      return await queue.transact((sql) => {
        const untilMs = lockedUntil(sql.first(findRow, key), rule, nowMs);
        if (untilMs !== undefined) return { kind: "locked", untilMs };
        sql.run(deleteRow, key);
        return { kind: "open" };
      });
    },

    count: () => queue.read(countAll),
  };
}

/** A clock that was set back ends a lock that it would have made longer than twice its length. */
function lockedUntil(found: FailedAttemptRow | undefined, { lockMs }: AttemptRule, nowMs: number): number | undefined {
  const lockedAtMs = found?.locked_at_ms ?? undefined;
  return lockedAtMs !== undefined && Math.abs(nowMs - lockedAtMs) < lockMs ? lockedAtMs + lockMs : undefined;
}

function recentFailures(found: FailedAttemptRow | undefined, { windowMs }: AttemptRule, nowMs: number): readonly number[] {
  const times: unknown = JSON.parse(found?.failed_at_ms ?? "[]");
  return Array.isArray(times) ? times.filter((at) => typeof at === "number" && Math.abs(nowMs - at) < windowMs) : [];
}

/** Answers whether there is any. */
function makeRoom(sql: Sql, nowMs: number): boolean {
  const excess = countAll(sql) - maxRows + 1;
  if (excess <= 0) return true;
  const times = { fromMs: nowMs - longestLockMs, untilMs: nowMs + longestLockMs };
  const oldest = sql.all(listOldest, { limit: excess, ...times });
  for (const one of oldest) sql.run(deleteRow, one);
  return oldest.length === excess;
}

function countAll(sql: Sql): number {
  return sql.first(countRows, {})?.n ?? 0;
}

const findRow = statement((db, arg: Args<AttemptKey>) =>
  db.selectFrom("failed_attempts").selectAll().where("kind", "=", arg("kind")).where("peer", "=", arg("peer")),
);

const putRow = statement((db, arg: Args<FailedAttemptRow>) => {
  const values = row(arg, { kind: true, peer: true, failed_at_ms: true, locked_at_ms: true, touched_at_ms: true });
  return db
    .insertInto("failed_attempts")
    .values(values)
    .onConflict((conflict) => conflict.columns(["kind", "peer"]).doUpdateSet(values));
});

const deleteRow = statement((db, arg: Args<AttemptKey>) =>
  db.deleteFrom("failed_attempts").where("kind", "=", arg("kind")).where("peer", "=", arg("peer")),
);

/** Of those that were not locked between the two times. */
const listOldest = statement((db, arg: Args<{ readonly limit: number; readonly fromMs: number; readonly untilMs: number }>) =>
  db
    .selectFrom("failed_attempts")
    .select(["kind", "peer"])
    .where((is) =>
      is.or([is("locked_at_ms", "is", null), is("locked_at_ms", "<=", arg("fromMs")), is("locked_at_ms", ">=", arg("untilMs"))]),
    )
    .orderBy("touched_at_ms")
    .limit(arg("limit")),
);

const countRows = statement((db, _arg: Args<object>) =>
  db.selectFrom("failed_attempts").select((one) => one.fn.countAll<number>().as("n")),
);
