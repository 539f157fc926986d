/** One time of a job: the run that it starts, or what kept it from starting, and the next time, in one transaction. */
import { covers } from "@portreeve/protocol";
import type { Ids } from "../../kit/ids.ts";
import { withinScopes } from "../../principal/principal.ts";
import { cronBounds, type CronFireAsk, type CronFired, type CronJobRecord } from "../cron-store.ts";
import { ceilingOf, liveGrant } from "../grants.ts";
import type { RunRecord } from "../store.ts";
import { admitRun } from "./admission.ts";
import { writeAudit } from "./audit.ts";
import { deviceIsGone, findJob, toJobRecord, toReadableJob, writeJob } from "./cron-rows.ts";
import { readState } from "./device-rows.ts";
import { findRun } from "./run-rows.ts";
import type { CronFireRow, CronJobRow } from "./schema.ts";
import { openStatuses } from "./session-rows.ts";
import { type Args, row, type Sql, statement } from "./statement.ts";

export function fireJob(sql: Sql, ids: Ids, ask: CronFireAsk, nowMs: number): CronFired {
  const job = findJob(sql, ask.jobId);
  if (job === undefined || !isDue(job, ask, nowMs)) return { kind: "stale" };
  if (toReadableJob(sql, job) === undefined) return giveUp(sql, job, nowMs);
  const held = scopesHeld(sql, job.acts_for, nowMs);
  if (held.kind === "gone") return disable(sql, job, held.reason, nowMs);
  const blocker = runThatGoesOn(sql, job.last_run_seq);
  // A time that is the only one is none that the next would make up for: it stays due until that run has ended.
  if (blocker !== undefined && ask.dueAtMs !== undefined && job.schedule_kind === "at") return { kind: "stale" };
  if (blocker !== undefined) return note(sql, { job, ask, nowMs }, { kind: "skipped", run_id: blocker, error: null });
  if (ask.dueAtMs !== undefined && countRunning(sql) >= ask.maxConcurrentRuns) return { kind: "full" };
  const problem = ask.problem ?? held.problem;
  if (problem !== undefined) return note(sql, { job, ask, nowMs }, { kind: "error", run_id: null, error: problem });
  return start(sql, ids, { job, ask, nowMs }, held.scopes);
}

interface Firing {
  readonly job: CronJobRow;
  readonly ask: CronFireAsk;
  readonly nowMs: number;
}

function isDue(job: CronJobRow, ask: CronFireAsk, nowMs: number): boolean {
  const { dueAtMs, nextRunAtMs = Infinity, seenUpdatedAtMs = job.updated_at_ms } = ask;
  // The next time was found from what the job was then.
  if (seenUpdatedAtMs !== job.updated_at_ms) return false;
  if (dueAtMs === undefined) return true;
  // The clock went on since the next time was found: one missed time more is no other run.
  if (nextRunAtMs <= nowMs) return false;
  return job.enabled === 1 && job.next_run_at_ms === dueAtMs && dueAtMs <= nowMs;
}

type Held =
  | { readonly kind: "gone"; readonly reason: string }
  | { readonly kind: "held"; readonly scopes: readonly string[]; readonly problem: string | undefined };

/** What the principal holds now. A device whose record cannot be read was not removed by anybody: its jobs stay, and start nothing. */
function scopesHeld(sql: Sql, actsFor: string, nowMs: number): Held {
  const deviceId = /^device:(.*)$/.exec(actsFor)?.[1];
  if (deviceId === undefined) return { kind: "held", scopes: ["operator.admin"], problem: undefined };
  const state = readState(sql, deviceId);
  if (state.kind === "corrupt") return { kind: "held", scopes: [], problem: "the record of the device that it acts for cannot be read" };
  const grant = state.kind === "paired" ? liveGrant(state.device, "operator") : undefined;
  if (grant === undefined) return { kind: "gone", reason: deviceIsGone };
  const scopes = ceilingOf(grant, nowMs);
  if (!covers(scopes, "operator.write")) return { kind: "gone", reason: "the device that it acts for may not start runs any more" };
  return { kind: "held", scopes, problem: undefined };
}

function disable(sql: Sql, job: CronJobRow, reason: string, nowMs: number): CronFired {
  const disabled: CronJobRow = { ...job, enabled: 0, next_run_at_ms: null, disabled_reason: reason };
  writeJob(sql, disabled);
  writeAudit(sql, { kind: "cron.disabled", actor: "gateway", subject: job.job_id, facts: { reason, actsFor: job.acts_for } }, nowMs);
  return { kind: "disabled", job: toJobRecord(sql, disabled) };
}

