/** Sessions that are emptied, deleted or spoken into from outside: none of it while a run of theirs has not ended. */
import { sql as raw } from "kysely";
import type { Ids } from "../../kit/ids.ts";
import type { MeantSession, SessionStore, TranscriptMessage } from "../store.ts";
import { writeAudit } from "./audit.ts";
import { appendMessages } from "./messages.ts";
import type { SessionTableRow } from "./schema.ts";
import { findSession, openStatuses } from "./session-rows.ts";
import { type Args, type Sql, statement } from "./statement.ts";

interface Asked {
  readonly key: string;
  readonly by: string;
  readonly meant: MeantSession;
}

/** Answers the session as it is now, or why nothing was done. */
export function resetSession(
  sql: Sql,
  ids: Ids,
  { key, meant, by }: Asked,
  nowMs: number,
): SessionTableRow | Exclude<Awaited<ReturnType<SessionStore["reset"]>>, { kind: "reset" }> {
  const before = findSession(sql, key);
  if (before === undefined) return { kind: "missing" };
  if (!isMeant(before, meant)) return { kind: "other" };
  if (sql.first(openRun, { key }) !== undefined) return { kind: "busy" };
  const session: SessionTableRow = { ...before, session_id: ids.orderedUuid(), updated_at_ms: nowMs, archived_at_ms: null };
  sql.run(emptyTranscript, { key });
  sql.run(forgetSummaries, { key });
  sql.run(dismissUnread, { key, by, nowMs });
  sql.run(forgetNotes, { key });
  eraseRuns(sql, key);
  sql.query((db) => db.updateTable("sessions").set(session).where("session_key", "=", key));
  const facts = { from: before.session_id, to: session.session_id };
  writeAudit(sql, { kind: "session.reset", actor: by, subject: key, facts }, nowMs);
  return session;
}

export function deleteSession(sql: Sql, { key, meant, by }: Asked, nowMs: number): Awaited<ReturnType<SessionStore["delete"]>> {
  const before = findSession(sql, key);
  if (before !== undefined && !isMeant(before, meant)) return "other";
  if (sql.first(openRun, { key }) !== undefined) return "busy";
  if (sql.run(deleteRow, { key }) === 0) return "missing";
  // The result of a child that was to be deleted belongs to its parent's conversation, and stays in sight.
  if (before?.cleanup === "keep") eraseRuns(sql, key);
  writeAudit(sql, { kind: "session.deleted", actor: by, subject: key, facts: {} }, nowMs);
  return "deleted";
}

/** What was asked and said in a session that is emptied or deleted is not kept by its runs either: who ran, when and at what cost is. */
function eraseRuns(sql: Sql, key: string): void {
  sql.run(eraseJournals, { key });
  sql.run(eraseTexts, { key });
}

export function injectMessage(
  sql: Sql,
  ids: Ids,
  { key, message, by }: { readonly key: string; readonly message: TranscriptMessage; readonly by: string },
  nowMs: number,
): Awaited<ReturnType<SessionStore["inject"]>> {
  if (findSession(sql, key) === undefined) return { kind: "missing" };
  if (sql.first(openRun, { key }) !== undefined) return { kind: "busy" };
  const [messageId = ""] = appendMessages(sql, key, [message], ids, nowMs);
  writeAudit(sql, { kind: "session.injected", actor: by, subject: key, facts: { messageId } }, nowMs);
  return { kind: "injected", messageId };
}

export function isMeant(session: SessionTableRow, { sessionId = session.session_id, isArchived }: MeantSession): boolean {
  return session.session_id === sessionId && (isArchived === undefined || session.archived_at_ms !== null);
}

// ---- statements

const openRun = statement((db, arg: Args<{ key: string }>) =>
  db.selectFrom("runs").select("run_id").where("session_key", "=", arg("key")).where("status", "in", openStatuses).limit(1),
);

const deleteRow = statement((db, arg: Args<{ key: string }>) => db.deleteFrom("sessions").where("session_key", "=", arg("key")));

const eraseJournals = statement((db, arg: Args<{ key: string }>) =>
  db
    .deleteFrom("journal")
    .where("run_id", "in", (build) => build.selectFrom("runs").select("run_id").where("session_key", "=", arg("key"))),
);

const eraseTexts = statement((db, arg: Args<{ key: string }>) =>
  db
    .updateTable("runs")
    .set({ input: "", label: null, ending: raw<string>`json_remove(json_set(ending, '$.text', ''), '$.error', '$.schemaError')` })
    .where("session_key", "=", arg("key"))
    .where(raw<boolean>`json_valid(ending)`),
);

const emptyTranscript = statement((db, arg: Args<{ key: string }>) => db.deleteFrom("messages").where("session_key", "=", arg("key")));

const forgetSummaries = statement((db, arg: Args<{ key: string }>) => db.deleteFrom("compactions").where("session_key", "=", arg("key")));

const forgetNotes = statement((db, arg: Args<{ key: string }>) => db.deleteFrom("notes").where("session_key", "=", arg("key")));

const dismissUnread = statement((db, arg: Args<{ key: string; by: string; nowMs: number }>) =>
  db
    .updateTable("inbox")
    .set({ closed_as: "dismissed", closed_by: arg("by"), consumed_at_ms: arg("nowMs") })
    .where("session_key", "=", arg("key"))
    .where("consumed_at_ms", "is", null),
);
