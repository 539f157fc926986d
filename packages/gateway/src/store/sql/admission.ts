/** How runs come to be: a caller's message, a spawn, or children's results that no run is waiting for. */
import type { Ids } from "../../kit/ids.ts";
import type { RunAuthority } from "../../principal/principal.ts";
import type { Admission, ChildToSpawn, RunToAdmit, SpawnOutcome } from "../store.ts";
import { writeAudit } from "./audit.ts";
import { findRun, readRun, toRunRecord } from "./run-rows.ts";
import type { InboxRow, RunTableRow, SessionTableRow } from "./schema.ts";
import { findSession, openStatuses, touchSession } from "./session-rows.ts";
import { insertSession } from "./sessions.ts";
import { type Args, row, type Sql, statement } from "./statement.ts";

export function admitRun(sql: Sql, ids: Ids, run: RunToAdmit, nowMs: number): Admission {
  const known = findByKey(sql, run.startedBy, run.sessionKey, run.wireId);
  if (known !== undefined)
    return known.params_hash === run.paramsHash ? { kind: "replayed", run: toRunRecord(known) } : { kind: "mismatch" };

  const found = findSession(sql, run.sessionKey);
  const session =
    found ??
    insertSession(
      sql,
      { key: run.sessionKey, agentId: run.agentId, createdBy: run.startedBy, sessionId: ids.uuid(), label: run.label },
      nowMs,
    );
  // A run that starts another elsewhere in its tree does not climb.
  const depth = Math.max(run.authority.depth, session.depth);
  const inserted = insertRun(sql, ids, session, {
    wire_id: run.wireId,
    idempotency_key: run.wireId,
    asked_in: run.sessionKey,
    params_hash: run.paramsHash,
    trigger: "message",
    input: run.input,
    label: run.label ?? null,
    model: session.model ?? run.defaultModel,
    authority: { ...run.authority, depth, owner: run.authority.owner && depth === 0 },
    started_by: run.startedBy,
    parent_run_id: null,
    parent_session_key: null,
    timeout_ms: run.timeoutMs ?? null,
    nowMs,
  });
  if (inserted.owner === 1)
    writeAudit(
      sql,
      { kind: "run.started-as-owner", actor: run.startedBy, subject: inserted.run_id, facts: { sessionKey: run.sessionKey } },
      nowMs,
    );
  return { kind: "admitted", run: toRunRecord(inserted), createdSession: found === undefined };
}

export function spawnChild(sql: Sql, ids: Ids, child: ChildToSpawn, nowMs: number): SpawnOutcome {
  const known = findByKey(sql, child.spawnedBy, child.parentSessionKey, child.idempotencyKey);
  if (known !== undefined)
    return known.params_hash === child.paramsHash ? { kind: "replayed", run: toRunRecord(known) } : { kind: "mismatch" };

  const found = findSession(sql, child.parentSessionKey);
  const parentRun = child.parentRunId === undefined ? undefined : findRun(sql, child.parentRunId);
  if (child.parentRunId !== undefined && parentRun?.status !== "running") return { kind: "parent-ended" };
  const depth = Math.max(found?.depth ?? 0, parentRun?.depth ?? 0) + 1;
  const refusal = findRefusal(sql, child, depth);
  if (refusal !== undefined) return refusal;

  const parent = found ?? insertParent(sql, ids, child, nowMs);
  const session = insertSession(
    sql,
    {
      key: `agent:${child.agentId}:subagent:${ids.uuid()}`,
      agentId: child.agentId,
      createdBy: child.spawnedBy,
      sessionId: ids.uuid(),
      label: child.label,
      model: child.model,
      lineage: { parentKey: parent.session_key, depth, role: depth < child.limits.maxSpawnDepth ? "orchestrator" : "leaf" },
      cleanup: child.cleanup,
    },
    nowMs,
  );
  const inserted = insertRun(sql, ids, session, {
    wire_id: undefined,
    idempotency_key: child.idempotencyKey,
    asked_in: child.parentSessionKey,
    params_hash: child.paramsHash,
    trigger: "spawn",
    input: child.task,
    label: child.label ?? null,
    model: child.model ?? child.defaultModel,
    authority: { scopes: child.scopes, owner: false, depth },
    started_by: child.spawnedBy,
    parent_run_id: child.parentRunId ?? null,
    parent_session_key: parent.session_key,
    timeout_ms: child.timeoutMs ?? null,
    nowMs,
  });
  const facts = { childSessionKey: session.session_key, scopes: child.scopes, depth };
  writeAudit(sql, { kind: "run.spawned", actor: child.spawnedBy, subject: inserted.run_id, facts }, nowMs);
  return { kind: "accepted", run: toRunRecord(inserted) };
}