/** No other job waits for one that cannot be read. */
function giveUp(sql: Sql, job: CronJobRow, nowMs: number): CronFired {
  const reason = "what is stored of it cannot be read";
  writeJob(sql, { ...job, enabled: 0, next_run_at_ms: null, disabled_reason: reason });
  writeAudit(sql, { kind: "cron.disabled", actor: "gateway", subject: job.job_id, facts: { reason, actsFor: job.acts_for } }, nowMs);
  return { kind: "unreadable" };
}

function runThatGoesOn(sql: Sql, lastRunSeq: number | null): string | undefined {
  const last = lastRunSeq === null ? undefined : sql.first(fireBySeq, { seq: lastRunSeq });
  if (last === undefined || last.run_id === null) return undefined;
  return findRun(sql, last.run_id)?.ended_at_ms === null ? last.run_id : undefined;
}

function countRunning(sql: Sql): number {
  return sql.first(countAtWork, {})?.n ?? 0;
}

function start(sql: Sql, ids: Ids, firing: Firing, held: readonly string[]): CronFired {
  const { job, ask, nowMs } = firing;
  const { spec, authority } = toJobRecord(sql, job);
  const { payload } = spec;
  const number = job.fired + 1;
  const turn = payload.kind === "agentTurn" ? payload : undefined;
  const admission = admitRun(
    sql,
    ids,
    {
      // Nobody knows it beforehand, and so has put anything there.
      sessionKey: job.target_key ?? `${ownSessions(job)}${ids.uuid()}`,
      agentId: job.agent_id,
      wireId: `cron:${job.job_id}:${number}`,
      input: payload.kind === "agentTurn" ? payload.message : payload.text,
      label: spec.name,
      defaultModel: ask.defaultModel,
      authority: withinScopes(authority, held),
      startedBy: job.acts_for,
      timeoutMs: toTimeoutMs(turn?.timeoutSeconds ?? 0),
      paramsHash: job.job_id,
      queueMode: "followup",
      job: { model: turn?.model, thinking: ask.thinking },
    },
    new Map(),
    nowMs,
  );
  if (admission.kind !== "admitted") return note(sql, firing, { kind: "error", run_id: null, error: "a run of this name exists" });
  dropOldSessions(sql, job);
  return note(sql, firing, { kind: "run", run_id: admission.run.runId, error: null }, admission);
}

/** The wire takes parts of a second, deadlines are whole milliseconds. */
function toTimeoutMs(seconds: number): number | undefined {
  return seconds === 0 ? undefined : Math.max(1, Math.round(seconds * 1_000));
}

function ownSessions(job: CronJobRow): string {
  return `agent:${job.agent_id}:cron:${job.job_id}:`;
}

/** One in which something goes on when its turn comes is tried a few times more. */
function dropOldSessions(sql: Sql, job: CronJobRow): void {
  for (const { session_key: key } of sql.all(oldSessions, { jobId: job.job_id, skip: cronBounds.sessionsOfJob - 1 })) {
    if (key.startsWith(ownSessions(job)) && sql.first(openInTree, { key }) === undefined) sql.run(dropSession, { key });
  }
}

/** Writes down what came of the time, and sets the next. */
function note(
  sql: Sql,
  { job, ask, nowMs }: Firing,
  what: Pick<CronFireRow, "kind" | "run_id" | "error">,
  admitted?: { readonly run: RunRecord; readonly createdSession: boolean },
): CronFired {
  const dueAtMs = ask.dueAtMs ?? nowMs;
  const seq = repeatSkip(sql, job, { ...what, dueAtMs, nowMs }) ?? insertFire(sql, job, { ...what, dueAtMs, nowMs });
  const isScheduled = ask.dueAtMs !== undefined;
  const isOwnRun = isScheduled && what.kind === "run" && job.schedule_kind === "at";
  const next: CronJobRow = {
    ...job,
    fired: job.fired + (what.kind === "run" ? 1 : 0),
    last_seq: seq,
    last_run_seq: what.kind === "run" ? seq : job.last_run_seq,
    own_run_id: isOwnRun ? what.run_id : job.own_run_id,
    ...(isScheduled ? { next_run_at_ms: ask.nextRunAtMs ?? null, enabled: ask.nextRunAtMs === undefined ? 0 : job.enabled } : {}),
  };
  writeJob(sql, next);
  const record: CronJobRecord = toJobRecord(sql, next);
  if (admitted !== undefined) return { kind: "admitted", job: record, run: admitted.run, createdSession: admitted.createdSession };
  return { kind: what.kind === "skipped" ? "skipped" : "failed", job: record };
}

type Noted = Pick<CronFireRow, "kind" | "run_id" | "error"> & { readonly dueAtMs: number; readonly nowMs: number };

