/** Cron: jobs, what came of them, and `wake`. */
import { randomUUID } from "node:crypto";
import { covers, mainSessionKey, type Params, ProtocolError, type Result } from "@portreeve/protocol";
import { findSpecProblem, type JobToAdd, toPatchedSpec, toSpec } from "../cron/job-spec.ts";
import { revisionOf, toCronJob, toDeliveryPreview, toListedJob, toRunEntry } from "../cron/job-view.ts";
import { firstAfter } from "../cron/schedule.ts";
import type { Scheduler } from "../cron/scheduler.ts";
import type { Handlers } from "../dispatch/types.ts";
import { authorityOfJob, type Principal } from "../principal/principal.ts";
import { cronBounds, type CronJobRecord, type CronJobToWrite } from "../store/cron-store.ts";
import { startRun } from "./agents.ts";
import { type HandlerDeps, resolveSession, unknownAgent } from "./deps.ts";

export interface CronHandlerDeps extends HandlerDeps {
  readonly scheduler: () => Scheduler;
  /** Of this process: whoever saw another one asked something else. */
  readonly processInstanceId: string;
}

type Methods = Extract<keyof Handlers, `cron.${string}`> | "wake";

const updateAttempts = 5;

export function cronHandlers(deps: CronHandlerDeps): Pick<Handlers, Methods> {
  return {
    ...queryHandlers(deps),
    "cron.add": async ({ principal }, { enabled = true, ...params }) => {
      const createdAtMs = deps.now();
      const job = await toJob(deps, principal, { spec: toSpec(params), enabled, createdAtMs });
      const added = await deps.store.cron.add(job, principal.id, createdAtMs);
      if (added === "too-many") throw tooMany();
      return { ...tell(deps, "added", added), deliveryPreview: toDeliveryPreview(added) };
    },
    "cron.update": async ({ principal }, params) => {
      // A time that comes to pass between reading and writing is no reason to send anybody away.
      for (let attempt = 1; ; attempt += 1) {
        const updated = await tryToUpdate(deps, principal, params);
        if (updated !== "changed") return tell(deps, "updated", updated);
        if (attempt === updateAttempts) throw changed(idOf(params));
      }
    },
    "cron.remove": async ({ principal }, params) => {
      const jobId = idOf(params);
      if ((await deps.store.cron.remove(jobId, principal.id, deps.now())) === "missing") throw notFound(jobId);
      deps.bus.publish("cron", { jobId, action: "removed" });
      deps.scheduler().look();
      return { ok: true, removed: true };
    },
    "cron.run": (_context, params) => runJob(deps, params),
    wake: async ({ principal }, { mode, text, sessionKey, agentId }) => {
      const { agents } = deps;
      const session = resolveSession(agents, sessionKey ?? mainSessionKey(agentId ?? agents.defaultAgentId), agentId);
      await startRun(deps, principal, {
        ...session,
        message: text,
        wireId: randomUUID(),
        label: undefined,
        timeoutMs: undefined,
        queueMode: mode === "now" ? "followup" : "notify",
        params: { text },
      });
      return { ok: true };
    },
  };
}

function queryHandlers(deps: CronHandlerDeps): Pick<Handlers, "cron.status" | "cron.list" | "cron.get" | "cron.runs"> {
  const { store } = deps;
  return {
    "cron.status": async () => {
      const { jobs, nextRunAtMs } = await store.cron.counts();
      const enabled = deps.scheduler().enabled;
      const nextWakeAtMs = enabled ? (nextRunAtMs ?? null) : null;
      return { enabled, triggersEnabled: false, storePath: databaseName, storage: "sqlite", sqlitePath: databaseName, jobs, nextWakeAtMs };
    },
    "cron.list": async (_context, params) => {
      const { limit = 50, offset = 0 } = params;
      const { jobs, total, revision } = await store.cron.list({ ...toFilter(params), limit, offset });
      const deliveryPreviews = Object.fromEntries(jobs.map((job) => [job.jobId, toDeliveryPreview(job)]));
      return {
        jobs: jobs.map(toListedJob),
        snapshotRevision: revision,
        ...toPage({ limit, offset, total, count: jobs.length }),
        deliveryPreviews,
      };
    },
    "cron.get": async (_context, params) => toCronJob(await getJob(deps, params)),
    "cron.runs": async (_context, params) => {
      const { limit = 50, offset = 0, sortDir = "desc", scope, query, runId, agentId } = params;
      const jobId = scope === "all" ? undefined : (params.id ?? params.jobId);
      if (scope === "job" && jobId === undefined) throw new ProtocolError("INVALID_PARAMS", "invalid cron.runs params: scope job needs id");
      const statuses = params.statuses ?? (params.status === undefined || params.status === "all" ? undefined : [params.status]);
      const wantsDelivery = toWantsDelivery(
        params.deliveryStatuses ?? (params.deliveryStatus === undefined ? [] : [params.deliveryStatus]),
      );
      if (wantsDelivery === "none") return { entries: [], ...toPage({ limit, offset, total: 0, count: 0 }) };
      const filter = { limit, offset, sortDir, jobId, agentId, runId, statuses, query, wantsDelivery };
      const { fires, total } = await store.cron.listFires(filter);
      return { entries: fires.flatMap((fire) => toRunEntry(fire) ?? []), ...toPage({ limit, offset, total, count: fires.length }) };
    },
  };
}

