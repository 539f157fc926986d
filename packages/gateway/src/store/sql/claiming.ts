/** Claiming: which runs can go on, and the fenced lease under which one worker continues each. */
import type { Kysely } from "kysely";
import type { Ids } from "../../kit/ids.ts";
import type { Completion, JournalEntry } from "../journal.ts";
import type { Claim, Claimer } from "../store.ts";
import { orphanedInbox } from "./admission.ts";
import { appendEntries, readJournal, readRun, toRunRecord } from "./run-rows.ts";
import type { Database, InboxRow, RunTableRow } from "./schema.ts";
import { appendMessages, openStatuses } from "./sessions.ts";

export async function claimRuns(tx: Kysely<Database>, ids: Ids, claimer: Claimer, nowMs: number): Promise<readonly Claim[]> {
  const claims: Claim[] = [];
  let freeChildSlots = claimer.maxConcurrentChildren - (await countRunningChildren(tx, nowMs));
  for (const row of await candidates(tx, nowMs)) {
    if (claims.length >= claimer.limit) break;
    const isChild = row.depth > 0;
    if (isChild && freeChildSlots <= 0) continue;
    // The candidates were read before this loop began to claim: a session may have got its running run since.
    if (await isSessionBusy(tx, row, nowMs)) continue;
    claims.push(await claimRun(tx, ids, row, claimer, nowMs));
    if (isChild) freeChildSlots -= 1;
  }
  return claims;
}

/** Everything that can go on now, oldest first. */
function candidates(tx: Kysely<Database>, nowMs: number): Promise<RunTableRow[]> {
  return tx
    .selectFrom("runs")
    .selectAll()
    .where((build) =>
      build.or([
        build("status", "=", "queued"),
        build.and([build("status", "=", "running"), build("lease_until_ms", "<=", nowMs)]),
        build.and([
          build("status", "=", "waiting"),
          build.exists(
            build
              .selectFrom("inbox")
              .select("inbox_id")
              .whereRef("inbox.parent_run_id", "=", "runs.run_id")
              .where("consumed_at_ms", "is", null),
          ),
        ]),
      ]),
    )
    .orderBy("created_at_ms")
    .orderBy("run_id")
    .limit(1_000)
    .execute();
}

/** A session has one writer: any other running run, even one whose lease ran out, goes first. */
async function isSessionBusy(tx: Kysely<Database>, row: RunTableRow, nowMs: number): Promise<boolean> {
  const others = await tx
    .selectFrom("runs")
    .select(["run_id", "lease_until_ms"])
    .where("session_key", "=", row.session_key)
    .where("status", "=", "running")
    .execute();
  return others.some((other) => other.run_id !== row.run_id || (other.lease_until_ms ?? 0) > nowMs);
}

async function countRunningChildren(tx: Kysely<Database>, nowMs: number): Promise<number> {
  const counted = await tx
    .selectFrom("runs")
    .select((build) => build.fn.countAll<number>().as("n"))
    .where("status", "=", "running")
    .where("depth", ">", 0)
    .where("lease_until_ms", ">", nowMs)
    .executeTakeFirstOrThrow();
  return counted.n;
}

async function claimRun(tx: Kysely<Database>, ids: Ids, row: RunTableRow, claimer: Claimer, nowMs: number): Promise<Claim> {
  const epoch = row.epoch + 1;
  await tx
    .updateTable("runs")
    .set({
      status: "running",
      lease_owner: claimer.owner,
      lease_until_ms: nowMs + claimer.leaseMs,
      epoch,
      started_at_ms: row.started_at_ms ?? nowMs,
      deadline_at_ms: row.deadline_at_ms ?? (row.timeout_ms === null ? null : nowMs + row.timeout_ms),
    })
    .where("run_id", "=", row.run_id)
    .execute();

  const consumed = row.status === "running" ? [] : await consumeInbox(tx, row, nowMs);
  const opening = await openTurn(tx, row, consumed, claimer);
  if (opening !== undefined) {
    await appendEntries(tx, row.run_id, epoch, [opening.entry], nowMs);
    await appendMessages(
      tx,
      row.session_key,
      [{ role: "user", content: [{ type: "text", text: opening.text }], timestamp: nowMs }],
      ids,
      nowMs,
    );
  }
  const run = await readRun(tx, row.run_id);
  return { run: toRunRecord(run), epoch, journal: await readJournal(tx, row.run_id), consumed };
}

/** What starts or continues the turn, or nothing when the run goes on after a crash. */
async function openTurn(
  tx: Kysely<Database>,
  row: RunTableRow,
  consumed: readonly Completion[],
  claimer: Claimer,
): Promise<{ entry: JournalEntry; text: string } | undefined> {
  if (consumed.length > 0) {
    return { entry: { kind: "completions", completions: consumed }, text: claimer.quote(consumed, await countOpenChildren(tx, row)) };
  }
  if (row.status !== "queued" || row.epoch > 0) return undefined;
  return { entry: { kind: "input", text: row.input }, text: row.input };
}

/** The results a turn of this run reads: its own children's, or, for an announce run, all that nobody waits for. */
async function consumeInbox(tx: Kysely<Database>, row: RunTableRow, nowMs: number): Promise<readonly Completion[]> {
  const unread: InboxRow[] =
    row.trigger === "announce" && row.status === "queued"
      ? await orphanedInbox(tx, row.session_key).orderBy("inbox.created_at_ms").orderBy("inbox.inbox_id").execute()
      : await tx
          .selectFrom("inbox")
          .selectAll()
          .where("parent_run_id", "=", row.run_id)
          .where("consumed_at_ms", "is", null)
          .orderBy("created_at_ms")
          .orderBy("inbox_id")
          .execute();
  for (const one of unread)
    await tx.updateTable("inbox").set({ consumed_by: row.run_id, consumed_at_ms: nowMs }).where("inbox_id", "=", one.inbox_id).execute();
  return unread.map((one) => ({ ...(JSON.parse(one.completion) as Omit<Completion, "inboxId">), inboxId: one.inbox_id }));
}

async function countOpenChildren(tx: Kysely<Database>, row: RunTableRow): Promise<number> {
  const counted = await tx
    .selectFrom("runs")
    .select((build) => build.fn.countAll<number>().as("n"))
    .where("parent_session_key", "=", row.session_key)
    .where("status", "in", openStatuses)
    .executeTakeFirstOrThrow();
  return counted.n;
}