/** Times in a row that are skipped for one run are one row. */
function repeatSkip(sql: Sql, job: CronJobRow, { kind, run_id, dueAtMs, nowMs }: Noted): number | undefined {
  if (kind !== "skipped" || job.last_seq === null) return undefined;
  const isRepeated = sql.run(skipAgain, { seq: job.last_seq, runId: run_id, dueAtMs, nowMs }) > 0;
  return isRepeated ? job.last_seq : undefined;
}

function insertFire(sql: Sql, job: CronJobRow, { dueAtMs, nowMs, ...what }: Noted): number {
  const seq = (sql.first(lastSeq, {})?.seq ?? 0) + 1;
  const { delivery } = toJobRecord(sql, job).spec;
  sql.run(insertRow, {
    ...what,
    seq,
    job_id: job.job_id,
    job_name: job.name,
    agent_id: job.agent_id,
    due_at_ms: dueAtMs,
    at_ms: nowMs,
    times: 1,
    wants_delivery: delivery?.mode === "announce" ? 1 : 0,
  });
  sql.run(dropOldest, { seq: seq - cronBounds.fires });
  const kept = sql.all(newestOf, { jobId: job.job_id, skip: cronBounds.firesOfJob });
  for (const { seq: old } of kept) sql.run(dropOne, { seq: old });
  return seq;
}

// ---- statements

const fireBySeq = statement((db, arg: Args<{ seq: number }>) => db.selectFrom("cron_fires").select("run_id").where("seq", "=", arg("seq")));

/** A run that waits for its children holds no place. */
const countAtWork = statement((db, _arg: Args<object>) =>
  db
    .selectFrom("runs")
    .select((build) => build.fn.countAll<number>().as("n"))
    .where("trigger", "=", "cron")
    .where("status", "in", ["queued", "running"]),
);

/** Of the runs before the one that is being admitted. */
const oldSessions = statement((db, arg: Args<{ jobId: string; skip: number }>) =>
  db
    .selectFrom("cron_fires")
    .innerJoin("runs", "runs.run_id", "cron_fires.run_id")
    .select("runs.session_key")
    .where("cron_fires.job_id", "=", arg("jobId"))
    .where("cron_fires.kind", "=", "run")
    .orderBy("cron_fires.seq", "desc")
    .limit(5)
    .offset(arg("skip")),
);

const openInTree = statement((db, arg: Args<{ key: string }>) =>
  db.selectFrom("runs").select("run_id").where("root_session_key", "=", arg("key")).where("status", "in", openStatuses).limit(1),
);

const dropSession = statement((db, arg: Args<{ key: string }>) => db.deleteFrom("sessions").where("session_key", "=", arg("key")));

const lastSeq = statement((db, _arg: Args<object>) => db.selectFrom("cron_fires").select("seq").orderBy("seq", "desc").limit(1));

const skipAgain = statement((db, arg: Args<{ seq: number; runId: string | null; dueAtMs: number; nowMs: number }>) =>
  db
    .updateTable("cron_fires")
    .set((build) => ({ times: build("times", "+", 1), due_at_ms: arg("dueAtMs"), at_ms: arg("nowMs") }))
    .where("seq", "=", arg("seq"))
    .where("kind", "=", "skipped")
    .where("run_id", "=", arg("runId")),
);

const insertRow = statement((db, arg: Args<CronFireRow>) =>
  db.insertInto("cron_fires").values(
    row(arg, {
      seq: true,
      job_id: true,
      job_name: true,
      agent_id: true,
      due_at_ms: true,
      at_ms: true,
      kind: true,
      run_id: true,
      error: true,
      times: true,
      wants_delivery: true,
    }),
  ),
);

/** Never of a run that goes on: another would start beside it. */
const dropOldest = statement((db, arg: Args<{ seq: number }>) =>
  db
    .deleteFrom("cron_fires")
    .where("seq", "<=", arg("seq"))
    .where((fire) =>
      fire.or([
        fire("run_id", "is", null),
        fire(
          "run_id",
          "not in",
          fire.selectFrom("runs").select("runs.run_id").where("trigger", "=", "cron").where("status", "in", openStatuses),
        ),
      ]),
    ),
);

const dropOne = statement((db, arg: Args<{ seq: number }>) => db.deleteFrom("cron_fires").where("seq", "=", arg("seq")));

const newestOf = statement((db, arg: Args<{ jobId: string; skip: number }>) =>
  db.selectFrom("cron_fires").select("seq").where("job_id", "=", arg("jobId")).orderBy("seq", "desc").limit(10).offset(arg("skip")),
);
