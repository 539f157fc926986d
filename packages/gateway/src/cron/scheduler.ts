/**
 * Starts what is due. Each time of a job is one store call that also admits its run, so that it comes to pass once, whatever
 * dies or is lost in between; this file only knows when to look. Without jobs it has no timer and loads nothing.
 */
import { type ThinkingLevel, thinkingLevels } from "@portreeve/protocol";
import type { Bus } from "../bus.ts";
import type { Clock } from "../kit/clock.ts";
import { background, type Log } from "../kit/log.ts";
import type { CronFireAsk, CronFired, CronJobRecord, CronStore, DueJob } from "../store/cron-store.ts";
import { toCronJob, toFinished, toStarted } from "./job-view.ts";
import { nextAfter } from "./schedule.ts";

export interface SchedulerDeps {
  readonly store: CronStore;
  readonly bus: Bus;
  readonly clock: Clock;
  readonly log: Log;
  readonly agents: {
    readonly ids: readonly string[];
    readonly modelToStart: (agentId: string) => string;
    readonly problemWithModel: (id: string) => string | undefined;
  };
  /** False: jobs are kept, and started by hand alone. */
  readonly enabled: boolean;
  readonly maxConcurrentRuns: number;
  /** Where a job names none. Asked when one has to know: the data of all zones is 8 MB of memory. */
  readonly localTimeZone: () => string;
}

export interface Scheduler extends AsyncDisposable {
  /** Jobs were changed: the next time may be another. */
  look(): void;
  /** Starts the job beside its schedule. */
  runNow(job: CronJobRecord): Promise<CronFired>;
  readonly enabled: boolean;
  readonly timeZone: string;
}

/** A clock that jumps, and a hint that is lost, are noticed this much later. */
const lookEveryMs = 60_000;
const retryAfterFailureMs = 1_000;
const firesAtOnce = 32;

/** Resolves once what was to be removed by now is. */
export async function startScheduler(deps: SchedulerDeps): Promise<Scheduler> {
  await deps.store.settleAll();
  const scheduler = new StoredScheduler(deps);
  scheduler.look();
  return scheduler;
}

class StoredScheduler implements Scheduler {
  readonly enabled: boolean;
  readonly #deps: SchedulerDeps;
  readonly #hearing = new DisposableStack();
  #timer: Disposable | undefined;
  #isWanted = false;
  #isStopped = false;
  #looking: Promise<void> | undefined;
  readonly #telling = new Set<Promise<void>>();

  constructor(deps: SchedulerDeps) {
    this.#deps = deps;
    this.enabled = deps.enabled;
    this.#hearing.use(deps.bus.subscribe("run-ended", ({ runId }) => this.#onRunEnded(runId)));
  }

  get timeZone(): string {
    return this.#deps.localTimeZone();
  }

  look(): void {
    this.#isWanted = true;
    if (this.#looking !== undefined || this.#isStopped || !this.enabled) return;
    this.#looking = this.#lookAll().finally(() => {
      this.#looking = undefined;
      if (this.#isWanted) this.look();
    });
    background(this.#deps.log, "start jobs", this.#looking);
  }

  async runNow(job: CronJobRecord): Promise<CronFired> {
    const fired = await this.#fire(job.jobId, { job, dueAtMs: undefined, nextRunAtMs: undefined });
    this.#tell(fired);
    return fired;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isStopped = true;
    this.#isWanted = false;
    this.#hearing.dispose();
    this.#timer?.[Symbol.dispose]();
    await this.#looking;
    await Promise.allSettled(this.#telling);
  }

  async #lookAll(): Promise<void> {
    while (this.#isWanted && !this.#isStopped) {
      this.#isWanted = false;
      try {
        await this.#startDue();
        await this.#setTimer();
      } catch (error) {
        this.#deps.log.error({ err: error }, "jobs could not be started");
        this.#lookIn(retryAfterFailureMs);
      }
    }
  }

  async #startDue(): Promise<void> {
    const { store, clock } = this.#deps;
    while (!this.#isStopped) {
      const due = await store.listDue(clock.now(), firesAtOnce);
      if (due.length === 0) return;
      const fired = await Promise.all(due.map((one) => this.#startOne(one)));
      // What had to wait is looked at again when a run ends.
      if (fired.some(({ kind }) => kind === "full")) return;
    }
  }

  async #startOne({ jobId, dueAtMs, job }: DueJob): Promise<CronFired> {
    const fired = await this.#fire(jobId, { job, dueAtMs, nextRunAtMs: job && (await this.#nextOf(job)) });
    this.#tell(fired);
    return fired;
  }

  async #nextOf({ spec, createdAtMs }: CronJobRecord): Promise<number | undefined> {
    const facts = { schedule: spec.schedule, createdAtMs, timeZone: this.timeZone };
    const next = await nextAfter(facts, this.#deps.clock.now());
    return next.kind === "at" ? next.atMs : undefined;
  }

  #fire(jobId: string, { job, ...times }: Firing): Promise<CronFired> {
    const { store, clock, maxConcurrentRuns } = this.#deps;
    const seenUpdatedAtMs = times.dueAtMs === undefined ? undefined : job?.updatedAtMs;
    const ask: CronFireAsk = { jobId, ...times, seenUpdatedAtMs, ...this.#findFacts(job), maxConcurrentRuns };
    return store.fire(ask, clock.now());
  }

  #findFacts(job: CronJobRecord | undefined): Pick<CronFireAsk, "problem" | "defaultModel" | "thinking"> {
    const { agents } = this.#deps;
    if (job === undefined || !agents.ids.includes(job.agentId))
      return { problem: `the agent ${JSON.stringify(job?.agentId)} is not configured any more`, defaultModel: "", thinking: undefined };
    const { payload } = job.spec;
    const turn = payload.kind === "agentTurn" ? payload : undefined;
    const defaultModel = agents.modelToStart(job.agentId);
    return { problem: agents.problemWithModel(turn?.model ?? defaultModel), defaultModel, thinking: toThinking(turn?.thinking) };
  }

