/** Messages for a busy session: taken into the turn of the run that works there, or collected into one turn. */
import type { Ids } from "../../kit/ids.ts";
import { mayActAs, runIdOf } from "../../principal/principal.ts";
import type { JournalEntry } from "../journal.ts";
import { messageKeyOf } from "../compactions.ts";
import type { RunRecord, RunStore, TranscriptMessage } from "../store.ts";
import { writeEnding } from "./ending.ts";
import { appendMessages } from "./messages.ts";
import { appendEntries, findHeld, toRunRecord } from "./run-rows.ts";
import type { RunTableRow } from "./schema.ts";
import { type Args, type Sql, statement } from "./statement.ts";

/** Queued messages that `run` may take in: their senders may do all that the run may. */
export function listAbsorbable(sql: Sql, run: RunTableRow, mode: "steer" | "collect"): readonly RunTableRow[] {
  const queued = sql.all(queuedInMode, { sessionKey: run.session_key, mode }).filter((one) => one.run_id !== run.run_id);
  if (queued.length === 0) return queued;
  const { authority } = toRunRecord(run);
  return queued.filter((one) => mayActAs(toRunRecord(one).authority, authority));
}

/** Whether a run of the session waits that will take the steering message `queued` in. */
export function isAwaited(sql: Sql, queued: RunTableRow): boolean {
  if (queued.queue_mode !== "steer") return false;
  return sql
    .all(waitingInSession, { sessionKey: queued.session_key })
    .some((one) => listAbsorbable(sql, one, "steer").some((other) => other.run_id === queued.run_id));
}

/** Ends the run of a message that `by` has taken in. */
export function endAbsorbed(sql: Sql, ids: Ids, absorbed: RunTableRow, by: string, nowMs: number): RunRecord {
  const stopReason = absorbed.queue_mode === "steer" ? "steered" : "collected";
  const ended = writeEnding(sql, ids, absorbed, { outcome: "succeeded", text: "", error: undefined, stopReason }, [], nowMs);
  sql.run(markAbsorbed, { runId: absorbed.run_id, by });
  return toRunRecord(ended);
}

export function toSteeredEntry(absorbed: readonly RunTableRow[]): JournalEntry {
  return { kind: "steered", messages: absorbed.map((one) => ({ runId: one.run_id, from: one.started_by, text: one.input })) };
}

/** What a user message says, the run it came as, where it came from a caller, and what wrote it, where that is no order. */
export interface Said extends Pick<TranscriptMessage, "origin"> {
  readonly text: string;
  readonly wireId?: string;
}

export function toUserMessage({ text, wireId, origin }: Said, nowMs: number): TranscriptMessage {
  const key = wireId === undefined ? {} : { idempotencyKey: messageKeyOf({ wireId }) };
  return { role: "user", content: [{ type: "text", text }], timestamp: nowMs, ...key, ...(origin === undefined ? {} : { origin }) };
}

export function toSaid({ input: text, trigger, wire_id: wireId, started_by }: RunTableRow): Said {
  if (trigger !== "message") return { text };
  return { text, wireId, ...(runIdOf(started_by) === undefined ? {} : { origin: "agent" }) };
}

/** Takes the session's steering messages into a run that is between two steps. */
export function absorbSteering(
  sql: Sql,
  ids: Ids,
  at: { readonly runId: string; readonly epoch: number; readonly nowMs: number },
): Awaited<ReturnType<RunStore["absorb"]>> {
  const held = findHeld(sql, at.runId, at.epoch);
  if (held === undefined) return { kind: "lost" };
  const absorbable = listAbsorbable(sql, held, "steer");
  if (absorbable.length === 0) return { kind: "nothing" };
  const entry = toSteeredEntry(absorbable);
  const messages = absorbable.map((one) => toUserMessage(toSaid(one), at.nowMs));
  appendEntries(sql, at.runId, at.epoch, [entry], at.nowMs);
  appendMessages(sql, held.session_key, messages, ids, at.nowMs);
  return { kind: "absorbed", entry, messages, runs: absorbable.map((one) => endAbsorbed(sql, ids, one, at.runId, at.nowMs)) };
}

/** Whether `absorb` might find something: asked before each call of the model, without a write. */
export function hasSteering(sql: Sql, sessionKey: string): boolean {
  return sql.first(queuedInMode, { sessionKey, mode: "steer" }) !== undefined;
}

// ---- statements

const queuedInMode = statement((db, arg: Args<{ sessionKey: string; mode: RunTableRow["queue_mode"] }>) =>
  db
    .selectFrom("runs")
    .selectAll()
    .where("session_key", "=", arg("sessionKey"))
    .where("status", "=", "queued")
    .where("queue_mode", "=", arg("mode"))
    .orderBy("created_at_ms")
    .orderBy("run_id"),
);

const waitingInSession = statement((db, arg: Args<{ sessionKey: string }>) =>
  db.selectFrom("runs").selectAll().where("session_key", "=", arg("sessionKey")).where("status", "=", "waiting"),
);

export const markAbsorbed = statement((db, arg: Args<{ runId: string; by: string }>) =>
  db
    .updateTable("runs")
    .set({ absorbed_by: arg("by") })
    .where("run_id", "=", arg("runId")),
);
