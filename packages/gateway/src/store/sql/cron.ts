/** Jobs in SQL. */
import { createHash } from "node:crypto";
import { type ExpressionBuilder, sql as raw, type Kysely } from "kysely";
import type { Ids } from "../../kit/ids.ts";
import {
  cronBounds,
  type CronFilter,
  type CronFireFilter,
  type CronJobRecord,
  type CronJobToWrite,
  type CronStore,
  type DueJob,
} from "../cron-store.ts";
import { writeAudit } from "./audit.ts";
import { fireJob } from "./cron-firing.ts";
import { findJob, toFire, toJobColumns, toJobRecord, toReadableJob, writeJob } from "./cron-rows.ts";
import { findRun } from "./run-rows.ts";
import type { CronFireRow, CronJobRow, Database } from "./schema.ts";
import { type Args, type Sql, statement } from "./statement.ts";
import type { WriteQueue } from "./write-queue.ts";

export function createCronStore(queue: WriteQueue, ids: Ids): CronStore {
  return {
    ...createCronReads(queue),
    add: (job, by, nowMs) => queue.transact((sql) => addJob(sql, ids, { job, by, nowMs })),
    update: (jobId, job, seen, by, nowMs) => queue.transact((sql) => updateJob(sql, { jobId, seen }, { job, by, nowMs })),
    remove: (jobId, by, nowMs) =>
      queue.transact((sql) => {
        if (sql.run(dropJob, { jobId }) === 0) return "missing";
        writeAudit(sql, { kind: "cron.removed", actor: by, subject: jobId, facts: {} }, nowMs);
        return "removed";
      }),
    fire: (ask, nowMs) => queue.transact((sql) => fireJob(sql, ids, ask, nowMs)),
    async settle(runId) {
      const found = await queue.read((sql) => findFireOf(sql, runId));
      if (found?.job.spec.deleteAfterRun !== true) return found && { ...found, removed: false };
      return { ...found, removed: await queue.transact((sql) => dropSpent(sql, findJob(sql, found.job.jobId))) };
    },
    settleAll: () =>
      queue.transact((sql) => {
        for (const job of sql.all(spentJobs, {})) dropSpent(sql, job);
      }),
  };
}

function createCronReads(queue: WriteQueue): Pick<CronStore, "find" | "list" | "counts" | "passedUntil" | "listDue" | "listFires"> {
  return {
    find: (jobId) =>
      queue.read((sql) => {
        const job = findJob(sql, jobId);
        return job === undefined ? undefined : toJobRecord(sql, job);
      }),
    list: (filter) => queue.read((sql) => listJobs(sql, filter)),
    counts: () =>
      queue.read((sql) => ({ jobs: sql.first(countAll, {})?.n ?? 0, nextRunAtMs: sql.first(firstDue, {})?.next_run_at_ms ?? undefined })),
    passedUntil: (jobId) => queue.read((sql) => sql.first(newestFire, { jobId })?.at_ms ?? 0),
    listDue: (nowMs, limit) => queue.read((sql) => sql.all(due, { nowMs, limit }).map((job) => toDueJob(sql, job))),
    listFires: (filter) => queue.read((sql) => listFires(sql, filter)),
  };
}

function toDueJob(sql: Sql, row: CronJobRow): DueJob {
  return { jobId: row.job_id, dueAtMs: row.next_run_at_ms ?? 0, job: toReadableJob(sql, row) };
}

interface Writing {
  readonly job: CronJobToWrite;
  readonly by: string;
  readonly nowMs: number;
}

function addJob(sql: Sql, ids: Ids, { job, by, nowMs }: Writing): CronJobRecord | "too-many" {
  if ((sql.first(countAll, {})?.n ?? 0) >= cronBounds.jobs) return "too-many";
  const added: CronJobRow = {
    ...toJobColumns(job),
    // As its clients expect: their tables cut what is longer.
    job_id: ids.uuid(),
    created_at_ms: nowMs,
    updated_at_ms: nowMs,
    fired: 0,
    last_seq: null,
    disabled_reason: null,
    own_run_id: null,
    last_run_seq: null,
  };
  writeJob(sql, added);
  writeAudit(sql, { kind: "cron.added", actor: by, subject: added.job_id, facts: toFacts(job) }, nowMs);
  return toJobRecord(sql, added);
}

