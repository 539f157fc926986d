/** Run rows: to records and back, and the few reads that several statements share. */
import type { Kysely } from "kysely";
import type { JournalEntry } from "../journal.ts";
import type { Ending, RunRecord } from "../store.ts";
import type { Database, RunTableRow } from "./schema.ts";

export function toRunRecord(row: RunTableRow): RunRecord {
  return {
    runId: row.run_id,
    wireId: row.wire_id,
    sessionKey: row.session_key,
    sessionId: row.session_id,
    rootSessionKey: row.root_session_key,
    agentId: row.agent_id,
    trigger: row.trigger,
    input: row.input,
    label: row.label ?? undefined,
    model: row.model,
    authority: { scopes: JSON.parse(row.scopes) as string[], owner: row.owner === 1, depth: row.depth },
    startedBy: row.started_by,
    parentRunId: row.parent_run_id ?? undefined,
    parentSessionKey: row.parent_session_key ?? undefined,
    status: row.status,
    deadlineAtMs: row.deadline_at_ms ?? undefined,
    createdAtMs: row.created_at_ms,
    startedAtMs: row.started_at_ms ?? undefined,
    endedAtMs: row.ended_at_ms ?? undefined,
    ending: row.ending === null ? undefined : toEnding(row.ending),
    usage: { input: row.usage_input, output: row.usage_output, totalTokens: row.usage_input + row.usage_output },
  };
}

function toEnding(text: string): Omit<Ending, "outcome"> {
  const { text: said, error, stopReason } = JSON.parse(text) as { text: string; error?: string; stopReason: string };
  return { text: said, error, stopReason };
}

export async function readRun(db: Kysely<Database>, runId: string): Promise<RunTableRow> {
  return db.selectFrom("runs").selectAll().where("run_id", "=", runId).executeTakeFirstOrThrow();
}

export async function readJournal(db: Kysely<Database>, runId: string): Promise<readonly JournalEntry[]> {
  const rows = await db.selectFrom("journal").select("entry").where("run_id", "=", runId).orderBy("seq").execute();
  return rows.map((row) => JSON.parse(row.entry) as JournalEntry);
}

export async function appendEntries(
  tx: Kysely<Database>,
  runId: string,
  epoch: number,
  entries: readonly JournalEntry[],
  nowMs: number,
): Promise<void> {
  if (entries.length === 0) return;
  const last = await tx.selectFrom("journal").select("seq").where("run_id", "=", runId).orderBy("seq", "desc").limit(1).executeTakeFirst();
  const first = (last?.seq ?? 0) + 1;
  await tx
    .insertInto("journal")
    .values(entries.map((entry, index) => ({ run_id: runId, seq: first + index, epoch, at_ms: nowMs, entry: JSON.stringify(entry) })))
    .execute();
}

/** Whether the run is still claimed under `epoch`: the fence every worker's write passes. */
export async function holds(tx: Kysely<Database>, runId: string, epoch: number): Promise<boolean> {
  const row = await tx
    .selectFrom("runs")
    .select("run_id")
    .where("run_id", "=", runId)
    .where("epoch", "=", epoch)
    .where("status", "=", "running")
    .executeTakeFirst();
  return row !== undefined;
}
