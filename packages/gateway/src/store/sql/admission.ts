/** How runs come to be: a caller's message, or a spawn. */
import type { Ids } from "../../kit/ids.ts";
import { meetLimits, unlimited } from "../../principal/lattice.ts";
import { runIdOf, withinSession } from "../../principal/principal.ts";
import type { ChildToSpawn, SpawnOutcome } from "../spawning.ts";
import type { Admission, Asked, Replay, RunToAdmit } from "../admitting.ts";
import type { Partials } from "../store.ts";
import { budgetLeftOf, insertBudget } from "./budgets.ts";
import { writeAudit } from "./audit.ts";
import { cancelRuns } from "./cancelling.ts";
import { forkTranscript } from "./forking.ts";
import { findTooManyNotes, keepNote } from "./notes.ts";
import { findRun, insertRun, toRunRecord } from "./run-rows.ts";
import type { RunTableRow, SessionTableRow } from "./schema.ts";
import { findSession, openStatuses } from "./session-rows.ts";
import { changeSession, insertSession } from "./sessions.ts";
import { type Args, type Sql, statement } from "./statement.ts";
import { budgetOf, readTerms, type StoredTerms, handedOn } from "./terms.ts";

export function admitRun(sql: Sql, ids: Ids, run: RunToAdmit, partials: Partials, nowMs: number): Admission {
  const { startedBy, sessionKey: askedIn, wireId: key, paramsHash } = run;
  const replay = findReplay(sql, { startedBy, askedIn, key, paramsHash });
  if (replay !== undefined) return replay;

  const unread = run.queueMode === "notify" ? findTooManyNotes(sql, run.sessionKey) : undefined;
  if (unread !== undefined) return { kind: "too-many-notes", unread };
  const waiting = findTooManyWaiting(sql, run);
  if (waiting !== undefined) return { kind: "too-many-waiting", waiting };
  const starter = starterOf(sql, run.startedBy);
  // What it was about to say when it was stopped would be a run of whoever lost the right to have one.
  if (runIdOf(run.startedBy) !== undefined && starter?.ended_at_ms !== null) return { kind: "starter-ended" };

  const interrupted = run.queueMode === "interrupt" ? cancelRuns(sql, ids, { sessionKey: run.sessionKey }, partials, nowMs) : [];
  const found = findSession(sql, run.sessionKey);
  const session = found === undefined ? insertSessionOf(sql, ids, run, nowMs) : changeSession(sql, found, run.session);
  // A run that starts another elsewhere in its tree does not climb.
  const depth = Math.max(run.authority.depth, session.depth);
  const inserted = insertRun(sql, ids, session, {
    wire_id: run.wireId,
    idempotency_key: run.wireId,
    asked_in: run.sessionKey,
    params_hash: run.paramsHash,
    trigger: run.job === undefined ? "message" : "cron",
    input: run.input,
    label: run.label ?? null,
    model: run.job?.model ?? session.model ?? run.defaultModel,
    authority: withinSession({ ...run.authority, depth, owner: run.authority.owner && depth === 0 }, readTerms(session.terms)),
    terms: {
      ...handedOn(readTerms(session.terms)),
      ...(run.job?.thinking === undefined ? {} : { thinking: run.job.thinking }),
      ...budgetOf(starter),
    },
    started_by: run.startedBy,
    parent_run_id: null,
    parent_session_key: null,
    timeout_ms: run.timeoutMs ?? null,
    deadline_at_ms: deadlineFor(run, starter),
    queue_mode: run.queueMode,
    nowMs,
  });
  if (inserted.owner === 1)
    writeAudit(
      sql,
      { kind: "run.started-as-owner", actor: run.startedBy, subject: inserted.run_id, facts: { sessionKey: run.sessionKey } },
      nowMs,
    );
  const admitted = run.queueMode === "notify" ? keepNote(sql, ids, inserted, nowMs) : inserted;
  return { kind: "admitted", run: toRunRecord(admitted), createdSession: found === undefined, interrupted };
}

/** More than anybody means to have answered one after the other. */
const mostWaiting = 200;

/**
 * How many wait in the session already, when that is as many as may. What interrupts ends them, a note has a bound of its own, and a
 * job has one run at most that has not ended.
 */
function findTooManyWaiting(sql: Sql, { sessionKey, queueMode, job }: RunToAdmit): number | undefined {
  if (queueMode === "interrupt" || queueMode === "notify" || job !== undefined) return undefined;
  const waiting = sql.first(countWaiting, { sessionKey })?.n ?? 0;
  return waiting >= mostWaiting ? waiting : undefined;
}