/** Where it lies is for nobody who may only read. */
const databaseName = "portreeve.db";

function toFilter(params: Params<"cron.list">) {
  const { includeDisabled = false, enabled = includeDisabled ? "all" : "enabled", scheduleKind = "all", lastRunStatus = "all" } = params;
  return {
    enabled: enabled === "all" ? undefined : enabled === "enabled",
    query: params.query === "" ? undefined : params.query,
    agentId: params.agentId ?? params.sessionAgentId,
    sessionKey: params.sessionKey,
    // None here has a condition.
    scheduleKind: params.trigger === "conditional" ? "conditional" : scheduleKind === "all" ? undefined : scheduleKind,
    lastRunStatus: lastRunStatus === "all" ? undefined : lastRunStatus,
    sortBy: params.sortBy ?? "nextRunAtMs",
    sortDir: params.sortDir ?? "asc",
  } as const;
}

/** Nothing is ever delivered: of the four words two are of use. */
function toWantsDelivery(statuses: NonNullable<Params<"cron.runs">["deliveryStatuses"]>): boolean | undefined | "none" {
  const [wanted, unwanted] = [statuses.includes("not-delivered"), statuses.includes("not-requested")];
  if (statuses.length === 0 || (wanted && unwanted)) return undefined;
  return wanted || unwanted ? wanted : "none";
}

function toPage({ limit, offset, total, count }: { limit: number; offset: number; total: number; count: number }) {
  const hasMore = offset + count < total;
  return { total, offset, limit, hasMore, nextOffset: hasMore ? offset + count : null };
}

async function tryToUpdate(deps: CronHandlerDeps, principal: Principal, params: Params<"cron.update">): Promise<CronJobRecord | "changed"> {
  const before = await getJob(deps, params);
  if (params.expectedConfigRevision !== undefined && params.expectedConfigRevision !== revisionOf(before)) throw changed(before.jobId);
  const { enabled = before.enabled, ...patch } = params.patch;
  const spec = toPatchedSpec(before.spec, patch);
  const isSameSchedule = JSON.stringify(spec.schedule) === JSON.stringify(before.spec.schedule);
  const nextRunAtMs = isSameSchedule && before.enabled && enabled ? before.nextRunAtMs : undefined;
  const passedMs = isSameSchedule ? await deps.store.cron.passedUntil(before.jobId) : undefined;
  const job = await toJob(deps, principal, { spec, enabled, createdAtMs: before.createdAtMs, nextRunAtMs, passedMs });
  const updated = await deps.store.cron.update(before.jobId, job, before, principal.id, deps.now());
  if (updated === "missing") throw notFound(before.jobId);
  return updated;
}

/**
 * The job as it is stored: checked against the agents, models and sessions there are, with the authority of `principal`.
 * @throws ProtocolError when it could never run as it is.
 */
async function toJob(
  deps: CronHandlerDeps,
  principal: Principal,
  { spec, enabled, createdAtMs, nextRunAtMs, passedMs = 0 }: JobToAdd,
): Promise<CronJobToWrite> {
  const { agents } = deps;
  const target = findTarget(deps, spec);
  const model = spec.payload.kind === "agentTurn" ? spec.payload.model : undefined;
  const usedModel = model ?? agents.modelOf(target.agentId);
  const problem = agents.problemWithModel(usedModel);
  if (problem !== undefined) throw new ProtocolError("MODEL_UNUSABLE", problem, { details: { model: usedModel } });
  await findSpecProblem(spec, (level) => agents.problemWithThinking(usedModel, level));
  const authority = authorityOfJob(principal, toTools(spec.payload.toolsAllow));
  if (!covers(authority.scopes, "operator.write"))
    throw new ProtocolError("NOT_ALLOWED", "not allowed: a job of whoever may not start runs");
  const facts = { schedule: spec.schedule, createdAtMs, timeZone: deps.scheduler().timeZone };
  // Also a disabled job must be one that could run, but its only time may have passed.
  const afterMs = enabled || spec.schedule.kind !== "at" ? Math.max(deps.now(), passedMs) : 0;
  const firstAtMs = nextRunAtMs ?? (await firstAfter(facts, afterMs));
  const { agentId, key: targetKey } = target;
  return { spec, agentId, targetKey, enabled, actsFor: principal.id, authority, nextRunAtMs: enabled ? firstAtMs : undefined };
}

