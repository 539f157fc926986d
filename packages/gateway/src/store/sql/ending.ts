/** How runs park and end: outcome out in one transaction, with the result in the parent's inbox. */
import type { RunStatus } from "@portreeve/protocol";
import type { Ids } from "../../kit/ids.ts";
import type { Completion, JournalEntry } from "../journal.ts";
import type { Ending, RunRecord, RunSelection, RunStore, TranscriptMessage } from "../store.ts";
import { ensureAnnounceRun, listOrphanedInbox } from "./admission.ts";
import { writeAudit } from "./audit.ts";
import { appendMessages } from "./messages.ts";
import { appendEntries, findHeld, readJournal, readRun, toRunRecord } from "./run-rows.ts";
import type { InboxRow, RunTableRow } from "./schema.ts";
import { openStatuses } from "./session-rows.ts";
import { dropUnreadResultsOf, listOpenRunsOf } from "./starters.ts";
import { type Args, row, type Sql, statement } from "./statement.ts";
import { charge } from "./usage.ts";

export function openChildrenOf(sql: Sql, runId: string): { open: number; unread: number } {
  return {
    open: sql.first(countOpen, { runId })?.n ?? 0,
    unread: sql.first(countUnread, { runId })?.n ?? 0,
  };
}

export function parkRun(sql: Sql, runId: string, epoch: number, eventSeq: number, nowMs: number): Awaited<ReturnType<RunStore["park"]>> {
  if (findHeld(sql, runId, epoch) === undefined) return "lost";
  const { open, unread } = openChildrenOf(sql, runId);
  if (open === 0 && unread === 0) return "no-children";
  appendEntries(sql, runId, epoch, [{ kind: "parked", on: "children", eventSeq }], nowMs);
  sql.run(release, { runId });
  return unread > 0 ? "unread" : "parked";
}

export function appendToRun(
  sql: Sql,
  ids: Ids,
  at: { runId: string; epoch: number; nowMs: number },
  entries: readonly JournalEntry[],
  messages: readonly TranscriptMessage[],
): "ok" | "lost" {
  const held = findHeld(sql, at.runId, at.epoch);
  if (held === undefined) return "lost";
  appendEntries(sql, at.runId, at.epoch, entries, at.nowMs);
  charge(sql, held, entries, at.nowMs);
  if (messages.length > 0) appendMessages(sql, held.session_key, messages, ids, at.nowMs);
  return "ok";
}

export function endRun(
  sql: Sql,
  ids: Ids,
  at: { runId: string; epoch: number; nowMs: number },
  ending: Ending,
  messages: readonly TranscriptMessage[],
): Awaited<ReturnType<RunStore["end"]>> {
  const held = findHeld(sql, at.runId, at.epoch);
  if (held === undefined) return { kind: "lost" };
  const run = writeEnding(sql, ids, held, ending, messages, at.nowMs);
  deliver(sql, ids, run, ending, at.nowMs);
  return { kind: "ended", run: toRunRecord(run) };
}

/** Ends the selected runs and everything below them; the epoch moves on, so that their workers' writes are lost. */
export function cancelRuns(
  sql: Sql,
  ids: Ids,
  select: RunSelection,
  partials: ReadonlyMap<string, string>,
  nowMs: number,
): readonly RunRecord[] {
  if ("startedBy" in select) return cancelRunsOf(sql, ids, select, partials, nowMs);
  const stopped = tree(sql, select);
  const open = [...stopped.runs.values()].filter((run) => run.ended_at_ms === null);
  return cancelRows(sql, ids, open, partials, nowMs, (run, ending) => {
    if (run.trigger === "announce" && run.started_at_ms === null) takeUnread(sql, run);
    const isReaderStopped = stopped.runs.has(run.parent_run_id ?? "") || stopped.sessions.has(run.parent_session_key ?? "");
    if (!isReaderStopped) deliver(sql, ids, run, ending, nowMs);
  });
}