function insertSessionOf(sql: Sql, ids: Ids, run: RunToAdmit, nowMs: number): SessionTableRow {
  const { sessionKey: key, agentId, startedBy: createdBy, session: { label = run.label, model } = {} } = run;
  return insertSession(sql, { key, agentId, createdBy, sessionId: ids.orderedUuid(), label, model }, nowMs);
}

export function spawnChild(sql: Sql, ids: Ids, child: ChildToSpawn, nowMs: number): SpawnOutcome {
  const { spawnedBy: startedBy, parentSessionKey: askedIn, idempotencyKey: key, paramsHash } = child;
  const replay = findReplay(sql, { startedBy, askedIn, key, paramsHash });
  if (replay !== undefined) return replay;
  if (child.isReplayOnly === true) return { kind: "content-gone" };

  const found = findSession(sql, child.parentSessionKey);
  const parentRun = child.parentRunId === undefined ? undefined : findRun(sql, child.parentRunId);
  if (child.parentRunId !== undefined && parentRun?.status !== "running") return { kind: "parent-ended" };
  const depth = Math.max(found?.depth ?? 0, parentRun?.depth ?? 0) + 1;
  const refusal = findRefusal(sql, child, depth);
  if (refusal !== undefined) return refusal;

  // A run's own authority is within its session already.
  const within = parentRun === undefined ? { ...child, authority: withinSession(child.authority, readTerms(found?.terms ?? null)) } : child;
  const narrowed = narrowBudget(sql, within, parentRun);
  if ("kind" in narrowed) return narrowed;
  const { authority, parentBudgetId } = narrowed;
  const { limits } = authority;
  const budgetId = limits === undefined ? parentBudgetId : insertBudget(sql, ids, limits.budget, parentBudgetId);
  const parent = found ?? insertParent(sql, ids, child, nowMs);
  const session = insertSession(
    sql,
    {
      key: `agent:${child.agentId}:subagent:${ids.orderedUuid()}`,
      agentId: child.agentId,
      createdBy: child.spawnedBy,
      sessionId: ids.orderedUuid(),
      label: child.label,
      model: child.model,
      lineage: { parentKey: parent.session_key, depth, role: depth < child.limits.maxSpawnDepth ? "orchestrator" : "leaf" },
      cleanup: child.cleanup,
      terms: termsOfSession(within),
    },
    nowMs,
  );
  const fork = child.fork && forkTranscript(sql, ids, { ...child.fork, fromKey: parent.session_key, toKey: session.session_key }, nowMs);
  const inserted = insertRun(sql, ids, session, {
    wire_id: undefined,
    idempotency_key: child.idempotencyKey,
    asked_in: child.parentSessionKey,
    params_hash: child.paramsHash,
    trigger: "spawn",
    input: fork?.isForked === true && child.fork !== undefined ? child.fork.task : child.task,
    label: child.label ?? null,
    model: child.model ?? child.defaultModel,
    authority: { ...authority, owner: false, depth },
    terms: { ...child.terms, ...(fork === undefined ? {} : { fork }), ...(budgetId === undefined ? {} : { budgetId }) },
    deadline_at_ms: limits === undefined || limits.deadline === "unlimited" ? null : limits.deadline,
    started_by: child.spawnedBy,
    parent_run_id: child.parentRunId ?? null,
    parent_session_key: parent.session_key,
    timeout_ms: child.timeoutMs ?? null,
    expects_completion: (child.expectsCompletion ?? true) ? 1 : 0,
    nowMs,
  });
  const facts = { childSessionKey: session.session_key, scopes: authority.scopes, depth, ...(limits === undefined ? {} : { limits }) };
  writeAudit(sql, { kind: "run.spawned", actor: child.spawnedBy, subject: inserted.run_id, facts }, nowMs);
  return { kind: "accepted", run: toRunRecord(inserted) };
}

