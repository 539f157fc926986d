/** Counted refusals in SQL. */
import type { Kysely } from "kysely";
import type { RefusalCount, RefusalStore } from "../audit-store.ts";
import type { Database } from "./schema.ts";
import type { WriteQueue } from "./write-queue.ts";

export function createRefusalStore(db: Kysely<Database>, queue: WriteQueue): RefusalStore {
  return {
    ...createRefusalReads(db),
    add: (counts, keep) =>
      queue.write(async (tx) => {
        for (const one of counts) await addCount(tx, one);
        await tx.deleteFrom("refusals").where("minute_ms", "<", keep.sinceMs).execute();
        await forgetOldest(tx, keep.rows);
      }),
  };
}

export function createRefusalReads(db: Kysely<Database>): Pick<RefusalStore, "list"> {
  return {
    async list({ sinceMs, limit, principal }) {
      const rows = await db
        .selectFrom("refusals")
        .selectAll()
        .where("minute_ms", ">=", sinceMs)
        .$if(principal !== undefined, (query) => query.where("principal", "=", principal ?? ""))
        .orderBy("minute_ms", "desc")
        .orderBy("count", "desc")
        .orderBy("principal")
        .orderBy("method")
        .orderBy("rule")
        .limit(limit)
        .execute();
      return rows.map(({ minute_ms: minuteMs, ...counted }) => ({ minuteMs, ...counted }));
    },
  };
}

async function addCount(tx: Kysely<Database>, { minuteMs, ...counted }: RefusalCount): Promise<void> {
  await tx
    .insertInto("refusals")
    .values({ minute_ms: minuteMs, ...counted })
    .onConflict((conflict) =>
      conflict
        .columns(["minute_ms", "principal", "method", "rule"])
        .doUpdateSet((build) => ({ count: build("refusals.count", "+", build.ref("excluded.count")) })),
    )
    .execute();
}

/** Whole minutes: those up to and with the one in which the bound is passed, counted from the newest. */
async function forgetOldest(tx: Kysely<Database>, keepRows: number): Promise<void> {
  const beyond = await tx
    .selectFrom("refusals")
    .select("minute_ms")
    .orderBy("minute_ms", "desc")
    .limit(1)
    .offset(keepRows)
    .executeTakeFirst();
  if (beyond !== undefined) await tx.deleteFrom("refusals").where("minute_ms", "<=", beyond.minute_ms).execute();
}
