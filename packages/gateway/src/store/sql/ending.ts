/** How runs park and end: outcome out in one transaction, with the result in the parent's inbox. */
import type { RunStatus } from "@portreeve/protocol";
import type { Ids } from "../../kit/ids.ts";
import type { Completion, JournalEntry } from "../journal.ts";
import type { Ending, RunStore, TranscriptMessage } from "../store.ts";
import { ensureAnnounceRun } from "./announcing.ts";
import { budgetLeftOf, endsCall, settle } from "./budgets.ts";
import { recordCompactions } from "./compactions.ts";
import { appendMessages } from "./messages.ts";
import { appendEntries, findHeld, readLastEntry, readRun, toRunRecord } from "./run-rows.ts";
import type { InboxRow, RunTableRow } from "./schema.ts";
import { openStatuses } from "./session-rows.ts";
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
  if (held.takeovers > 0) sql.run(forgetTakeovers, { runId: at.runId });
  charge(sql, held, entries, at.nowMs);
  recordCompactions(sql, { sessionKey: held.session_key, runId: at.runId, nowMs: at.nowMs }, entries);
  if (entries.some(endsCall)) settle(sql, held.run_id, entries);
  if (messages.length > 0) appendMessages(sql, held.session_key, messages, ids, at.nowMs);
  return "ok";
}

export function endRun(
  sql: Sql,
  ids: Ids,
  at: { runId: string; epoch: number; nowMs: number },
  ending: Ending,
  messages: readonly TranscriptMessage[],
  last: readonly JournalEntry[],
): Awaited<ReturnType<RunStore["end"]>> {
  const held = findHeld(sql, at.runId, at.epoch);
  if (held === undefined) return { kind: "lost" };
  appendEntries(sql, at.runId, at.epoch, last, at.nowMs);
  charge(sql, held, last, at.nowMs);
  if (last.some(endsCall)) settle(sql, held.run_id, last);
  const run = writeEnding(sql, ids, held, ending, messages, at.nowMs);
  deliver(sql, ids, run, ending, at.nowMs);
  return { kind: "ended", run: toRunRecord(run) };
}

/** Ends a run whatever it does; its worker's later writes are lost. */
export function writeEnding(
  sql: Sql,
  ids: Ids,
  run: RunTableRow,
  ending: Ending,
  messages: readonly TranscriptMessage[],
  nowMs: number,
): RunTableRow {
  const epoch = run.epoch + 1;
  const last = readLastEntry(sql, run.run_id);
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
    ending: JSON.stringify(last?.kind === "parked" ? { ...rest, eventSeq: last.eventSeq } : rest),
    epoch,
    lease_owner: null,
    lease_until_ms: null,
  };
  sql.run(close, { run_id: run.run_id, ...changed });
  settle(sql, run.run_id);
  return { ...readRun(sql, run.run_id), ...changed };
}

/** The result goes to the parent's inbox; and whatever no run waits for, here or there, gets a run that reads it. */
export function deliver(sql: Sql, ids: Ids, run: RunTableRow, ending: Ending, nowMs: number): void {
  if (run.parent_session_key !== null && run.expects_completion === 1) {
    sql.run(insertResult, {
      inbox_id: ids.next("inbox"),
      session_key: run.parent_session_key,
      parent_run_id: run.parent_run_id,
      child_run_id: run.run_id,
      generation: 1,
      completion: JSON.stringify(toCompletion(sql, run, ending, nowMs)),
      created_at_ms: nowMs,
      consumed_by: null,
      consumed_at_ms: null,
      closed_as: null,
      closed_by: null,
    });
    ensureAnnounceRun(sql, ids, run.parent_session_key, nowMs);
  }
  ensureAnnounceRun(sql, ids, run.session_key, nowMs);
}

/** A result beyond this would fill the reader's context; the whole of it stays in the child's session. */
const mostResultChars = 100_000;

function toCompletion(sql: Sql, run: RunTableRow, ending: Ending, nowMs: number): Omit<Completion, "inboxId"> {
  const { usage, costMicroUsd } = toRunRecord(run);
  const whole =
    ending.outcome === "succeeded"
      ? ending.text
      : [ending.text, ending.error].filter((part) => part !== undefined && part !== "").join("\n\n");
  const isCut = whole.length > mostResultChars;
  return {
    childRunId: run.wire_id,
    childSessionKey: run.session_key,
    label: run.label ?? undefined,
    outcome: ending.outcome,
    text: isCut ? whole.slice(0, mostResultChars).toWellFormed() : whole,
    ...(isCut ? { textChars: whole.length } : {}),
    ...(ending.schemaError === undefined ? {} : { schemaError: ending.schemaError }),
    ...(ending.silence === undefined ? {} : { silence: ending.silence }),
    ...(ending.isCutOff === true ? { isCutOff: true } : {}),
    runtimeMs: nowMs - (run.started_at_ms ?? nowMs),
    usage,
    costMicroUsd,
    budgetLeft: budgetLeftOf(sql, run.run_id),
  };
}

// ---- statements

const countOpen = statement((db, arg: Args<{ runId: string }>) =>
  db
    .selectFrom("runs")
    .select((build) => build.fn.countAll<number>().as("n"))
    .where("parent_run_id", "=", arg("runId"))
    .where("expects_completion", "=", 1)
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

const forgetTakeovers = statement((db, arg: Args<{ runId: string }>) =>
  db.updateTable("runs").set({ takeovers: 0 }).where("run_id", "=", arg("runId")),
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

export const insertResult = statement((db, arg: Args<InboxRow>) =>
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
        closed_as: true,
        closed_by: true,
      }),
    )
    .onConflict((conflict) => conflict.doNothing()),
);