/** Why the child may not be made, or undefined. Exact under any race: writes are one after the other. */
function findRefusal(sql: Sql, child: ChildToSpawn, depth: number): SpawnOutcome | undefined {
  const { parentSessionKey, limits } = child;
  if (depth > limits.maxSpawnDepth) return { kind: "too-deep", depth: depth - 1 };
  const isFull = (sql.first(countOpenChildren, { parentSessionKey })?.n ?? 0) >= limits.maxChildrenPerAgent;
  const { taskName } = child.terms;
  // Who they are matters for a name, or when no more may come.
  if (taskName === undefined && !isFull) return undefined;
  const active = sql.all(openChildren, { parentSessionKey });
  const namesake = active.find((one) => taskName !== undefined && readTerms(one.terms).taskName === taskName);
  if (namesake !== undefined) return { kind: "name-taken", holder: namesake.label ?? namesake.session_key };
  if (!isFull) return undefined;
  return { kind: "too-many", active: active.length, holders: active.map((one) => one.label ?? one.session_key) };
}

interface Narrowed {
  readonly authority: ChildToSpawn["authority"];
  readonly parentBudgetId: string | undefined;
}

/** What is left of the parent's budget now is the most that a child can be given. */
function narrowBudget(sql: Sql, { authority }: ChildToSpawn, parentRun: RunTableRow | undefined): Narrowed | SpawnOutcome {
  const { budgetId: parentBudgetId } = budgetOf(parentRun);
  const left = parentRun === undefined ? undefined : budgetLeftOf(sql, parentRun.run_id);
  if (left === undefined) return { authority, parentBudgetId };
  const { tokens = "unlimited", usd = "unlimited", turns = "unlimited" } = left;
  const limits = meetLimits(authority.limits ?? unlimited, { ...unlimited, budget: { ...unlimited.budget, tokens, usd, turns } });
  const spent = (["tokens", "usd", "turns"] as const).find((dimension) => limits.budget[dimension] === 0);
  return spent === undefined ? { authority: { ...authority, limits }, parentBudgetId } : { kind: "budget-spent", dimension: spent };
}

/** The run that starts another by a message: what it starts spends from its budget. */
function starterOf(sql: Sql, startedBy: string): RunTableRow | undefined {
  const runId = runIdOf(startedBy);
  return runId === undefined ? undefined : findRun(sql, runId);
}

/** What a run asks for ends no later than the run itself. */
function deadlineFor({ authority }: RunToAdmit, starter: RunTableRow | undefined): number | null {
  const { deadline = "unlimited" } = authority.limits ?? {};
  const atMs = Math.min(starter?.deadline_at_ms ?? Infinity, deadline === "unlimited" ? Infinity : deadline);
  return atMs === Infinity ? null : atMs;
}

/** A later run in the child's session is limited as this one is, except in time and money: those are this run's own. */
function termsOfSession({ authority: { limits, policyOf }, terms }: ChildToSpawn): StoredTerms {
  const { tools, sandbox } = limits ?? unlimited;
  return {
    ...(tools === "all" && sandbox === "unconfined" ? {} : { limits: { ...unlimited, tools, sandbox } }),
    ...(policyOf === undefined ? {} : { policyOf }),
    ...handedOn(terms),
  };
}

/** An operator may spawn for a session nobody has spoken in yet. */
function insertParent(sql: Sql, ids: Ids, child: ChildToSpawn, nowMs: number): SessionTableRow {
  const { parentSessionKey: key, parentAgentId: agentId, spawnedBy: createdBy } = child;
  return insertSession(sql, { key, agentId, createdBy, sessionId: ids.orderedUuid() }, nowMs);
}

export function findReplay(sql: Sql, { startedBy, askedIn, key, paramsHash }: Asked): Replay | undefined {
  const known = sql.first(byIdempotencyKey, { startedBy, askedIn, key });
  if (known === undefined) return undefined;
  return known.params_hash === paramsHash ? { kind: "replayed", run: toRunRecord(known) } : { kind: "mismatch" };
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

const countWaiting = statement((db, arg: Args<{ sessionKey: string }>) =>
  db
    .selectFrom("runs")
    .select((build) => build.fn.countAll<number>().as("n"))
    .where("status", "=", "queued")
    .where("trigger", "!=", "spawn")
    .where("session_key", "=", arg("sessionKey")),
);

const countOpenChildren = statement((db, arg: Args<{ parentSessionKey: string }>) =>
  db
    .selectFrom("runs")
    .select((build) => build.fn.countAll<number>().as("n"))
    .where("parent_session_key", "=", arg("parentSessionKey"))
    .where("status", "in", openStatuses),
);

const openChildren = statement((db, arg: Args<{ parentSessionKey: string }>) =>
  db
    .selectFrom("runs")
    .select(["session_key", "label", "terms"])
    .where("parent_session_key", "=", arg("parentSessionKey"))
    .where("status", "in", openStatuses),
);
