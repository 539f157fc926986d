/** Messages that start no turn: the run of each ends at once, and its text waits for the next turn of the session. */
import type { Ids } from "../../kit/ids.ts";
import { mayActAs, runIdOf } from "../../principal/principal.ts";
import { markAbsorbed, type Said, toSaid } from "./absorbing.ts";
import { writeEnding } from "./ending.ts";
import { toRunRecord } from "./run-rows.ts";
import type { NoteRow, RunTableRow } from "./schema.ts";
import { type Args, row, type Sql, statement } from "./statement.ts";

/** More than a turn should be made to read before what it is asked. */
const mostUnread = 20;

/** How many wait there already, when that is as many as may. */
export function findTooManyNotes(sql: Sql, sessionKey: string): number | undefined {
  const unread = sql.first(countNotes, { sessionKey })?.n ?? 0;
  return unread >= mostUnread ? unread : undefined;
}

export function keepNote(sql: Sql, ids: Ids, run: RunTableRow, nowMs: number): RunTableRow {
  sql.run(insertNote, { run_id: run.run_id, session_key: run.session_key });
  return writeEnding(sql, ids, run, { outcome: "succeeded", text: "", error: undefined, stopReason: "noted" }, [], nowMs);
}

/**
 * The session's notes, oldest first, for a turn of `reader` alone. What an agent wrote is quoted, and data to whoever
 * reads it; what a person wrote is put only to a run that may do no more than that person.
 */
export function takeNotes(sql: Sql, reader: RunTableRow): readonly Said[] {
  const notes = sql.all(notesOf, { sessionKey: reader.session_key });
  if (notes.length === 0) return [];
  const { authority } = toRunRecord(reader);
  const readable = notes.filter((note) => runIdOf(note.started_by) !== undefined || mayActAs(toRunRecord(note).authority, authority));
  for (const { run_id: runId } of readable) {
    sql.run(markAbsorbed, { runId, by: reader.run_id });
    sql.run(deleteNote, { runId });
  }
  return readable.map(toSaid).map(({ wireId: _run, ...said }) => said);
}

// ---- statements

const countNotes = statement((db, arg: Args<{ sessionKey: string }>) =>
  db
    .selectFrom("notes")
    .select((build) => build.fn.countAll<number>().as("n"))
    .where("session_key", "=", arg("sessionKey")),
);

const insertNote = statement((db, arg: Args<NoteRow>) => db.insertInto("notes").values(row(arg, { run_id: true, session_key: true })));

const notesOf = statement((db, arg: Args<{ sessionKey: string }>) =>
  db
    .selectFrom("notes")
    .innerJoin("runs", "runs.run_id", "notes.run_id")
    .selectAll("runs")
    .where("notes.session_key", "=", arg("sessionKey"))
    .orderBy("runs.created_at_ms")
    .orderBy("runs.run_id"),
);

const deleteNote = statement((db, arg: Args<{ runId: string }>) => db.deleteFrom("notes").where("run_id", "=", arg("runId")));