/** Nothing of it is delivered: a run that reads the result would be the starter's again. */
function cancelRunsOf(
  sql: Sql,
  ids: Ids,
  { startedBy, by }: Extract<RunSelection, { startedBy: string }>,
  partials: ReadonlyMap<string, string>,
  nowMs: number,
): readonly RunRecord[] {
  const ended = cancelRows(sql, ids, listOpenRunsOf(sql, startedBy), partials, nowMs, () => undefined);
  dropUnreadResultsOf(sql, startedBy, nowMs);
  // A run among them may have been the one that was to read others' results.
  for (const { sessionKey } of ended) ensureAnnounceRun(sql, ids, sessionKey, nowMs);
  if (ended.length > 0) writeAudit(sql, { kind: "runs.cancelled", actor: by, subject: startedBy, facts: { runs: ended.length } }, nowMs);
  return ended;
}

function cancelRows(
  sql: Sql,
  ids: Ids,
  rows: readonly RunTableRow[],
  partials: ReadonlyMap<string, string>,
  nowMs: number,
  leave: (run: RunTableRow, ending: Ending) => void,
): readonly RunRecord[] {
  const ended: RunRecord[] = [];
  for (const row of rows) {
    // A reply that was written while the cancel was on its way is whole, and in the transcript.
    const text = readJournal(sql, row.run_id).at(-1)?.kind === "reply" ? "" : (partials.get(row.run_id) ?? "");
    const ending: Ending = { outcome: "cancelled", text, error: undefined, stopReason: "aborted" };
    const messages: TranscriptMessage[] =
      text === "" ? [] : [{ role: "assistant", content: [{ type: "text", text }], timestamp: nowMs, stopReason: "aborted" }];
    const run = writeEnding(sql, ids, row, ending, messages, nowMs);
    leave(run, ending);
    ended.push(toRunRecord(run));
  }
  return ended;
}

export function expireRuns(sql: Sql, ids: Ids, nowMs: number): Awaited<ReturnType<RunStore["expire"]>> {
  const due = sql.all(dueRuns, { nowMs });
  const ended: RunRecord[] = [];
  for (const row of due.filter((one) => one.status !== "running")) {
    const ending: Ending = { outcome: "timed_out", text: "", error: "the deadline passed", stopReason: "timeout" };
    const run = writeEnding(sql, ids, row, ending, [], nowMs);
    deliver(sql, ids, run, ending, nowMs);
    ended.push(toRunRecord(run));
  }
  return { ended, running: due.filter((row) => row.status === "running").map((row) => row.run_id) };
}

function writeEnding(
  sql: Sql,
  ids: Ids,
  run: RunTableRow,
  ending: Ending,
  messages: readonly TranscriptMessage[],
  nowMs: number,
): RunTableRow {
  const epoch = run.epoch + 1;
  const entry: JournalEntry = {
    kind: "ended",
    outcome: ending.outcome,
    text: ending.text,
    error: ending.error,
    stopReason: ending.stopReason,
  };
  appendEntries(sql, run.run_id, epoch, [entry], nowMs);
  appendMessages(sql, run.session_key, messages, ids, nowMs);
  const { outcome, ...rest } = ending;
  const changed = {
    status: outcome satisfies RunStatus,
    ended_at_ms: nowMs,
    ending: JSON.stringify(rest),
    epoch,
    lease_owner: null,
    lease_until_ms: null,
  };
  sql.run(close, { run_id: run.run_id, ...changed });
  return { ...readRun(sql, run.run_id), ...changed };
}

/** The result goes to the parent's inbox; and whatever no run waits for, here or there, gets a run that reads it. */
function deliver(sql: Sql, ids: Ids, run: RunTableRow, ending: Ending, nowMs: number): void {
  if (run.parent_session_key !== null) {
    const { usage, costMicroUsd } = toRunRecord(run);
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
      usage,
      costMicroUsd,
    };
    sql.run(insertResult, {
      inbox_id: ids.next("inbox"),
      session_key: run.parent_session_key,
      parent_run_id: run.parent_run_id,
      child_run_id: run.run_id,
      generation: 1,
      completion: JSON.stringify(completion),
      created_at_ms: nowMs,
      consumed_by: null,
      consumed_at_ms: null,
    });
    ensureAnnounceRun(sql, ids, run.parent_session_key, nowMs);
  }
  ensureAnnounceRun(sql, ids, run.session_key, nowMs);
}

/** An announce run that is stopped before it began was to read these: like a stopped parent's, nobody is told of them again. */
function takeUnread(sql: Sql, run: RunTableRow): void {
  for (const { inbox_id } of listOrphanedInbox(sql, run.session_key)) sql.run(assignReader, { inboxId: inbox_id, runId: run.run_id });
}

