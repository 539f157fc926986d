/** How runs come to be: a caller's message, a spawn, or children's results that no run is waiting for. */
import type { Kysely } from "kysely";
import type { Ids } from "../../kit/ids.ts";
import type { RunAuthority } from "../../principal/principal.ts";
import type { Admission, ChildToSpawn, RunToAdmit, SpawnOutcome } from "../store.ts";
import { appendAudit } from "./audit.ts";
import { toRunRecord } from "./run-rows.ts";
import type { Database, RunTableRow, SessionTableRow } from "./schema.ts";
import { insertSession, openStatuses } from "./sessions.ts";

export async function admitRun(tx: Kysely<Database>, ids: Ids, run: RunToAdmit, nowMs: number): Promise<Admission> {
  const known = await findByKey(tx, run.startedBy, run.sessionKey, run.wireId);
  if (known !== undefined)
    return known.params_hash === run.paramsHash ? { kind: "replayed", run: toRunRecord(known) } : { kind: "mismatch" };

  const found = await tx.selectFrom("sessions").selectAll().where("session_key", "=", run.sessionKey).executeTakeFirst();
  const session =
    found ??
    (await insertSession(
      tx,
      { key: run.sessionKey, agentId: run.agentId, createdBy: run.startedBy, sessionId: ids.uuid(), label: run.label },
      nowMs,
    ));
  // A run that starts another elsewhere in its tree does not climb.
  const depth = Math.max(run.authority.depth, session.depth);
  const row = await insertRun(tx, ids, session, {
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
  if (row.owner === 1)
    await appendAudit(
      tx,
      { kind: "run.started-as-owner", actor: run.startedBy, subject: row.run_id, facts: { sessionKey: run.sessionKey } },
      nowMs,
    );
  return { kind: "admitted", run: toRunRecord(row), createdSession: found === undefined };
}

export async function spawnChild(tx: Kysely<Database>, ids: Ids, child: ChildToSpawn, nowMs: number): Promise<SpawnOutcome> {
  const known = await findByKey(tx, child.spawnedBy, child.parentSessionKey, child.idempotencyKey);
  if (known !== undefined)
    return known.params_hash === child.paramsHash ? { kind: "replayed", run: toRunRecord(known) } : { kind: "mismatch" };

  const found = await tx.selectFrom("sessions").selectAll().where("session_key", "=", child.parentSessionKey).executeTakeFirst();
  const parentRun = child.parentRunId === undefined ? undefined : await findRun(tx, child.parentRunId);
  if (child.parentRunId !== undefined && parentRun?.status !== "running") return { kind: "parent-ended" };
  const depth = Math.max(found?.depth ?? 0, parentRun?.depth ?? 0) + 1;
  const refusal = await findRefusal(tx, child, depth);
  if (refusal !== undefined) return refusal;

  const parent = found ?? (await insertParent(tx, ids, child, nowMs));
  const session = await insertSession(
    tx,
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
  const row = await insertRun(tx, ids, session, {
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
  await appendAudit(tx, { kind: "run.spawned", actor: child.spawnedBy, subject: row.run_id, facts }, nowMs);
  return { kind: "accepted", run: toRunRecord(row) };
}

/** Why the child may not be made, or undefined. Exact under any race: writes are one after the other. */
async function findRefusal(tx: Kysely<Database>, child: ChildToSpawn, depth: number): Promise<SpawnOutcome | undefined> {
  const { parentSessionKey, limits } = child;
  if (depth > limits.maxSpawnDepth) return { kind: "too-deep", depth: depth - 1 };
  const active = await tx
    .selectFrom("runs")
    .select(["session_key", "label"])
    .where("parent_session_key", "=", parentSessionKey)
    .where("status", "in", openStatuses)
    .execute();
  if (active.length < limits.maxChildrenPerAgent) return undefined;
  return { kind: "too-many", active: active.length, holders: active.map((row) => row.label ?? row.session_key) };
}

/** An operator may spawn for a session nobody has spoken in yet. */
function insertParent(tx: Kysely<Database>, ids: Ids, child: ChildToSpawn, nowMs: number): Promise<SessionTableRow> {
  const { parentSessionKey: key, parentAgentId: agentId, spawnedBy: createdBy } = child;
  return insertSession(tx, { key, agentId, createdBy, sessionId: ids.uuid() }, nowMs);
}

/**
 * Makes the run that reads a session's unread results when no run of it will: those of children whose parent run has
 * ended (not by cancellation) or that had none. One such run waits at a time; it reads all there is when it starts.
 */
export async function ensureAnnounceRun(tx: Kysely<Database>, ids: Ids, sessionKey: string, nowMs: number): Promise<void> {
  const session = await tx.selectFrom("sessions").selectAll().where("session_key", "=", sessionKey).executeTakeFirst();
  if (session === undefined) return;
  const queued = await tx
    .selectFrom("runs")
    .select("run_id")
    .where("session_key", "=", sessionKey)
    .where("trigger", "=", "announce")
    .where("status", "=", "queued")
    .executeTakeFirst();
  if (queued !== undefined) return;
  const oldest = await orphanedInbox(tx, sessionKey).orderBy("inbox.created_at_ms").orderBy("inbox.inbox_id").limit(1).executeTakeFirst();
  if (oldest === undefined) return;

  const child = await tx.selectFrom("runs").selectAll().where("run_id", "=", oldest.child_run_id).executeTakeFirstOrThrow();
  const parentRun =
    child.parent_run_id === null
      ? undefined
      : await tx.selectFrom("runs").selectAll().where("run_id", "=", child.parent_run_id).executeTakeFirst();
  const wireId = `announce:v1:${child.session_key}:${child.wire_id}`;
  await insertRun(tx, ids, session, {
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

/** Unread inbox rows of a session that no run of it is waiting for. */
export function orphanedInbox(db: Kysely<Database>, sessionKey: string) {
  return db
    .selectFrom("inbox")
    .leftJoin("runs as parent", "parent.run_id", "inbox.parent_run_id")
    .selectAll("inbox")
    .where("inbox.session_key", "=", sessionKey)
    .where("inbox.consumed_at_ms", "is", null)
    .where((build) => build.or([build("parent.status", "is", null), build("parent.status", "not in", [...openStatuses, "cancelled"])]));
}

function findRun(tx: Kysely<Database>, runId: string): Promise<RunTableRow | undefined> {
  return tx.selectFrom("runs").selectAll().where("run_id", "=", runId).executeTakeFirst();
}

function findByKey(tx: Kysely<Database>, startedBy: string, askedIn: string, key: string): Promise<RunTableRow | undefined> {
  return tx
    .selectFrom("runs")
    .selectAll()
    .where("started_by", "=", startedBy)
    .where("asked_in", "=", askedIn)
    .where("idempotency_key", "=", key)
    .executeTakeFirst();
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
async function insertRun(tx: Kysely<Database>, ids: Ids, session: SessionTableRow, run: NewRun): Promise<RunTableRow> {
  const { authority, nowMs, wire_id, ...columns } = run;
  const runId = ids.next("run");
  const row: RunTableRow = {
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
  };
  await tx.insertInto("runs").values(row).execute();
  await tx
    .updateTable("sessions")
    .set({ updated_at_ms: nowMs, archived_at_ms: null })
    .where("session_key", "=", session.session_key)
    .execute();
  return row;
}
