/** What waits for its end, and the note of the time by which it is judged. */
import { limits } from "@portreeve/protocol";
import type { Kysely, NotNull } from "kysely";
import type { Database } from "./schema.ts";

const newestTime = "newest_time_ms";

/** Notes the time while a request, a code or a run's deadline waits for its end, or has ended since the last note. Answers when the next one ends. */
export async function noteTime(tx: Kysely<Database>, nowMs: number, hasMore: boolean): Promise<number | undefined> {
  const notedMs = await readNote(tx);
  const requests = tx.selectFrom("pairing_requests").select("expires_at_ms").where("state", "=", "pending");
  const codes = tx.selectFrom("setup_codes").select("expires_at_ms").where("used_at_ms", "is", null);
  const deadlines = openWithDeadline(tx).select("deadline_at_ms as expires_at_ms").$narrowType<{ expires_at_ms: NotNull }>();
  const rows = await requests
    .where("expires_at_ms", ">", notedMs)
    .union(codes.where("expires_at_ms", ">", notedMs))
    .union(deadlines.where("deadline_at_ms", ">", notedMs))
    .execute();
  if (rows.length === 0 && !hasMore) return undefined;
  const value = Math.max(notedMs, nowMs);
  await tx
    .insertInto("counters")
    .values({ name: newestTime, value })
    .onConflict((conflict) => conflict.column("name").doUpdateSet({ value }))
    .execute();
  const ends = rows.map((row) => row.expires_at_ms).filter((atMs) => atMs > nowMs);
  return ends.length === 0 ? undefined : Math.min(...ends);
}

/** Of the note and of what was made since. */
export async function newestTimeMs(db: Kysely<Database>): Promise<number> {
  const requested = await db.selectFrom("pairing_requests").select("expires_at_ms").orderBy("expires_at_ms", "desc").executeTakeFirst();
  const issued = await db.selectFrom("setup_codes").select("created_at_ms").orderBy("created_at_ms", "desc").executeTakeFirst();
  const elevated = await db
    .selectFrom("device_grants")
    .select("elevated_seen_ms")
    .where("elevated_seen_ms", "is not", null)
    .orderBy("elevated_seen_ms", "desc")
    .executeTakeFirst();
  const started = await openWithDeadline(db).select("started_at_ms").orderBy("started_at_ms", "desc").executeTakeFirst();
  // A request that was asked for again is as new as its end says.
  const requestedMs = (requested?.expires_at_ms ?? 0) - limits.pairingRequestTtlMs;
  return Math.max(
    await readNote(db),
    requestedMs,
    issued?.created_at_ms ?? 0,
    elevated?.elevated_seen_ms ?? 0,
    started?.started_at_ms ?? 0,
  );
}

function openWithDeadline(db: Kysely<Database>) {
  return db.selectFrom("runs").where("ended_at_ms", "is", null).where("deadline_at_ms", "is not", null);
}

async function readNote(db: Kysely<Database>): Promise<number> {
  const row = await db.selectFrom("counters").select("value").where("name", "=", newestTime).executeTakeFirst();
  return row?.value ?? 0;
}