function updateJob(
  sql: Sql,
  { jobId, seen }: { readonly jobId: string; readonly seen: CronJobRecord },
  { job, by, nowMs }: Writing,
): CronJobRecord | "missing" | "changed" {
  const before = findJob(sql, jobId);
  if (before === undefined) return "missing";
  // A time that came to pass meanwhile would come to pass again.
  const isChanged = before.updated_at_ms !== seen.updatedAtMs || before.next_run_at_ms !== (seen.nextRunAtMs ?? null);
  if (isChanged || (before.enabled === 1) !== seen.enabled) return "changed";
  const changed: CronJobRow = {
    ...before,
    ...toJobColumns(job),
    updated_at_ms: Math.max(nowMs, before.updated_at_ms + 1),
    disabled_reason: job.enabled ? null : before.disabled_reason,
    own_run_id: JSON.stringify(seen.spec.schedule) === JSON.stringify(job.spec.schedule) ? before.own_run_id : null,
  };
  writeJob(sql, changed);
  writeAudit(sql, { kind: "cron.changed", actor: by, subject: jobId, facts: toFacts(job) }, nowMs);
  return toJobRecord(sql, changed);
}

/** What is granted: never the text, which may hold anything. */
function toFacts({ enabled, actsFor, authority, agentId }: CronJobToWrite): Readonly<Record<string, unknown>> {
  return { enabled, actsFor, agentId, scopes: authority.scopes, ...(authority.limits === undefined ? {} : { limits: authority.limits }) };
}

/** Its only time started a run that went well, and it was to be removed then. What somebody started by hand is no such run. */
function isSpent(sql: Sql, row: CronJobRow): boolean {
  if (row.schedule_kind !== "at" || row.next_run_at_ms !== null || row.own_run_id === null) return false;
  return toReadableJob(sql, row)?.spec.deleteAfterRun === true && findRun(sql, row.own_run_id)?.status === "succeeded";
}

/** Not one that was given another time meanwhile. */
function dropSpent(sql: Sql, row: CronJobRow | undefined): boolean {
  return row !== undefined && isSpent(sql, row) && sql.run(dropJob, { jobId: row.job_id }) > 0;
}

function findFireOf(sql: Sql, runId: string) {
  const fire = sql.first(fireOfRun, { runId });
  const job = fire === undefined ? undefined : findJob(sql, fire.job_id);
  return fire === undefined || job === undefined ? undefined : { job: toJobRecord(sql, job), fire: toFire(sql, fire) };
}

// ---- lists

/** How a time that is over reads; a job whose newest is not over yet has `unknown`. */
const statusOfFire = raw<string>`case
  when cron_fires.seq is null then 'unknown'
  when cron_fires.kind <> 'run' then cron_fires.kind
  when runs.run_id is null then 'error'
  when runs.ended_at_ms is null then 'unknown'
  when runs.status = 'succeeded' then 'ok' else 'error' end`;

/** What was skipped for a run that is over by now was before its end. */
const statusOfJob = raw<string>`case
  when cron_fires.kind = 'skipped' and runs.ended_at_ms is not null then case when runs.status = 'succeeded' then 'ok' else 'error' end
  else ${statusOfFire} end`;

function listJobs(sql: Sql, filter: CronFilter): Awaited<ReturnType<CronStore["list"]>> {
  const select = (db: Kysely<Database>) => {
    const { enabled, query, agentId, sessionKey, scheduleKind, lastRunStatus } = filter;
    return db
      .selectFrom("cron_jobs")
      .leftJoin("cron_fires", "cron_fires.seq", "cron_jobs.last_seq")
      .leftJoin("runs", "runs.run_id", "cron_fires.run_id")
      .$if(enabled !== undefined, (rows) => rows.where("cron_jobs.enabled", "=", enabled === true ? 1 : 0))
      .$if(agentId !== undefined, (rows) => rows.where("cron_jobs.agent_id", "=", agentId ?? ""))
      .$if(sessionKey !== undefined, (rows) =>
        rows.where((row) =>
          row.or([row("cron_jobs.session_key", "=", sessionKey ?? ""), row("cron_jobs.target_key", "=", sessionKey ?? "")]),
        ),
      )
      .$if(scheduleKind !== undefined, (rows) => rows.where("cron_jobs.schedule_kind", "=", scheduleKind ?? ""))
      .$if(lastRunStatus !== undefined, (rows) => rows.where(statusOfJob, "=", lastRunStatus ?? ""))
      .$if(query !== undefined, (rows) => rows.where(raw<boolean>`cron_jobs.spec like ${toPattern(query ?? "")} escape '\\'`));
  };
  const column = { nextRunAtMs: "cron_jobs.next_run_at_ms", updatedAtMs: "cron_jobs.updated_at_ms", name: "cron_jobs.name" } as const;
  const rows = sql.query((db) =>
    select(db)
      .selectAll("cron_jobs")
      // What is not due by itself comes last, whichever way the rest is.
      .$if(filter.sortBy === "nextRunAtMs", (all) => all.orderBy(raw`cron_jobs.next_run_at_ms is null`))
      .orderBy(column[filter.sortBy], filter.sortDir)
      .orderBy("cron_jobs.job_id")
      .limit(filter.limit)
      .offset(filter.offset),
  );
  const [count] = sql.query((db) =>
    select(db).select((build) => [build.fn.countAll<number>().as("n"), raw<number>`max(cron_jobs.updated_at_ms)`.as("newest")]),
  );
  const total = count?.n ?? 0;
  const revision = createHash("sha256").update(`${total} ${count?.newest}`).digest("hex").slice(0, 16);
  return { jobs: rows.flatMap((job) => toReadableJob(sql, job) ?? []), total, revision };
}

