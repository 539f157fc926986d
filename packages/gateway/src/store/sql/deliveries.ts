/** The ways results take to parents' sessions, and what people decide about them. An inbox row is one way, fenced by its generation. */
import type { ExpressionBuilder } from "kysely";
import type { Ids } from "../../kit/ids.ts";
import { type Delivery, type DeliveryHop, isOpenToDecision, toDelivery, unsureEndings } from "../deliveries.ts";
import type { DeliveryDecision } from "../run-views.ts";
import type { RunRecord } from "../store.ts";
import { ensureAnnounceRun, findQueuedAnnounce } from "./announcing.ts";
import { writeAudit } from "./audit.ts";
import { insertResult } from "./ending.ts";
import { findRun, readRun, toRunRecord } from "./run-rows.ts";
import type { Database, InboxRow } from "./schema.ts";
import { findSession, openStatuses } from "./session-rows.ts";
import { type Args, type Sql, statement } from "./statement.ts";

interface Decision {
  readonly runId: string;
  readonly by: string;
  readonly nowMs: number;
}

/** Oldest generation first. */
export function listHops(sql: Sql, childRunId: string): readonly DeliveryHop[] {
  return sql.all(rowsOf, { childRunId }).map(toHop);
}

/** What became of the run's result. */
export function deliveryOf(sql: Sql, run: Pick<RunRecord, "runId" | "parentSessionKey" | "expectsCompletion" | "endedAtMs">): Delivery {
  const newest = sql.all(rowsOf, { childRunId: run.runId }).at(-1);
  const hop = newest === undefined ? undefined : toHop(newest);
  return toDelivery({
    isOwed: run.parentSessionKey !== undefined && run.expectsCompletion,
    hasEnded: run.endedAtMs !== undefined,
    newest: hop,
    readerStatus: hop?.readBy === undefined ? undefined : findRun(sql, hop.readBy)?.status,
    comingReader: newest === undefined || hop?.state !== "unread" ? undefined : findComingReader(sql, newest),
  });
}

/** The run that will read the unread row by itself: the one it is for, or the announcement that waits in the session. */
function findComingReader(sql: Sql, row: InboxRow): string | undefined {
  const parent = row.parent_run_id === null ? undefined : findRun(sql, row.parent_run_id);
  if (parent !== undefined && openStatuses.some((status) => status === parent.status)) return parent.run_id;
  return parent?.status === "cancelled" ? undefined : findQueuedAnnounce(sql, row.session_key);
}

export function redeliverResult(
  sql: Sql,
  ids: Ids,
  { runId, by, nowMs }: Decision,
): DeliveryDecision<{ readonly generation: number; readonly sessionKey: string }> {
  const newest = findUndecided(sql, runId);
  if ("kind" in newest) return newest;
  if (findSession(sql, newest.session_key) === undefined) return { kind: "no-session", sessionKey: newest.session_key };
  const generation = newest.generation + 1;
  sql.run(closeRow, { inboxId: newest.inbox_id, as: "superseded", by, atMs: newest.consumed_at_ms ?? nowMs });
  sql.run(insertResult, {
    ...newest,
    inbox_id: ids.next("inbox"),
    // For nobody's turn but a new one's.
    parent_run_id: null,
    generation,
    created_at_ms: nowMs,
    consumed_by: null,
    consumed_at_ms: null,
    closed_as: null,
    closed_by: null,
  });
  ensureAnnounceRun(sql, ids, newest.session_key, nowMs, by);
  writeAudit(sql, { kind: "result.redelivered", actor: by, subject: runId, facts: { generation, to: newest.session_key } }, nowMs);
  return { kind: "done", generation, sessionKey: newest.session_key };
}

export function dismissResult(sql: Sql, { runId, by, nowMs }: Decision): DeliveryDecision<object> {
  const newest = findUndecided(sql, runId);
  if ("kind" in newest) return newest;
  sql.run(closeRow, { inboxId: newest.inbox_id, as: "dismissed", by, atMs: newest.consumed_at_ms ?? nowMs });
  writeAudit(sql, { kind: "result.dismissed", actor: by, subject: runId, facts: { generation: newest.generation } }, nowMs);
  return { kind: "done" };
}

/** The row that a person may decide about, or why there is none. */
function findUndecided(sql: Sql, runId: string): InboxRow | Extract<DeliveryDecision<object>, { kind: "settled" }> {
  const { status, readBy } = deliveryOf(sql, toRunRecord(readRun(sql, runId)));
  const newest = sql.all(rowsOf, { childRunId: runId }).at(-1);
  return newest === undefined || !isOpenToDecision(status) ? { kind: "settled", status, readBy } : newest;
}

/** For a filter on runs: the rows of `runs.run_id` that have not safely reached anybody. */
export function unsettledRows(build: ExpressionBuilder<Database, "runs">) {
  return build.selectFrom("inbox").select("inbox.inbox_id").whereRef("inbox.child_run_id", "=", "runs.run_id").where(isUnsettled);
}

/** Whether an inbox row has not safely reached anybody: nobody has read it, or a turn that then failed. What is said of all results follows it. */
export function isUnsettled(row: ExpressionBuilder<Database, "inbox">) {
  const unsureReader = row
    .selectFrom("runs as reader")
    .select("reader.run_id")
    .whereRef("reader.run_id", "=", "inbox.consumed_by")
    .where("reader.status", "in", unsureEndings);
  return row.and([row("inbox.closed_as", "is", null), row.or([row("inbox.consumed_at_ms", "is", null), row.exists(unsureReader)])]);
}

function toHop(row: InboxRow): DeliveryHop {
  return {
    generation: row.generation,
    state: row.closed_as ?? (row.consumed_at_ms === null ? "unread" : "read"),
    toSessionKey: row.session_key,
    createdAtMs: row.created_at_ms,
    settledAtMs: row.consumed_at_ms ?? undefined,
    readBy: row.consumed_by ?? undefined,
    closedBy: row.closed_by ?? undefined,
  };
}

// ---- statements

const rowsOf = statement((db, arg: Args<{ childRunId: string }>) =>
  db.selectFrom("inbox").selectAll().where("child_run_id", "=", arg("childRunId")).orderBy("generation"),
);

/** A closed row counts as read everywhere else: no turn takes it up. */
const closeRow = statement((db, arg: Args<{ inboxId: string; as: "superseded" | "dismissed"; by: string; atMs: number }>) =>
  db
    .updateTable("inbox")
    .set({ closed_as: arg("as"), closed_by: arg("by"), consumed_at_ms: arg("atMs") })
    .where("inbox_id", "=", arg("inboxId")),
);
