/** Jobs and what came of their times, as clients see them. Pure. */
import { createHash } from "node:crypto";
import type { CronJob, CronRunEntry, EventPayload, Result } from "@portreeve/protocol";
import type { CronFire, CronJobRecord } from "../store/cron-store.ts";
import type { RunRecord } from "../store/store.ts";

export function toCronJob(job: CronJobRecord): CronJob {
  const { spec, nextRunAtMs, lastRun } = job;
  const newest = newestOf(job);
  const last = newest === undefined ? {} : toLast(newest);
  const next = nextRunAtMs === undefined ? {} : { nextRunAtMs };
  const running = isRunning(lastRun) ? { runningAtMs: lastRun.atMs } : {};
  const { lastRunAtMs, lastRunStatus } = last;
  return {
    id: job.jobId,
    ...spec,
    enabled: job.enabled,
    createdAtMs: job.createdAtMs,
    updatedAtMs: job.updatedAtMs,
    configRevision: revisionOf(job),
    state: { ...next, ...running, ...last, ...(job.disabledReason === undefined ? {} : { lastError: `disabled: ${job.disabledReason}` }) },
    ...next,
    ...(lastRunAtMs === undefined ? {} : { lastRunAtMs }),
    ...(lastRunStatus === undefined ? {} : { lastRunStatus }),
  };
}

export function toListedJob(job: CronJobRecord): Result<"cron.list">["jobs"][number] {
  return { ...toCronJob(job), effectiveAgentId: job.agentId, actsFor: job.actsFor };
}

export function toDeliveryPreview({ targetKey }: CronJobRecord): { readonly label: string; readonly detail: string } {
  return { label: "session", detail: targetKey === undefined ? "a session of its own each time" : `in ${targetKey}` };
}

/** The same for the same job, another for any other. */
export function revisionOf({ spec, enabled }: CronJobRecord): string {
  return createHash("sha256")
    .update(JSON.stringify([spec, enabled]))
    .digest("hex")
    .slice(0, 16);
}

/** Undefined while it is not over. */
export function toRunEntry(fire: CronFire): CronRunEntry | undefined {
  const over = toOver(fire);
  if (over === undefined) return undefined;
  const { status, error, summary, endedAtMs, durationMs, run } = over;
  return {
    ts: endedAtMs,
    jobId: fire.jobId,
    jobName: fire.jobName,
    action: "finished",
    status,
    ...(status === "skipped" ? {} : { completionStatus: status === "ok" ? "succeeded" : "failed" }),
    ...(error === undefined ? {} : { error }),
    ...(summary === undefined ? {} : { summary }),
    deliveryStatus: deliveryOf(fire),
    runAtMs: fire.dueAtMs,
    ...(durationMs === undefined ? {} : { durationMs }),
    ...(run === undefined ? {} : toRunFacts(run)),
  };
}

export function toStarted(job: CronJobRecord, run: RunRecord): EventPayload<"cron"> {
  const { lastFire } = job;
  return {
    jobId: job.jobId,
    action: "started",
    job: toCronJob(job),
    runAtMs: lastFire?.dueAtMs ?? run.createdAtMs,
    sessionKey: run.sessionKey,
    sessionId: run.sessionId,
    runId: run.wireId,
  };
}

/** Undefined while it is not over. */
export function toFinished(job: CronJobRecord, fire: CronFire): EventPayload<"cron"> | undefined {
  const entry = toRunEntry(fire);
  if (entry === undefined) return undefined;
  const { ts: _ts, jobName: _jobName, model: _model, provider: _provider, usage: _usage, ...rest } = entry;
  return { ...rest, job: toCronJob(job), ...(job.nextRunAtMs === undefined ? {} : { nextRunAtMs: job.nextRunAtMs }) };
}

const summaryChars = 2_000;

interface Over {
  readonly status: "ok" | "error" | "skipped";
  readonly error?: string | undefined;
  readonly summary?: string | undefined;
  readonly endedAtMs: number;
  readonly durationMs?: number;
  readonly run?: RunRecord;
}

function toOver({ outcome, atMs }: CronFire): Over | undefined {
  if (outcome.kind === "error") return { status: "error", error: outcome.error, endedAtMs: atMs };
  if (outcome.kind === "skipped") {
    const often = outcome.times === 1 ? "" : `, ${outcome.times} times in a row`;
    return { status: "skipped", error: `its last run had not ended (${outcome.runId})${often}`, endedAtMs: atMs };
  }
  const { run } = outcome;
  if (run.endedAtMs === undefined) return undefined;
  const durationMs = run.endedAtMs - (run.startedAtMs ?? run.createdAtMs);
  const summary = run.ending?.text === undefined || run.ending.text === "" ? undefined : run.ending.text.slice(0, summaryChars);
  if (run.status === "succeeded") return { status: "ok", summary, endedAtMs: run.endedAtMs, durationMs, run };
  return {
    status: "error",
    error: run.ending?.error ?? `the run ended as ${run.status}`,
    summary,
    endedAtMs: run.endedAtMs,
    durationMs,
    run,
  };
}

/** There is nobody to deliver to but the session. */
function deliveryOf({ wantsDelivery }: CronFire): "not-delivered" | "not-requested" {
  return wantsDelivery ? "not-delivered" : "not-requested";
}

function toRunFacts({ wireId, sessionId, sessionKey, model, usage: { input, output, totalTokens } }: RunRecord) {
  const slash = model.indexOf("/");
  return {
    runId: wireId,
    sessionId,
    sessionKey,
    model: model.slice(slash + 1),
    ...(slash < 0 ? {} : { provider: model.slice(0, slash) }),
    usage: { input_tokens: input, output_tokens: output, total_tokens: totalTokens },
  };
}

/** A run that is over ended after the times that were skipped for it. */
function newestOf({ lastFire, lastRun }: CronJobRecord): CronFire | undefined {
  const isOver = lastRun?.outcome.kind === "run" && lastRun.outcome.run.endedAtMs !== undefined;
  return lastFire?.outcome.kind === "skipped" && isOver ? lastRun : lastFire;
}

function isRunning(fire: CronFire | undefined): fire is CronFire {
  return fire?.outcome.kind === "run" && fire.outcome.run.endedAtMs === undefined;
}

function toLast(fire: CronFire): Omit<CronJob["state"], "nextRunAtMs" | "runningAtMs"> {
  const over = toOver(fire);
  if (over === undefined) return { lastRunAtMs: fire.atMs };
  const { status, error, durationMs } = over;
  return {
    lastRunAtMs: fire.atMs,
    lastRunStatus: status,
    lastStatus: status,
    ...(error === undefined ? {} : { lastError: error }),
    ...(durationMs === undefined ? {} : { lastDurationMs: durationMs }),
    lastDeliveryStatus: deliveryOf(fire),
  };
}
