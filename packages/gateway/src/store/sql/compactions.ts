/** Compactions in SQL: what a model reads of a transcript, and the summaries that shorten it. */
import type { JournalEntry } from "../journal.ts";
import type { CompactionStore, HandMade, SessionView } from "../compactions.ts";
import { settle } from "./budgets.ts";
import { toMessage } from "./messages.ts";
import type { CompactionRow } from "./schema.ts";
import { findSession } from "./session-rows.ts";
import { type Args, row, type Sql, statement } from "./statement.ts";
import { charge } from "./usage.ts";

export function readView(sql: Sql, key: string): SessionView {
  const found = findSession(sql, key);
  const session = found === undefined ? undefined : { sessionId: found.session_id, agentId: found.agent_id };
  const newest = sql.first(newestCompaction, { key });
  const messages = sql.all(messagesAfter, { key, seq: newest?.through_seq ?? 0 }).map(toMessage);
  if (newest === undefined) return { session, summary: undefined, pinned: undefined, messages };
  const pinned = newest.pinned_seq === null ? undefined : sql.first(messageAt, { key, seq: newest.pinned_seq });
  const summary = { text: newest.summary, throughSeq: newest.through_seq };
  return { session, summary, pinned: pinned === undefined ? undefined : toMessage(pinned), messages };
}

/** Keeps the compactions among `entries`, in the transaction of their entries. */
export function recordCompactions(
  sql: Sql,
  at: { readonly sessionKey: string; readonly runId: string | null; readonly nowMs: number },
  entries: readonly JournalEntry[],
): void {
  for (const entry of entries) {
    if (entry.kind !== "compacted") continue;
    const { throughSeq: through_seq, pinnedSeq: pinned_seq = null, summary } = entry;
    sql.run(insertRow, { session_key: at.sessionKey, through_seq, pinned_seq, summary, run_id: at.runId, at_ms: at.nowMs });
  }
}

export function compactSession(
  sql: Sql,
  key: string,
  { entry, model, session, sawThroughSeq, reservation }: HandMade,
  nowMs: number,
): Awaited<ReturnType<CompactionStore["compact"]>> {
  // The call was made, whatever becomes of what it said and of the session that it was made for.
  if (session !== undefined) {
    const { sessionId: session_id, agentId: agent_id } = session;
    charge(sql, { run_id: "", session_key: key, session_id, agent_id, model }, [entry], nowMs);
  }
  if (reservation !== undefined) settle(sql, reservation, [entry]);
  const found = findSession(sql, key);
  if (found === undefined) return "missing";
  if (found.session_id !== session?.sessionId) return "overtaken";
  if (sql.first(newestCompaction, { key })?.through_seq !== sawThroughSeq) return "overtaken";
  recordCompactions(sql, { sessionKey: key, runId: null, nowMs }, [entry]);
  return "kept";
}

// ---- statements

const newestCompaction = statement((db, arg: Args<{ key: string }>) =>
  db.selectFrom("compactions").selectAll().where("session_key", "=", arg("key")).orderBy("through_seq", "desc").limit(1),
);

const messagesAfter = statement((db, arg: Args<{ key: string; seq: number }>) =>
  db.selectFrom("messages").selectAll().where("session_key", "=", arg("key")).where("seq", ">", arg("seq")).orderBy("seq"),
);

const messageAt = statement((db, arg: Args<{ key: string; seq: number }>) =>
  db.selectFrom("messages").selectAll().where("session_key", "=", arg("key")).where("seq", "=", arg("seq")),
);

const insertRow = statement((db, arg: Args<CompactionRow>) =>
  db
    .insertInto("compactions")
    .values(row(arg, { session_key: true, through_seq: true, pinned_seq: true, summary: true, run_id: true, at_ms: true }))
    // By hand and by a run at once: the first one stands.
    .onConflict((conflict) => conflict.doNothing()),
);
