/** How runs park and end: outcome out in one transaction, with the result in the parent's inbox. */
import { sql, type Kysely } from "kysely";
import type { RunStatus } from "@portreeve/protocol";
import type { Ids } from "../../kit/ids.ts";
import type { Completion, JournalEntry } from "../journal.ts";
import type { Ending, RunRecord, RunStore, TranscriptMessage } from "../store.ts";
import { ensureAnnounceRun } from "./admission.ts";
import { appendEntries, holds, readRun, toRunRecord } from "./run-rows.ts";
import type { Database, RunTableRow } from "./schema.ts";
import { appendMessages, openStatuses } from "./sessions.ts";

export async function openChildrenOf(db: Kysely<Database>, runId: string): Promise<{ open: number; unread: number }> {
  const open = await db
    .selectFrom("runs")
    .select("run_id")
    .where("parent_run_id", "=", runId)
    .where("status", "in", openStatuses)
    .execute();
  const unread = await db
    .selectFrom("inbox")
    .select("inbox_id")
    .where("parent_run_id", "=", runId)
    .where("consumed_at_ms", "is", null)
    .execute();
  return { open: open.length, unread: unread.length };
}

export async function parkRun(
  tx: Kysely<Database>,
  runId: string,
  epoch: number,
  eventSeq: number,
  nowMs: number,
): ReturnType<RunStore["park"]> {
  if (!(await holds(tx, runId, epoch))) return "lost";
  const { open, unread } = await openChildrenOf(tx, runId);
  if (open === 0 && unread === 0) return "no-children";
  await appendEntries(tx, runId, epoch, [{ kind: "parked", on: "children", eventSeq }], nowMs);
  await tx.updateTable("runs").set({ status: "waiting", lease_owner: null, lease_until_ms: null }).where("run_id", "=", runId).execute();
  return unread > 0 ? "unread" : "parked";
}

export async function appendToRun(
  tx: Kysely<Database>,
  ids: Ids,
  at: { runId: string; epoch: number; nowMs: number },
  entries: readonly JournalEntry[],
  messages: readonly TranscriptMessage[],
): Promise<"ok" | "lost"> {
  if (!(await holds(tx, at.runId, at.epoch))) return "lost";
  await appendEntries(tx, at.runId, at.epoch, entries, at.nowMs);
  const usage = entries.reduce(
    (sum, entry) => (entry.kind === "reply" ? { input: sum.input + entry.usage.input, output: sum.output + entry.usage.output } : sum),
    { input: 0, output: 0 },
  );
  await tx
    .updateTable("runs")
    .set({ usage_input: sql<number>`usage_input + ${usage.input}`, usage_output: sql<number>`usage_output + ${usage.output}` })
    .where("run_id", "=", at.runId)
    .execute();
  if (messages.length > 0) await appendMessages(tx, (await readRun(tx, at.runId)).session_key, messages, ids, at.nowMs);
  return "ok";
}

export async function endRun(
  tx: Kysely<Database>,
  ids: Ids,
  at: { runId: string; epoch: number; nowMs: number },
  ending: Ending,
  messages: readonly TranscriptMessage[],
): ReturnType<RunStore["end"]> {
  if (!(await holds(tx, at.runId, at.epoch))) return { kind: "lost" };
  const run = await writeEnding(tx, ids, await readRun(tx, at.runId), ending, messages, at.nowMs);
  await deliver(tx, ids, run, ending, at.nowMs);
  return { kind: "ended", run: toRunRecord(run) };
}

/** Ends the selected runs and everything below them; the epoch moves on, so that their workers' writes are lost. */
export async function cancelRuns(
  tx: Kysely<Database>,
  ids: Ids,
  select: { sessionKey: string; wireId?: string | undefined },
  partials: ReadonlyMap<string, string>,
  nowMs: number,
): Promise<readonly RunRecord[]> {
  const rows = await tree(tx, select);
  const cancelled = new Set(rows.map((row) => row.run_id));
  const ended: RunRecord[] = [];
  for (const row of rows) {
    const text = partials.get(row.run_id) ?? "";
    const ending: Ending = { outcome: "cancelled", text, error: undefined, stopReason: "aborted" };
    const messages: TranscriptMessage[] =
      text === "" ? [] : [{ role: "assistant", content: [{ type: "text", text }], timestamp: nowMs, stopReason: "aborted" }];
    const run = await writeEnding(tx, ids, row, ending, messages, nowMs);
    if (row.parent_run_id === null || !cancelled.has(row.parent_run_id)) await deliver(tx, ids, run, ending, nowMs);
    ended.push(toRunRecord(run));
  }
  return ended;
}

