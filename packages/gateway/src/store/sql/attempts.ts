/** Failed attempts in SQL. */
import type { Kysely } from "kysely";
import type { AttemptKey, AttemptRule, AttemptStore } from "../attempt-store.ts";
import type { Database, FailedAttemptRow } from "./schema.ts";
import type { WriteQueue } from "./write-queue.ts";

/** Rows in all. Beyond it the oldest goes: whoever has that many addresses has as many guesses anyway. */
const maxRows = 4_096;

export function createAttemptStore(db: Kysely<Database>, queue: WriteQueue): AttemptStore {
  return {
    fail: (key, rule, nowMs) =>
      queue.write(async (tx) => {
        const row = await find(tx, key);
        const untilMs = lockedUntil(row, rule, nowMs);
        if (untilMs !== undefined) return { kind: "locked", untilMs };
        const recent = [...recentFailures(row, rule, nowMs), nowMs];
        const isLocked = rule.lockMs > 0 && recent.length >= rule.maxFailures;
        if (row === undefined) await makeRoom(tx);
        const values = {
          failed_at_ms: JSON.stringify(recent.slice(-rule.maxFailures)),
          locked_at_ms: isLocked ? nowMs : null,
          touched_at_ms: nowMs,
        };
        await tx
          .insertInto("failed_attempts")
          .values({ ...key, ...values })
          .onConflict((conflict) => conflict.columns(["kind", "peer"]).doUpdateSet(values))
          .execute();
        return { kind: "counted", failures: recent.length };
      }),

    async pass(key, rule, nowMs) {
      // Where nothing locks there is only something to forget. A lock must be seen in the order of the guesses before it.
      if (rule.lockMs === 0 && (await find(db, key)) === undefined) return { kind: "open" };
      return await queue.write(async (tx) => {
        const row = await find(tx, key);
        const untilMs = lockedUntil(row, rule, nowMs);
        if (untilMs !== undefined) return { kind: "locked", untilMs };
        if (row !== undefined) await tx.deleteFrom("failed_attempts").where("kind", "=", key.kind).where("peer", "=", key.peer).execute();
        return { kind: "open" };
      });
    },

    async count() {
      const { rows } = await db
        .selectFrom("failed_attempts")
        .select((one) => one.fn.countAll<number>().as("rows"))
        .executeTakeFirstOrThrow();
      return rows;
    },
  };
}

function find(tx: Kysely<Database>, { kind, peer }: AttemptKey): Promise<FailedAttemptRow | undefined> {
  return tx.selectFrom("failed_attempts").selectAll().where("kind", "=", kind).where("peer", "=", peer).executeTakeFirst();
}

/** A clock that was set back ends a lock that it would have made longer than twice its length. */
function lockedUntil(row: FailedAttemptRow | undefined, { lockMs }: AttemptRule, nowMs: number): number | undefined {
  const lockedAtMs = row?.locked_at_ms ?? undefined;
  return lockedAtMs !== undefined && Math.abs(nowMs - lockedAtMs) < lockMs ? lockedAtMs + lockMs : undefined;
}

function recentFailures(row: FailedAttemptRow | undefined, { windowMs }: AttemptRule, nowMs: number): readonly number[] {
  const times: unknown = JSON.parse(row?.failed_at_ms ?? "[]");
  return Array.isArray(times) ? times.filter((at) => typeof at === "number" && Math.abs(nowMs - at) < windowMs) : [];
}

async function makeRoom(tx: Kysely<Database>): Promise<void> {
  const { rows } = await tx
    .selectFrom("failed_attempts")
    .select((one) => one.fn.countAll<number>().as("rows"))
    .executeTakeFirstOrThrow();
  if (rows < maxRows) return;
  const oldest = await tx
    .selectFrom("failed_attempts")
    .select(["kind", "peer"])
    .orderBy("touched_at_ms")
    .limit(rows - maxRows + 1)
    .execute();
  for (const { kind, peer } of oldest) await tx.deleteFrom("failed_attempts").where("kind", "=", kind).where("peer", "=", peer).execute();
}