/** Why the child may not be made, or undefined. Exact under any race: writes are one after the other. */
function findRefusal(sql: Sql, child: ChildToSpawn, depth: number): SpawnOutcome | undefined {
  const { parentSessionKey, limits } = child;
  if (depth > limits.maxSpawnDepth) return { kind: "too-deep", depth: depth - 1 };
  const active = sql.all(openChildren, { parentSessionKey });
  if (active.length < limits.maxChildrenPerAgent) return undefined;
  return { kind: "too-many", active: active.length, holders: active.map((one) => one.label ?? one.session_key) };
}

/** An operator may spawn for a session nobody has spoken in yet. */
function insertParent(sql: Sql, ids: Ids, child: ChildToSpawn, nowMs: number): SessionTableRow {
  const { parentSessionKey: key, parentAgentId: agentId, spawnedBy: createdBy } = child;
  return insertSession(sql, { key, agentId, createdBy, sessionId: ids.uuid() }, nowMs);
}

/**
 * Makes the run that reads a session's unread results when no run of it will: those of children whose parent run has
 * ended (not by cancellation) or that had none. One such run waits at a time; it reads all there is when it starts.
 */
export function ensureAnnounceRun(sql: Sql, ids: Ids, sessionKey: string, nowMs: number): void {
  const oldest = sql.first(orphanedInbox, { sessionKey });
  if (oldest === undefined || sql.first(queuedAnnounce, { sessionKey }) !== undefined) return;
  const session = findSession(sql, sessionKey);
  if (session === undefined) return;

  const child = readRun(sql, oldest.child_run_id);
  const parentRun = child.parent_run_id === null ? undefined : findRun(sql, child.parent_run_id);
  const wireId = `announce:v1:${child.session_key}:${child.wire_id}`;
  insertRun(sql, ids, session, {
    wire_id: wireId,
    idempotency_key: wireId,
    asked_in: sessionKey,
    params_hash: "",
    trigger: "announce",
    input: "",
    label: null,
    model: session.model ?? (parentRun ?? child).model,
    authority: { scopes: JSON.parse((parentRun ?? child).scopes) as string[], owner: false, depth: session.depth },
    started_by: child.started_by,
    parent_run_id: null,
    parent_session_key: null,
    timeout_ms: null,
    nowMs,
  });
}

/** Unread results in a session that no run of it is waiting for, oldest first. */
export function listOrphanedInbox(sql: Sql, sessionKey: string): InboxRow[] {
  return sql.all(orphanedInbox, { sessionKey });
}

function findByKey(sql: Sql, startedBy: string, askedIn: string, key: string): RunTableRow | undefined {
  return sql.first(byIdempotencyKey, { startedBy, askedIn, key });
}

type NewRun = Pick<
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
> & { wire_id: string | undefined; authority: RunAuthority; nowMs: number };

/** `wire_id` undefined: the run's own id. */
function insertRun(sql: Sql, ids: Ids, session: SessionTableRow, run: NewRun): RunTableRow {
  const { authority, nowMs, wire_id, ...columns } = run;
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
    deadline_at_ms: null,
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
  };
  sql.run(insertRow, inserted);
  touchSession(sql, session.session_key, nowMs, { unarchive: true });
  return inserted;
}

// ---- statements

const byIdempotencyKey = statement((db, arg: Args<{ startedBy: string; askedIn: string; key: string }>) =>
  db
    .selectFrom("runs")
    .selectAll()
    .where("started_by", "=", arg("startedBy"))
    .where("asked_in", "=", arg("askedIn"))
    .where("idempotency_key", "=", arg("key")),
);

const openChildren = statement((db, arg: Args<{ parentSessionKey: string }>) =>
  db
    .selectFrom("runs")
    .select(["session_key", "label"])
    .where("parent_session_key", "=", arg("parentSessionKey"))
    .where("status", "in", openStatuses),
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
    }),
  ),
);