  #tell(fired: CronFired): void {
    const { bus, log } = this.#deps;
    if (fired.kind === "stale" || fired.kind === "full") return;
    if (fired.kind === "unreadable") return log.error({}, "a job cannot be read and is disabled");
    const { job } = fired;
    const { jobId } = job;
    if (fired.kind === "disabled") {
      log.warn({ jobId, reason: job.disabledReason }, "a job is disabled");
      return bus.publish("cron", { jobId, action: "updated", job: toCronJob(job) });
    }
    if (fired.kind !== "admitted") {
      const finished = job.lastFire && toFinished(job, job.lastFire);
      log.warn({ jobId, reason: finished?.error }, "a job did not start");
      if (finished !== undefined) bus.publish("cron", finished);
      return;
    }
    const { run } = fired;
    log.info({ jobId, runId: run.runId }, "a job has started");
    bus.publish("cron", toStarted(job, run));
    if (fired.createdSession) bus.publish("sessions.changed", { sessionKey: run.sessionKey, reason: "create" });
    bus.publish("sessions.changed", { sessionKey: run.sessionKey, reason: "send", runId: run.wireId });
    bus.publish("work", undefined);
  }

  #onRunEnded(runId: string): void {
    const told = this.#settle(runId).finally(() => this.#telling.delete(told));
    this.#telling.add(told);
    background(this.#deps.log, "tell the end of a job's run", told);
  }

  async #settle(runId: string): Promise<void> {
    const { store, bus } = this.#deps;
    const settled = await store.settle(runId);
    if (settled === undefined) return;
    const { job, fire, removed } = settled;
    const finished = toFinished(job, fire);
    if (finished !== undefined) bus.publish("cron", finished);
    if (removed) bus.publish("cron", { jobId: job.jobId, action: "removed" });
    // A place is free.
    this.look();
  }

  async #setTimer(): Promise<void> {
    const { store, clock } = this.#deps;
    const { nextRunAtMs } = await store.counts();
    this.#timer?.[Symbol.dispose]();
    this.#timer = undefined;
    if (nextRunAtMs === undefined) return;
    const inMs = nextRunAtMs - clock.now();
    this.#lookIn(inMs <= 0 ? lookEveryMs : Math.min(inMs, lookEveryMs));
  }

  #lookIn(ms: number): void {
    this.#timer?.[Symbol.dispose]();
    if (this.#isStopped) return;
    const { clock } = this.#deps;
    this.#timer = clock.schedule(clock.now() + ms, () => this.look());
  }
}

interface Firing {
  readonly job: CronJobRecord | undefined;
  readonly dueAtMs: number | undefined;
  readonly nextRunAtMs: number | undefined;
}

/** Levels were checked when the job was written. */
function toThinking(level: string | undefined): ThinkingLevel | undefined {
  return thinkingLevels.find((known) => known === level);
}
