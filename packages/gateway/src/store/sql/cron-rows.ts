/** Rows of jobs: to records and back, and the statements that several files share. */
import type { CronJobSpec } from "@portreeve/protocol";
import type { RunAuthority } from "../../principal/principal.ts";
import type { CronFire, CronJobRecord, CronJobToWrite } from "../cron-store.ts";
import { CorruptRowError, findRun, toRunRecord } from "./run-rows.ts";
import type { CronFireRow, CronJobRow } from "./schema.ts";
import { type Args, row, type Sql, statement } from "./statement.ts";

export function findJob(sql: Sql, jobId: string): CronJobRow | undefined {
  return sql.first(byId, { jobId });
}

/** @throws CorruptRowError */
export function toJobRecord(sql: Sql, job: CronJobRow): CronJobRecord {
  return {
    jobId: job.job_id,
    spec: read<CronJobSpec>(job, "spec"),
    agentId: job.agent_id,
    targetKey: job.target_key ?? undefined,
    enabled: job.enabled === 1,
    actsFor: job.acts_for,
    authority: read<RunAuthority>(job, "authority"),
    createdAtMs: job.created_at_ms,
    updatedAtMs: job.updated_at_ms,
    nextRunAtMs: job.next_run_at_ms ?? undefined,
    disabledReason: job.disabled_reason ?? undefined,
    lastFire: findFire(sql, job.last_seq),
    lastRun: findFire(sql, job.last_run_seq),
  };
}

function findFire(sql: Sql, seq: number | null): CronFire | undefined {
  const fire = seq === null ? undefined : sql.first(fireBySeq, { seq });
  return fire && toFire(sql, fire);
}

/** Undefined when it cannot be read. */
export function toReadableJob(sql: Sql, job: CronJobRow): CronJobRecord | undefined {
  try {
    return toJobRecord(sql, job);
  } catch (error) {
    if (error instanceof CorruptRowError) return undefined;
    throw error;
  }
}

function read<T>(job: CronJobRow, column: "spec" | "authority"): T {
  try {
    return JSON.parse(job[column]) as T;
  } catch (error) {
    throw new CorruptRowError(`the ${column} of the job ${job.job_id} cannot be read`, { cause: error });
  }
}

export function toJobColumns(job: CronJobToWrite) {
  return {
    spec: JSON.stringify(job.spec),
    name: job.spec.name,
    agent_id: job.agentId,
    session_key: job.spec.sessionKey ?? null,
    target_key: job.targetKey ?? null,
    schedule_kind: job.spec.schedule.kind,
    enabled: job.enabled ? 1 : 0,
    acts_for: job.actsFor,
    authority: JSON.stringify(job.authority),
    next_run_at_ms: job.nextRunAtMs ?? null,
  } satisfies Partial<CronJobRow>;
}

export function toFire(sql: Sql, fire: CronFireRow): CronFire {
  return {
    jobId: fire.job_id,
    jobName: fire.job_name,
    dueAtMs: fire.due_at_ms,
    atMs: fire.at_ms,
    wantsDelivery: fire.wants_delivery === 1,
    outcome: toOutcome(sql, fire),
  };
}

function toOutcome(sql: Sql, { kind, run_id, error, times }: CronFireRow): CronFire["outcome"] {
  if (kind === "skipped") return { kind, runId: run_id ?? "", times };
  const run = kind === "run" && run_id !== null ? findRun(sql, run_id) : undefined;
  return run === undefined ? { kind: "error", error: error ?? "the run is not stored any more" } : { kind: "run", run: toRunRecord(run) };
}

export function writeJob(sql: Sql, job: CronJobRow): void {
  sql.run(putJob, job);
}

/** How many jobs were disabled. */
export const disableJobsOf = statement((db, arg: Args<{ actsFor: string; reason: string }>) =>
  db
    .updateTable("cron_jobs")
    .set({ enabled: 0, next_run_at_ms: null, disabled_reason: arg("reason") })
    .where("acts_for", "=", arg("actsFor"))
    .where("enabled", "=", 1)
    .returning("job_id"),
);

export const deviceIsGone = "the device that it acts for is not paired any more";

// ---- statements

const byId = statement((db, arg: Args<{ jobId: string }>) => db.selectFrom("cron_jobs").selectAll().where("job_id", "=", arg("jobId")));

const fireBySeq = statement((db, arg: Args<{ seq: number }>) => db.selectFrom("cron_fires").selectAll().where("seq", "=", arg("seq")));

const putJob = statement((db, arg: Args<CronJobRow>) =>
  db.replaceInto("cron_jobs").values(
    row(arg, {
      job_id: true,
      spec: true,
      name: true,
      agent_id: true,
      session_key: true,
      target_key: true,
      schedule_kind: true,
      enabled: true,
      acts_for: true,
      authority: true,
      created_at_ms: true,
      updated_at_ms: true,
      next_run_at_ms: true,
      fired: true,
      last_seq: true,
      disabled_reason: true,
      own_run_id: true,
      last_run_seq: true,
    }),
  ),
);