function listFires(sql: Sql, filter: CronFireFilter): Awaited<ReturnType<CronStore["listFires"]>> {
  const select = (db: Kysely<Database>) => {
    const { jobId, agentId, runId, statuses, wantsDelivery, query } = filter;
    return db
      .selectFrom("cron_fires")
      .leftJoin("runs", "runs.run_id", "cron_fires.run_id")
      .where((row) =>
        row.or([row("cron_fires.kind", "<>", "run"), row("runs.run_id", "is", null), row("runs.ended_at_ms", "is not", null)]),
      )
      .$if(jobId !== undefined, (rows) => rows.where("cron_fires.job_id", "=", jobId ?? ""))
      .$if(agentId !== undefined, (rows) => rows.where("cron_fires.agent_id", "=", agentId ?? ""))
      .$if(runId !== undefined, (rows) => rows.where((row) => isRun(row, runId ?? "")))
      .$if(statuses !== undefined, (rows) => rows.where(statusOfFire, "in", [...(statuses ?? [])]))
      .$if(wantsDelivery !== undefined, (rows) => rows.where("cron_fires.wants_delivery", "=", wantsDelivery === true ? 1 : 0))
      .$if(query !== undefined, (rows) => rows.where(raw<boolean>`cron_fires.job_name like ${toPattern(query ?? "")} escape '\\'`));
  };
  const rows: readonly CronFireRow[] = sql.query((db) =>
    select(db).selectAll("cron_fires").orderBy("cron_fires.seq", filter.sortDir).limit(filter.limit).offset(filter.offset),
  );
  const [count] = sql.query((db) => select(db).select((build) => build.fn.countAll<number>().as("n")));
  return { fires: rows.map((fire) => toFire(sql, fire)), total: count?.n ?? 0 };
}

function isRun(row: ExpressionBuilder<Database & { runs: Database["runs"] | null }, "cron_fires" | "runs">, runId: string) {
  return row("cron_fires.run_id", "in", row.selectFrom("runs as named").select("named.run_id").where("named.wire_id", "=", runId));
}

function toPattern(query: string): string {
  return `%${query.replace(/[%_\\]/g, "\\$&")}%`;
}

// ---- statements

const countAll = statement((db, _arg: Args<object>) => db.selectFrom("cron_jobs").select((build) => build.fn.countAll<number>().as("n")));

const newestFire = statement((db, arg: Args<{ jobId: string }>) =>
  db
    .selectFrom("cron_fires")
    .select((build) => build.fn.max("at_ms").as("at_ms"))
    .where("job_id", "=", arg("jobId")),
);

const firstDue = statement((db, _arg: Args<object>) =>
  db.selectFrom("cron_jobs").select("next_run_at_ms").where("next_run_at_ms", "is not", null).orderBy("next_run_at_ms").limit(1),
);

const due = statement((db, arg: Args<{ nowMs: number; limit: number }>) =>
  db
    .selectFrom("cron_jobs")
    .selectAll()
    .where("next_run_at_ms", "is not", null)
    .where("next_run_at_ms", "<=", arg("nowMs"))
    .where((job) =>
      job.or([
        job("schedule_kind", "<>", "at"),
        job.not(
          job.exists(
            job
              .selectFrom("cron_fires")
              .innerJoin("runs", "runs.run_id", "cron_fires.run_id")
              .select("runs.run_id")
              .whereRef("cron_fires.seq", "=", "cron_jobs.last_run_seq")
              .where("runs.ended_at_ms", "is", null),
          ),
        ),
      ]),
    )
    .orderBy("next_run_at_ms")
    .orderBy("job_id")
    .limit(arg("limit")),
);

const dropJob = statement((db, arg: Args<{ jobId: string }>) => db.deleteFrom("cron_jobs").where("job_id", "=", arg("jobId")));

const spentJobs = statement((db, _arg: Args<object>) =>
  db
    .selectFrom("cron_jobs")
    .selectAll()
    .where("schedule_kind", "=", "at")
    .where("next_run_at_ms", "is", null)
    .where("own_run_id", "is not", null),
);

const fireOfRun = statement((db, arg: Args<{ runId: string }>) =>
  db.selectFrom("cron_fires").selectAll().where("run_id", "=", arg("runId")).where("kind", "=", "run"),
);
