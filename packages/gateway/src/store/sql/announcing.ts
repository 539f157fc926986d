/** Results of children that no run waits for get a run of their own. */
import type { Ids } from "../../kit/ids.ts";
import { unlimited } from "../../principal/lattice.ts";
import { type RunAuthority, withinSession } from "../../principal/principal.ts";
import type { Completion } from "../journal.ts";
import { findRun, insertRun, readRun, toRunRecord } from "./run-rows.ts";
import type { InboxRow, RunTableRow, SessionTableRow } from "./schema.ts";
import { findSession, openStatuses } from "./session-rows.ts";
import { type Args, type Sql, statement } from "./statement.ts";
import { budgetOf, readTerms, handedOn } from "./terms.ts";

/**
 * Makes the run that reads a session's unread results when no run of it will: those of children whose parent run has
 * ended (not by cancellation) or that had none. One such run waits at a time; it reads all there is when it starts. It is
 * whoever asked for it who starts it, else whoever started the oldest child.
 */
export function ensureAnnounceRun(sql: Sql, ids: Ids, sessionKey: string, nowMs: number, askedBy?: string): void {
  // What one reads that waits is seen when it starts: a hundred results that come together would be read a hundred times.
  if (findQueuedAnnounce(sql, sessionKey) !== undefined) return;
  const [oldest] = takeOrphanedInbox(sql, sessionKey, nowMs);
  if (oldest === undefined) return;
  const session = findSession(sql, sessionKey);
  if (session === undefined) return;

  const child = readRun(sql, oldest.child_run_id);
  const parentRun = child.parent_run_id === null ? undefined : findRun(sql, child.parent_run_id);
  const first = `announce:v1:${child.session_key}:${child.wire_id}`;
  const wireId = oldest.generation === 1 ? first : `${first}:${oldest.generation}`;
  insertRun(sql, ids, session, {
    wire_id: wireId,
    idempotency_key: wireId,
    asked_in: sessionKey,
    params_hash: "",
    trigger: "announce",
    input: "",
    label: null,
    model: session.model ?? (parentRun ?? child).model,
    authority: toAuthority(session, child, parentRun),
    terms: { ...handedOn(readTerms(session.terms)), ...budgetOf(parentRun) },
    started_by: askedBy ?? child.started_by,
    parent_run_id: null,
    parent_session_key: null,
    timeout_ms: null,
    nowMs,
  });
}

/** A child that asked for its result to be told to nobody starts no turn; a run that waits for it reads that it did. */
function dropSkipped(sql: Sql, row: InboxRow, nowMs: number): boolean {
  return silenceIn(row) === "ANNOUNCE_SKIP" && sql.run(dismiss, { inboxId: row.inbox_id, nowMs }) > 0;
}

/** A result that cannot be read is no silence. */
function silenceIn({ completion }: InboxRow): Completion["silence"] {
  try {
    return (JSON.parse(completion) as Pick<Completion, "silence">).silence;
  } catch {
    return undefined;
  }
}

/** The announcement that waits for its turn in the session. */
export function findQueuedAnnounce(sql: Sql, sessionKey: string): string | undefined {
  return sql.first(queuedAnnounce, { sessionKey })?.run_id;
}

/** As the run that asked had it, but for its deadline, which was its own. Where a person asked, the child's limits are not theirs. */
function toAuthority(session: SessionTableRow, child: RunTableRow, asked: RunTableRow | undefined): RunAuthority {
  const { scopes, limits, policyOf } = toRunRecord(asked ?? child).authority;
  const own: RunAuthority = { scopes, owner: false, depth: session.depth };
  if (asked === undefined) return withinSession(own, readTerms(session.terms));
  const kept = { ...own, limits: { ...(limits ?? unlimited), deadline: "unlimited" as const }, policyOf: policyOf ?? [] };
  return withinSession(kept, readTerms(session.terms));
}

/** Unread results in a session that no run of it is waiting for, oldest first; those to be told to nobody are dismissed. */
export function takeOrphanedInbox(sql: Sql, sessionKey: string, nowMs: number): InboxRow[] {
  return sql.all(orphanedInbox, { sessionKey }).filter((row) => !dropSkipped(sql, row, nowMs));
}

// ---- statements

const dismiss = statement((db, arg: Args<{ inboxId: string; nowMs: number }>) =>
  db
    .updateTable("inbox")
    .set({ consumed_at_ms: arg("nowMs"), closed_as: "dismissed", closed_by: "ANNOUNCE_SKIP" })
    .where("inbox_id", "=", arg("inboxId")),
);

const queuedAnnounce = statement((db, arg: Args<{ sessionKey: string }>) =>
  db
    .selectFrom("runs")
    .select("run_id")
    .where("session_key", "=", arg("sessionKey"))
    .where("trigger", "=", "announce")
    .where("status", "=", "queued")
    .limit(1),
);

const orphanedInbox = statement((db, arg: Args<{ sessionKey: string }>) =>
  db
    .selectFrom("inbox")
    .leftJoin("runs as parent", "parent.run_id", "inbox.parent_run_id")
    .selectAll("inbox")
    .where("inbox.session_key", "=", arg("sessionKey"))
    .where("inbox.consumed_at_ms", "is", null)
    .where((build) => build.or([build("parent.status", "is", null), build("parent.status", "not in", [...openStatuses, "cancelled"])]))
    .orderBy("inbox.created_at_ms")
    .orderBy("inbox.inbox_id"),
);