export async function expireRuns(tx: Kysely<Database>, ids: Ids, nowMs: number): ReturnType<RunStore["expire"]> {
  const due = await tx.selectFrom("runs").selectAll().where("deadline_at_ms", "<=", nowMs).where("status", "in", openStatuses).execute();
  const ended: RunRecord[] = [];
  for (const row of due.filter((one) => one.status !== "running")) {
    const ending: Ending = { outcome: "timed_out", text: "", error: "the deadline passed", stopReason: "timeout" };
    const run = await writeEnding(tx, ids, row, ending, [], nowMs);
    await deliver(tx, ids, run, ending, nowMs);
    ended.push(toRunRecord(run));
  }
  return { ended, running: due.filter((row) => row.status === "running").map((row) => row.run_id) };
}

async function writeEnding(
  tx: Kysely<Database>,
  ids: Ids,
  row: RunTableRow,
  ending: Ending,
  messages: readonly TranscriptMessage[],
  nowMs: number,
): Promise<RunTableRow> {
  const epoch = row.epoch + 1;
  const entry: JournalEntry = {
    kind: "ended",
    outcome: ending.outcome,
    text: ending.text,
    error: ending.error,
    stopReason: ending.stopReason,
  };
  await appendEntries(tx, row.run_id, epoch, [entry], nowMs);
  await appendMessages(tx, row.session_key, messages, ids, nowMs);
  const { outcome, ...rest } = ending;
  const changed = {
    status: outcome satisfies RunStatus,
    ended_at_ms: nowMs,
    ending: JSON.stringify(rest),
    epoch,
    lease_owner: null,
    lease_until_ms: null,
  };
  await tx.updateTable("runs").set(changed).where("run_id", "=", row.run_id).execute();
  return { ...(await readRun(tx, row.run_id)), ...changed };
}

/** The result goes to the parent's inbox; and whatever no run waits for, here or there, gets a run that reads it. */
async function deliver(tx: Kysely<Database>, ids: Ids, run: RunTableRow, ending: Ending, nowMs: number): Promise<void> {
  if (run.parent_session_key !== null) {
    const completion: Omit<Completion, "inboxId"> = {
      childRunId: run.wire_id,
      childSessionKey: run.session_key,
      label: run.label ?? undefined,
      outcome: ending.outcome,
      text:
        ending.outcome === "succeeded"
          ? ending.text
          : [ending.text, ending.error].filter((part) => part !== undefined && part !== "").join("\n\n"),
      runtimeMs: nowMs - (run.started_at_ms ?? nowMs),
      usage: toRunRecord(run).usage,
    };
    await tx
      .insertInto("inbox")
      .values({
        inbox_id: ids.next("inbox"),
        session_key: run.parent_session_key,
        parent_run_id: run.parent_run_id,
        child_run_id: run.run_id,
        generation: 1,
        completion: JSON.stringify(completion),
        created_at_ms: nowMs,
        consumed_by: null,
        consumed_at_ms: null,
      })
      .onConflict((conflict) => conflict.doNothing())
      .execute();
    await ensureAnnounceRun(tx, ids, run.parent_session_key, nowMs);
  }
  await ensureAnnounceRun(tx, ids, run.session_key, nowMs);
}

/** Open runs of the selection and of every descendant, parents before children. */
async function tree(tx: Kysely<Database>, select: { sessionKey: string; wireId?: string | undefined }): Promise<readonly RunTableRow[]> {
  const inSession = await tx.selectFrom("runs").selectAll().where("session_key", "=", select.sessionKey).execute();
  let level = select.wireId === undefined ? inSession : inSession.filter((row) => row.wire_id === select.wireId);
  const all = new Map<string, RunTableRow>();
  while (level.length > 0) {
    for (const row of level) all.set(row.run_id, row);
    const parents = level.map((row) => row.run_id);
    const orphansOf = select.wireId === undefined ? level.map((row) => row.session_key) : [];
    const children = await tx
      .selectFrom("runs")
      .selectAll()
      .where((build) =>
        build.or([
          build("parent_run_id", "in", parents),
          ...(orphansOf.length === 0 ? [] : [build("parent_session_key", "in", orphansOf)]),
        ]),
      )
      .execute();
    level = children.filter((row) => !all.has(row.run_id));
  }
  return [...all.values()].filter((row) => openStatuses.some((status) => status === row.status));
}
