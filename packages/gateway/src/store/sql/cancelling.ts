/** Runs that are ended from outside: cancelled with all they spawned, or past their deadline. */
import type { Ids } from "../../kit/ids.ts";
import { toDeadlineEnding } from "../budgets.ts";
import type { Ending, Partials, RunRecord, RunSelection, RunStore, TranscriptMessage } from "../store.ts";
import { ensureAnnounceRun, takeOrphanedInbox } from "./announcing.ts";
import { writeAudit } from "./audit.ts";
import { deliver, writeEnding } from "./ending.ts";
import { readLastEntry, toRunRecord } from "./run-rows.ts";
import type { RunTableRow } from "./schema.ts";
import { dropUnreadResultsOf, listOpenRunsOf } from "./starters.ts";
import { type Args, type Sql, statement } from "./statement.ts";

/** Ends the selected runs and everything below them; the epoch moves on, so that their workers' writes are lost. */
export function cancelRuns(sql: Sql, ids: Ids, select: RunSelection, partials: Partials, nowMs: number): readonly RunRecord[] {
  if ("startedBy" in select) return cancelRunsOf(sql, ids, select, partials, nowMs);
  const stopped = tree(sql, select);
  const open = [...stopped.runs.values()].filter((run) => run.ended_at_ms === null);
  return cancelRows(sql, ids, open, partials, nowMs, (run, ending) => {
    if (run.trigger === "announce" && run.started_at_ms === null) takeUnread(sql, run, nowMs);
    const isReaderStopped = stopped.runs.has(run.parent_run_id ?? "") || stopped.sessions.has(run.parent_session_key ?? "");
    if (!isReaderStopped) deliver(sql, ids, run, ending, nowMs);
  });
}

/** Nothing of it is delivered: a run that reads the result would be the starter's again. */
function cancelRunsOf(
  sql: Sql,
  ids: Ids,
  { startedBy, by }: Extract<RunSelection, { startedBy: string }>,
  partials: Partials,
  nowMs: number,
): readonly RunRecord[] {
  const ended = cancelRows(sql, ids, listOpenRunsOf(sql, startedBy), partials, nowMs, () => undefined);
  dropUnreadResultsOf(sql, startedBy, { by, nowMs });
  // A run among them may have been the one that was to read others' results.
  for (const { sessionKey } of ended) ensureAnnounceRun(sql, ids, sessionKey, nowMs);
  if (ended.length > 0) writeAudit(sql, { kind: "runs.cancelled", actor: by, subject: startedBy, facts: { runs: ended.length } }, nowMs);
  return ended;
}

function cancelRows(
  sql: Sql,
  ids: Ids,
  rows: readonly RunTableRow[],
  partials: Partials,
  nowMs: number,
  leave: (run: RunTableRow, ending: Ending) => void,
): readonly RunRecord[] {
  const ended: RunRecord[] = [];
  for (const row of rows) {
    // A reply that was written while the cancel was on its way is whole, and in the transcript.
    const partial = partials.get(row.run_id);
    const last = readLastEntry(sql, row.run_id)?.kind;
    const isStale = partial?.epoch !== row.epoch || last === "reply" || last === "repair";
    const text = isStale ? "" : partial.text;
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
    const ending = toDeadlineEnding(toRunRecord(row), "");
    const run = writeEnding(sql, ids, row, ending, [], nowMs);
    deliver(sql, ids, run, ending, nowMs);
    ended.push(toRunRecord(run));
  }
  return { ended, running: due.filter((row) => row.status === "running").map((row) => row.run_id) };
}

/** An announce run that is stopped before it began was to read these: like a stopped parent's, nobody is told of them again. */
function takeUnread(sql: Sql, run: RunTableRow, nowMs: number): void {
  for (const { inbox_id } of takeOrphanedInbox(sql, run.session_key, nowMs))
    sql.run(assignReader, { inboxId: inbox_id, runId: run.run_id });
}

interface Stopped {
  /** The selection and every descendant, parents before children; also those that have ended. */
  readonly runs: ReadonlyMap<string, RunTableRow>;
  /** Sessions that are stopped as a whole. */
  readonly sessions: ReadonlySet<string>;
}

function tree(sql: Sql, select: Exclude<RunSelection, { startedBy: string }>): Stopped {
  const isWhole = "belowSessionKey" in select || (select.wireId === undefined && select.runId === undefined);
  const runs = new Map<string, RunTableRow>();
  const sessions = new Set<string>();
  /** All that goes with a session that is stopped as a whole: whoever started it, and what was spawned for it without a run. */
  const enter = (key: string): readonly RunTableRow[] => {
    if (!isWhole || sessions.has(key)) return [];
    sessions.add(key);
    return [...sql.all(inSessionRuns, { sessionKey: key }), ...sql.all(childrenOfSession, { sessionKey: key })];
  };
  let level =
    "belowSessionKey" in select
      ? sql.all(childrenOfSession, { sessionKey: select.belowSessionKey })
      : isWhole
        ? enter(select.sessionKey)
        : findMeant(sql.all(inSessionRuns, { sessionKey: select.sessionKey }), select);
  while (level.length > 0) {
    for (const one of level) runs.set(one.run_id, one);
    const below = level.flatMap((one) => [...enter(one.session_key), ...sql.all(childrenOfRun, { runId: one.run_id })]);
    level = below.filter((one) => !runs.has(one.run_id));
  }
  return { runs, sessions };
}

/** Of several that others named the same, the newest that is open. */
function findMeant(runs: readonly RunTableRow[], select: Extract<RunSelection, { sessionKey: string }>): readonly RunTableRow[] {
  if (select.wireId === undefined) return runs.filter((one) => one.run_id === select.runId);
  const named = runs.filter((one) => one.wire_id === select.wireId);
  const own = named.filter((one) => one.started_by === select.askedBy);
  if (own.length > 0) return own;
  const newestFirst = named.toSorted((one, other) => other.created_at_ms - one.created_at_ms);
  return [...newestFirst.filter((one) => one.ended_at_ms === null), ...newestFirst].slice(0, 1);
}

// ---- statements

const dueRuns = statement((db, arg: Args<{ nowMs: number }>) =>
  db
    .selectFrom("runs")
    .selectAll()
    .where("deadline_at_ms", "is not", null)
    .where("deadline_at_ms", "<=", arg("nowMs"))
    .where("ended_at_ms", "is", null),
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