interface Stopped {
  /** The selection and every descendant, parents before children; also those that have ended. */
  readonly runs: ReadonlyMap<string, RunTableRow>;
  /** Sessions that are stopped as a whole. */
  readonly sessions: ReadonlySet<string>;
}

function tree(sql: Sql, { sessionKey, wireId }: { sessionKey: string; wireId?: string | undefined }): Stopped {
  const inSession = sql.all(inSessionRuns, { sessionKey });
  // A whole session takes with it what was spawned for it without a run.
  const spawnedFor = (key: string): readonly RunTableRow[] => (wireId === undefined ? sql.all(childrenOfSession, { sessionKey: key }) : []);
  const runs = new Map<string, RunTableRow>();
  const sessions = new Set(wireId === undefined ? [sessionKey] : []);
  let level = [...(wireId === undefined ? inSession : inSession.filter((one) => one.wire_id === wireId)), ...spawnedFor(sessionKey)];
  while (level.length > 0) {
    for (const one of level) runs.set(one.run_id, one);
    if (wireId === undefined) for (const one of level) sessions.add(one.session_key);
    const children = level.flatMap((one) => [...sql.all(childrenOfRun, { runId: one.run_id }), ...spawnedFor(one.session_key)]);
    level = children.filter((one) => !runs.has(one.run_id));
  }
  return { runs, sessions };
}

// ---- statements

const countOpen = statement((db, arg: Args<{ runId: string }>) =>
  db
    .selectFrom("runs")
    .select((build) => build.fn.countAll<number>().as("n"))
    .where("parent_run_id", "=", arg("runId"))
    .where("status", "in", openStatuses),
);

const countUnread = statement((db, arg: Args<{ runId: string }>) =>
  db
    .selectFrom("inbox")
    .select((build) => build.fn.countAll<number>().as("n"))
    .where("parent_run_id", "=", arg("runId"))
    .where("consumed_at_ms", "is", null),
);

const release = statement((db, arg: Args<{ runId: string }>) =>
  db.updateTable("runs").set({ status: "waiting", lease_owner: null, lease_until_ms: null }).where("run_id", "=", arg("runId")),
);

const dueRuns = statement((db, arg: Args<{ nowMs: number }>) =>
  db
    .selectFrom("runs")
    .selectAll()
    .where("deadline_at_ms", "is not", null)
    .where("deadline_at_ms", "<=", arg("nowMs"))
    .where("ended_at_ms", "is", null),
);

const close = statement(
  (db, arg: Args<Pick<RunTableRow, "run_id" | "status" | "ended_at_ms" | "ending" | "epoch" | "lease_owner" | "lease_until_ms">>) =>
    db
      .updateTable("runs")
      .set({
        status: arg("status"),
        ended_at_ms: arg("ended_at_ms"),
        ending: arg("ending"),
        epoch: arg("epoch"),
        lease_owner: arg("lease_owner"),
        lease_until_ms: arg("lease_until_ms"),
      })
      .where("run_id", "=", arg("run_id")),
);

const insertResult = statement((db, arg: Args<InboxRow>) =>
  db
    .insertInto("inbox")
    .values(
      row(arg, {
        inbox_id: true,
        session_key: true,
        parent_run_id: true,
        child_run_id: true,
        generation: true,
        completion: true,
        created_at_ms: true,
        consumed_by: true,
        consumed_at_ms: true,
      }),
    )
    .onConflict((conflict) => conflict.doNothing()),
);

const assignReader = statement((db, arg: Args<{ inboxId: string; runId: string }>) =>
  db
    .updateTable("inbox")
    .set({ parent_run_id: arg("runId") })
    .where("inbox_id", "=", arg("inboxId")),
);

const inSessionRuns = statement((db, arg: Args<{ sessionKey: string }>) =>
  db.selectFrom("runs").selectAll().where("session_key", "=", arg("sessionKey")),
);

const childrenOfRun = statement((db, arg: Args<{ runId: string }>) =>
  db.selectFrom("runs").selectAll().where("parent_run_id", "=", arg("runId")),
);

const childrenOfSession = statement((db, arg: Args<{ sessionKey: string }>) =>
  db.selectFrom("runs").selectAll().where("parent_session_key", "=", arg("sessionKey")),
);
