/** Run rows: to records and back, and the few statements that several files share. */
import type { Usage } from "@portreeve/protocol";
import type { Ids } from "../../kit/ids.ts";
import type { RunAuthority } from "../../principal/principal.ts";
import type { JournalEntry } from "../journal.ts";
import type { RunTerms } from "../spawning.ts";
import type { Ending, RunRecord } from "../store.ts";
import type { JournalRow, RunTableRow, SessionTableRow } from "./schema.ts";
import { touchSession } from "./session-rows.ts";
import { limitsOf, readTerms, type StoredTerms, writeTerms } from "./terms.ts";
import { type Args, row, type Sql, statement } from "./statement.ts";

export function toRunRecord(run: RunTableRow): RunRecord {
  const { limits: _limits, policyOf: _policyOf, budgetId: _budgetId, ...terms } = readTerms(run.terms);
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
    authority: { scopes: readScopes(run.scopes), owner: run.owner === 1, depth: run.depth, ...limitsOf(readTerms(run.terms)) },
    terms,
    startedBy: run.started_by,
    parentRunId: run.parent_run_id ?? undefined,
    parentSessionKey: run.parent_session_key ?? undefined,
    expectsCompletion: run.expects_completion === 1,
    status: run.status,
    timeoutMs: run.timeout_ms ?? undefined,
    deadlineAtMs: run.deadline_at_ms ?? undefined,
    createdAtMs: run.created_at_ms,
    startedAtMs: run.started_at_ms ?? undefined,
    endedAtMs: run.ended_at_ms ?? undefined,
    ending: run.ending === null ? undefined : readEnding(run.ending),
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

/** Scopes that cannot be read are none. */
export function readScopes(text: string): readonly string[] {
  try {
    return JSON.parse(text) as string[];
  } catch {
    return [];
  }
}

function readEnding(text: string): NonNullable<RunRecord["ending"]> {
  try {
    const { text: said, error, stopReason, eventSeq } = JSON.parse(text) as Ending;
    return { text: said, error, stopReason, ...(eventSeq === undefined ? {} : { eventSeq }) };
  } catch {
    return { text: "", error: "how the run ended cannot be read", stopReason: "corrupt" };
  }
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

export type NewRun = Pick<
  RunTableRow,
  | "idempotency_key"
  | "asked_in"
  | "params_hash"
  | "trigger"
  | "input"
  | "label"
  | "model"
  | "started_by"
  | "parent_run_id"
  | "parent_session_key"
  | "timeout_ms"
> & {
  queue_mode?: RunTableRow["queue_mode"];
  wire_id: string | undefined;
  authority: RunAuthority;
  terms: RunTerms & Pick<StoredTerms, "budgetId">;
  deadline_at_ms?: number | null;
  expects_completion?: number;
  nowMs: number;
};

/** Queues a run. `wire_id` undefined: the run's own id. */
export function insertRun(sql: Sql, ids: Ids, session: SessionTableRow, run: NewRun): RunTableRow {
  const { authority, terms, nowMs, wire_id, ...columns } = run;
  const runId = ids.next("run");
  const inserted: RunTableRow = {
    ...columns,
    run_id: runId,
    wire_id: wire_id ?? runId,
    session_key: session.session_key,
    session_id: session.session_id,
    root_session_key: session.root_key,
    agent_id: session.agent_id,
    scopes: JSON.stringify(authority.scopes),
    owner: authority.owner ? 1 : 0,
    depth: authority.depth,
    status: "queued",
    lease_owner: null,
    lease_until_ms: null,
    epoch: 0,
    deadline_at_ms: run.deadline_at_ms ?? null,
    created_at_ms: nowMs,
    started_at_ms: null,
    ended_at_ms: null,
    ending: null,
    usage_input: 0,
    usage_output: 0,
    usage_cache_read: 0,
    usage_cache_write: 0,
    cost_micro_usd: 0,
    unpriced_calls: 0,
    expects_completion: run.expects_completion ?? 1,
    terms: writeTerms({ ...limitsOf(authority), ...terms }),
    queue_mode: run.queue_mode ?? "followup",
    absorbed_by: null,
    takeovers: 0,
  };
  sql.run(insertRow, inserted);
  if (session.updated_at_ms < nowMs || session.archived_at_ms !== null) touchSession(sql, session.session_key, nowMs, { unarchive: true });
  return inserted;
}

/** A stored row that cannot be read: what depends on it is given up by name, and the rest goes on. */
export class CorruptRowError extends Error {
  override readonly name = "CorruptRowError";
}

/** @throws CorruptRowError */
export function readJournal(sql: Sql, runId: string): readonly JournalEntry[] {
  return sql.all(journalOf, { runId }).map(({ seq, entry: text }) => {
    const entry = parseEntry(text);
    if (entry === undefined) throw new CorruptRowError(`entry ${seq} of the journal of ${runId} cannot be read`);
    return entry;
  });
}

/** Undefined also when it cannot be read. */
export function readLastEntry(sql: Sql, runId: string): JournalEntry | undefined {
  const last = sql.first(lastEntry, { runId });
  return last === undefined ? undefined : parseEntry(last.entry);
}

/** Undefined when it cannot be read. */
export function parseEntry(text: string): JournalEntry | undefined {
  try {
    return JSON.parse(text) as JournalEntry;
  } catch {
    return undefined;
  }
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
  db.selectFrom("journal").select(["seq", "entry"]).where("run_id", "=", arg("runId")).orderBy("seq"),
);

const lastEntry = statement((db, arg: Args<{ runId: string }>) =>
  db.selectFrom("journal").select("entry").where("run_id", "=", arg("runId")).orderBy("seq", "desc").limit(1),
);

const lastSeq = statement((db, arg: Args<{ runId: string }>) =>
  db.selectFrom("journal").select("seq").where("run_id", "=", arg("runId")).orderBy("seq", "desc").limit(1),
);

const insertEntry = statement((db, arg: Args<JournalRow>) =>
  db.insertInto("journal").values(row(arg, { run_id: true, seq: true, epoch: true, at_ms: true, entry: true })),
);

const insertRow = statement((db, arg: Args<RunTableRow>) =>
  db.insertInto("runs").values(
    row(arg, {
      run_id: true,
      wire_id: true,
      idempotency_key: true,
      asked_in: true,
      params_hash: true,
      session_key: true,
      session_id: true,
      root_session_key: true,
      agent_id: true,
      trigger: true,
      input: true,
      label: true,
      model: true,
      scopes: true,
      owner: true,
      depth: true,
      started_by: true,
      parent_run_id: true,
      parent_session_key: true,
      status: true,
      lease_owner: true,
      lease_until_ms: true,
      epoch: true,
      timeout_ms: true,
      deadline_at_ms: true,
      created_at_ms: true,
      started_at_ms: true,
      ended_at_ms: true,
      ending: true,
      usage_input: true,
      usage_output: true,
      usage_cache_read: true,
      usage_cache_write: true,
      cost_micro_usd: true,
      unpriced_calls: true,
      expects_completion: true,
      terms: true,
      queue_mode: true,
      absorbed_by: true,
      takeovers: true,
    }),
  ),
);