function toTools(names: readonly string[] | undefined): readonly string[] | "all" {
  return names === undefined || names.includes("*") ? "all" : names;
}

function findTarget({ agents }: CronHandlerDeps, { sessionTarget, sessionKey, agentId }: CronJobToWrite["spec"]) {
  if (agentId !== undefined && !agents.ids.includes(agentId)) throw unknownAgent(agentId);
  const named = sessionTarget.startsWith("session:") ? sessionTarget.slice("session:".length) : undefined;
  if (sessionTarget === "current" && sessionKey === undefined)
    throw new ProtocolError("INVALID_PARAMS", "invalid cron params: sessionTarget current needs sessionKey");
  if (sessionTarget === "isolated") {
    const owner = sessionKey === undefined ? undefined : resolveSession(agents, sessionKey, agentId).agentId;
    return { agentId: agentId ?? owner ?? agents.defaultAgentId, key: undefined };
  }
  return resolveSession(agents, named ?? sessionKey ?? mainSessionKey(agentId ?? agents.defaultAgentId), agentId);
}

async function runJob(deps: CronHandlerDeps, params: Params<"cron.run">): Promise<Result<"cron.run">> {
  const { processInstanceId } = deps;
  if (params.expectedProcessInstanceId !== undefined && params.expectedProcessInstanceId !== processInstanceId)
    throw new ProtocolError("CRON_JOB_CHANGED", "the gateway was restarted since it was asked", {
      remedy: "look at the job, and run it again",
    });
  const job = await getJob(deps, params);
  const not = (reason: Result<"cron.run">["reason"], error?: string): Result<"cron.run"> => ({
    ok: true,
    ran: false,
    reason,
    ...(error === undefined ? {} : { error }),
    processInstanceId,
  });
  if (params.mode === "if-enabled" && !job.enabled) return not("disabled");
  if (params.mode === "due" && (job.nextRunAtMs === undefined || job.nextRunAtMs > deps.now())) return not("not-due");
  const fired = await deps.scheduler().runNow(job);
  if (fired.kind === "admitted") return { ok: true, enqueued: true, runId: fired.run.wireId, processInstanceId };
  if (fired.kind === "stale" || fired.kind === "full") throw notFound(job.jobId);
  if (fired.kind === "unreadable") return not("failed", "what is stored of the job cannot be read");
  if (fired.kind === "skipped") return not("already-running");
  return fired.kind === "disabled" ? not("disabled", fired.job.disabledReason) : not("failed", toCronJob(fired.job).state.lastError);
}

function tell(deps: CronHandlerDeps, action: "added" | "updated", record: CronJobRecord) {
  const job = toCronJob(record);
  const next = record.nextRunAtMs === undefined ? {} : { nextRunAtMs: record.nextRunAtMs };
  deps.bus.publish("cron", { jobId: record.jobId, action, job, ...next });
  deps.scheduler().look();
  return job;
}

function idOf({ id, jobId = id ?? "" }: { readonly id?: string | undefined; readonly jobId?: string | undefined }): string {
  return id ?? jobId;
}

async function getJob(deps: CronHandlerDeps, params: Parameters<typeof idOf>[0]): Promise<CronJobRecord> {
  const job = await deps.store.cron.find(idOf(params));
  if (job === undefined) throw notFound(idOf(params));
  return job;
}

function notFound(jobId: string): ProtocolError {
  return new ProtocolError("CRON_JOB_NOT_FOUND", `no cron job has the id ${JSON.stringify(jobId.slice(0, 200))}`, {
    details: { jobId: jobId.slice(0, 200) },
    remedy: "list them with: ./portreeve cron list --all",
  });
}

function changed(jobId: string): ProtocolError {
  return new ProtocolError("CRON_JOB_CHANGED", "the job was changed since it was read", {
    details: { jobId },
    remedy: "read it again, and change what it is now",
  });
}

function tooMany(): ProtocolError {
  return new ProtocolError("CRON_TOO_MANY_JOBS", `there are ${cronBounds.jobs} jobs, and may be no more`, {
    remedy: "remove those that are not needed: ./portreeve cron list --all",
  });
}
