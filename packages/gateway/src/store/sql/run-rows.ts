/** Run rows: to records and back, and the few statements that several files share. */
import type { Usage } from "@portreeve/protocol";
import type { JournalEntry } from "../journal.ts";
import type { Ending, RunRecord } from "../store.ts";
import type { JournalRow, RunTableRow } from "./schema.ts";
import { type Args, row, type Sql, statement } from "./statement.ts";

export function toRunRecord(run: RunTableRow): RunRecord {
  return {
    runId: run.run_id,
    wireId: run.wire_id,
    sessionKey: run.session_key,
    sessionId: run.session_id,
    rootSessionKey: run.root_session_key,
    agentId: run.agent_id,
    trigger: run.trigger,
    input: run.input,
    label: run.label ?? undefined,
    model: run.model,
    authority: { scopes: JSON.parse(run.scopes) as string[], owner: run.owner === 1, depth: run.depth },
    startedBy: run.started_by,
    parentRunId: run.parent_run_id ?? undefined,
    parentSessionKey: run.parent_session_key ?? undefined,
    status: run.status,
    deadlineAtMs: run.deadline_at_ms ?? undefined,
    createdAtMs: run.created_at_ms,
    startedAtMs: run.started_at_ms ?? undefined,
    endedAtMs: run.ended_at_ms ?? undefined,
    ending: run.ending === null ? undefined : toEnding(run.ending),
    usage: toUsage(run),
    costMicroUsd: run.unpriced_calls === 0 ? run.cost_micro_usd : undefined,
  };
}

function toUsage({
  usage_input: input,
  usage_output: output,
  usage_cache_read: cacheRead,
  usage_cache_write: cacheWrite,
}: RunTableRow): Usage {
  return {
    input,
    output,
    ...(cacheRead + cacheWrite === 0 ? {} : { cacheRead, cacheWrite }),
    totalTokens: input + output + cacheRead + cacheWrite,
  };
}

function toEnding(text: string): Omit<Ending, "outcome"> {
  const { text: said, error, stopReason } = JSON.parse(text) as { text: string; error?: string; stopReason: string };
  return { text: said, error, stopReason };
}

export function findRun(sql: Sql, runId: string): RunTableRow | undefined {
  return sql.first(byId, { runId });
}

/** @throws when there is none: only for ids that stand in another row. */
export function readRun(sql: Sql, runId: string): RunTableRow {
  const found = findRun(sql, runId);
  if (found === undefined) throw new Error(`there is no run ${runId}`);
  return found;
}

export function readJournal(sql: Sql, runId: string): readonly JournalEntry[] {
  return sql.all(journalOf, { runId }).map((one) => JSON.parse(one.entry) as JournalEntry);
}

export function appendEntries(sql: Sql, runId: string, epoch: number, entries: readonly JournalEntry[], nowMs: number): void {
  if (entries.length === 0) return;
  let seq = sql.first(lastSeq, { runId })?.seq ?? 0;
  for (const entry of entries) {
    seq += 1;
    sql.run(insertEntry, { run_id: runId, seq, epoch, at_ms: nowMs, entry: JSON.stringify(entry) });
  }
}

/** The run as long as it is claimed under `epoch`: the fence every worker's write passes. */
export function findHeld(sql: Sql, runId: string, epoch: number): RunTableRow | undefined {
  const found = findRun(sql, runId);
  return found?.epoch === epoch && found.status === "running" ? found : undefined;
}

const byId = statement((db, arg: Args<{ runId: string }>) => db.selectFrom("runs").selectAll().where("run_id", "=", arg("runId")));

const journalOf = statement((db, arg: Args<{ runId: string }>) =>
  db.selectFrom("journal").select("entry").where("run_id", "=", arg("runId")).orderBy("seq"),
);

const lastSeq = statement((db, arg: Args<{ runId: string }>) =>
  db.selectFrom("journal").select("seq").where("run_id", "=", arg("runId")).orderBy("seq", "desc").limit(1),
);

const insertEntry = statement((db, arg: Args<JournalRow>) =>
  db.insertInto("journal").values(row(arg, { run_id: true, seq: true, epoch: true, at_ms: true, entry: true })),
);
