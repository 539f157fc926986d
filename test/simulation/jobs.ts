/** Jobs as their rows have them: each of their times comes to pass once, and none is lost but what one late run makes up for. */
import type { CronJobSpec } from "@portreeve/protocol";
import type { FaultyDatabase } from "./faulty-database.ts";
import { intervalOf } from "./job-drawing.ts";
import type { Timeline } from "./timeline.ts";

interface JobFacts {
  readonly job_id: string;
  readonly spec: string;
  readonly enabled: number;
  readonly created_at_ms: number;
  readonly updated_at_ms: number;
  readonly next_run_at_ms: number | null;
}

/** What came of one time, or of several that were skipped for the same run. */
interface FireFacts {
  readonly seq: number;
  readonly job_id: string;
  readonly due_at_ms: number;
  readonly at_ms: number;
  readonly kind: string;
  readonly run_id: string | null;
  readonly times: number;
}

/** A job as it was when somebody last looked. */
interface Known {
  readonly facts: JobFacts;
  readonly spec: CronJobSpec;
  /** The newest time that came to pass by itself; `untilMs`: everything up to then had passed. */
  last: { readonly dueAtMs: number; readonly atMs: number; readonly untilMs: number } | undefined;
  lastRunId: string | undefined;
  /** Of a job with one time: the run that it started; `isSure`: nobody started it by hand at that very moment. */
  own: { readonly runId: string; readonly isSure: boolean } | undefined;
}

/** What is known only to whoever asks: jobs that were to be removed, and jobs whose addition was acknowledged. */
export interface JobCallers {
  readonly removed: ReadonlySet<string>;
  readonly added: ReadonlySet<string>;
}

const open: ReadonlySet<string> = new Set(["queued", "running", "waiting"]);

export class Jobs {
  readonly #database: FaultyDatabase;
  readonly #timeline: Timeline;
  readonly #callers: () => JobCallers;
  readonly #found: (problem: string) => void;
  readonly #known = new Map<string, Known>();
  /** Jobs whose only time went well, and which were to go then. */
  readonly #spent = new Set<string>();
  /** `job moment` of every start by hand that a process began. */
  readonly #byHand = new Set<string>();
  readonly #runs = new Set<string>();
  readonly #timesOfRows = new Map<number, number>();
  readonly #outcomes = new Map<string, number>();
  #lastSeq = 0;

  constructor(parts: {
    readonly database: FaultyDatabase;
    readonly timeline: Timeline;
    readonly callers: () => JobCallers;
    readonly found: (problem: string) => void;
  }) {
    this.#database = parts.database;
    this.#timeline = parts.timeline;
    this.#callers = parts.callers;
    this.#found = parts.found;
  }

  get ids(): readonly string[] {
    return [...this.#known.keys()];
  }

  /** What came of times, by kind. */
  get outcomes(): ReadonlyMap<string, number> {
    return this.#outcomes;
  }

  isEnabled(jobId: string): boolean {
    return this.#known.get(jobId)?.facts.enabled === 1;
  }

  /** Enabled ones that would go on for ever; without those that are due, and of which no time came to pass since then. */
  endless(sinceMs: number): readonly string[] {
    return this.#enabled()
      .filter(({ facts, spec, last }) => spec.schedule.kind !== "at" && (!this.#isDue(facts) || (last?.atMs ?? 0) >= sinceMs))
      .map(({ facts }) => facts.job_id);
  }

  due(): readonly string[] {
    return this.#enabled().flatMap(({ facts }) => (this.#isDue(facts) ? [facts.job_id] : []));
  }

  hasOpenWork(): boolean {
    return this.#enabled().length > 0;
  }

  /** Whether some job's only time went well, so that it is to go. */
  hasSpent(): boolean {
    return this.#listSpent().length > 0;
  }

  /** A process is about to start a job. */
  firing(jobId: string, dueAtMs: number | undefined, nowMs: number): void {
    if (dueAtMs === undefined) this.#byHand.add(`${jobId} ${nowMs}`);
  }

  look(): void {
    const rows = this.#database
      .statement("select job_id, spec, enabled, created_at_ms, updated_at_ms, next_run_at_ms from cron_jobs")
      .all() as unknown as JobFacts[];
    const jobs = new Map(rows.map((job) => [job.job_id, job]));
    const fires = this.#newFires();
    for (const [jobId, known] of this.#known) if (!jobs.has(jobId)) this.#takeRemoved(jobId, known, fires.get(jobId) ?? []);
    for (const [jobId, job] of jobs) this.#takeJob(job, fires.get(jobId) ?? []);
  }

  lookAtTheEnd(): void {
    this.look();
    for (const { facts } of this.#enabled()) {
      if (facts.next_run_at_ms === null) this.#found(`${facts.job_id} is enabled, and is due no more`);
      else if (this.#isDue(facts)) this.#found(`${facts.job_id} is due since ${facts.next_run_at_ms}, and does not start`);
    }
    for (const jobId of this.#callers().added) {
      if (!this.#known.has(jobId) && !this.#spent.has(jobId) && !this.#callers().removed.has(jobId))
        this.#found(`${jobId} was acknowledged and is lost`);
    }
    for (const jobId of this.#listSpent()) this.#found(`${jobId} should be gone`);
    const stray = this.#database.statement("select run_id from runs where trigger = 'cron'").all();
    for (const { run_id: runId } of stray) if (!this.#runs.has(String(runId))) this.#found(`${String(runId)} is of no job's time`);
  }

  // ---- what has changed

  #newFires(): ReadonlyMap<string, FireFacts[]> {
    const rows = this.#database
      .statement("select seq, job_id, due_at_ms, at_ms, kind, run_id, times from cron_fires where seq > ? or kind = 'skipped' order by seq")
      .all(this.#lastSeq) as unknown as FireFacts[];
    const fresh = rows.filter((fire) => this.#timesOfRows.get(fire.seq) !== fire.times);
    this.#lastSeq = Math.max(this.#lastSeq, ...fresh.map(({ seq }) => seq));
    return Map.groupBy(fresh, (fire) => fire.job_id);
  }

  /** What was put to a session is what its runs were started with, once for each. `isKept`: it was never emptied. Of a job only so many sessions are kept. */
  lookAtTranscripts(isKept: (sessionKey: string) => boolean): void {
    const rows = this.#database
      .statement(
        "select session_key, input, count(*) as runs, (select count(*) from messages where messages.session_key = runs.session_key and json_extract(body, '$.role') = 'user' and instr(body, input) > 0) as stands from runs where trigger = 'cron' and session_key in (select session_key from sessions) and (started_at_ms is not null or status = 'succeeded') group by session_key, input",
      )
      .all();
    for (const { session_key: key, input, runs, stands } of rows)
      if (runs !== stands && isKept(String(key)))
        this.#found(
          `${String(input)} was started ${String(runs)} times in ${String(key)} and stands ${String(stands)} times in the transcript`,
        );
  }

  #takeJob(job: JobFacts, fires: readonly FireFacts[]): void {
    const before = this.#known.get(job.job_id);
    // Written by the store from a spec.
    const spec = JSON.parse(job.spec) as CronJobSpec;
    const hasNewTimes = JSON.stringify(spec.schedule) !== JSON.stringify(before?.spec.schedule);
    const last = hasNewTimes ? undefined : before?.last;
    const known: Known = { facts: job, spec, last, lastRunId: before?.lastRunId, own: hasNewTimes ? undefined : before?.own };
    this.#known.set(job.job_id, known);
    let hasPassed = false;
    for (const fire of fires) {
      const isNewDue: boolean = !hasPassed && before?.facts.next_run_at_ms !== job.next_run_at_ms;
      hasPassed = this.#takeFire(known, fire, isNewDue ? (before?.facts.next_run_at_ms ?? undefined) : undefined) || hasPassed;
    }
    const isSame = before?.facts.updated_at_ms === job.updated_at_ms && before.facts.enabled === job.enabled;
    if (isSame && !hasPassed && before.facts.next_run_at_ms !== job.next_run_at_ms)
      this.#found(`${job.job_id} was due at ${before.facts.next_run_at_ms}, and nothing came of it`);
    if (job.next_run_at_ms !== null && !isTime(known, job.next_run_at_ms))
      this.#found(`${job.job_id} is due at ${job.next_run_at_ms}, which is no time of its`);
  }

  /** Answers whether the time `expectedMs` came to pass: otherwise somebody has started it by hand. */
  #takeFire(known: Known, fire: FireFacts, expectedMs: number | undefined): boolean {
    const { job_id: jobId, due_at_ms: dueAtMs, at_ms: atMs, kind } = fire;
    const more = fire.times - (this.#timesOfRows.get(fire.seq) ?? 0);
    this.#timesOfRows.set(fire.seq, fire.times);
    if (kind === "run") this.#takeRun(known, fire);
    else if (kind === "error") this.#found(`${jobId} could not start`);
    // Only the newest of several that were skipped at once is told.
    const isScheduled = expectedMs !== undefined && (dueAtMs === expectedMs || more > 1);
    this.#count(isScheduled ? (kind === "run" ? (atMs - dueAtMs > 60_000 ? "late" : "on time") : kind) : `by hand: ${kind}`);
    if (!isScheduled) {
      if (dueAtMs !== atMs || !this.#byHand.has(`${jobId} ${atMs}`))
        this.#found(`${jobId} started at ${atMs}, for ${dueAtMs}, and was not due`);
      return false;
    }
    if (more === 1) this.#checkTime(known, dueAtMs, atMs);
    known.last = { dueAtMs, atMs, untilMs: Math.max(atMs, this.#timeline.highestMs) };
    return true;
  }

  #checkTime(known: Known, dueAtMs: number, atMs: number): void {
    const { last, facts } = known;
    if (atMs < dueAtMs) this.#found(`${facts.job_id} started at ${atMs}, before ${dueAtMs}`);
    if (last === undefined) return;
    if (dueAtMs <= last.atMs) this.#found(`${facts.job_id} was due at ${dueAtMs}, and had made up for it at ${last.atMs}`);
    if (dueAtMs <= last.dueAtMs) this.#found(`${facts.job_id} was due at ${dueAtMs} after ${last.dueAtMs} had come to pass`);
    const expectedMs = timeAfter(known, Math.max(last.untilMs, facts.updated_at_ms));
    if (dueAtMs > expectedMs) this.#found(`${facts.job_id} was due at ${expectedMs}, and comes to pass at ${dueAtMs} only`);
  }

  #takeRun(known: Known, { run_id, job_id: jobId, due_at_ms: dueAtMs, at_ms: atMs }: FireFacts): void {
    const runId = String(run_id);
    const { schedule } = known.spec;
    if (schedule.kind === "at" && Date.parse(schedule.at) === dueAtMs) known.own = { runId, isSure: !this.#byHand.has(`${jobId} ${atMs}`) };
    const before = this.#database.statement("select status from runs where run_id = ?").get(known.lastRunId ?? "");
    if (before !== undefined && open.has(String(before["status"]))) this.#found(`${runId} has begun, and ${known.lastRunId} goes on`);
    known.lastRunId = runId;
    if (this.#runs.has(runId)) this.#found(`${runId} is of two times`);
    this.#runs.add(runId);
    const run = this.#database.statement("select trigger, input, scopes, owner, depth from runs where run_id = ?").get(runId);
    const { payload } = known.spec;
    if (run?.["trigger"] !== "cron" || run["input"] !== (payload.kind === "agentTurn" ? payload.message : payload.text))
      this.#found(`${runId} is no run of ${known.facts.job_id}`);
    if (run?.["scopes"] !== '["operator.write"]' || run["owner"] !== 0 || run["depth"] !== 0)
      this.#found(`${runId} of a job holds ${String(run?.["scopes"])}`);
  }

  /** It may have come to pass just before. */
  #takeRemoved(jobId: string, known: Known, fires: readonly FireFacts[]): void {
    for (const fire of fires) if (fire.kind === "run") this.#takeRun(known, fire);
    this.#known.delete(jobId);
    const { spec, own } = known;
    if (this.#callers().removed.has(jobId)) return;
    const run = this.#database.statement("select status from runs where run_id = ?").get(own?.runId ?? "");
    if (spec.deleteAfterRun !== true || own === undefined || (run !== undefined && run["status"] !== "succeeded"))
      this.#found(`${jobId} is gone, and nobody removed it`);
    this.#spent.add(jobId);
    this.#count("spent");
  }

  #count(what: string): void {
    this.#outcomes.set(what, (this.#outcomes.get(what) ?? 0) + 1);
  }

  #enabled(): readonly Known[] {
    return [...this.#known.values()].filter(({ facts }) => facts.enabled === 1);
  }

  #isDue({ next_run_at_ms: nextAtMs }: JobFacts): boolean {
    return nextAtMs !== null && nextAtMs <= this.#timeline.nowMs;
  }

  #listSpent(): readonly string[] {
    const wentWell = this.#database.statement("select 1 from runs where run_id = ? and status = 'succeeded'");
    return [...this.#known.values()].flatMap(({ facts, spec, own }) => {
      const isOver = spec.deleteAfterRun === true && facts.next_run_at_ms === null && own?.isSure === true;
      return isOver && wentWell.get(own.runId) !== undefined ? [facts.job_id] : [];
    });
  }
}

// ---- schedules: only such as they are drawn here, whose times are evident

/** A moment, or how far apart times are and from where they count. */
function timesOf({ facts, spec }: Known): { readonly onceAtMs: number } | { readonly everyMs: number; readonly fromMs: number } {
  const { schedule } = spec;
  if (schedule.kind === "at") return { onceAtMs: Date.parse(schedule.at) };
  if (schedule.kind === "every") return { everyMs: schedule.everyMs, fromMs: facts.created_at_ms };
  return { everyMs: intervalOf(schedule.expr), fromMs: 0 };
}

function isTime(known: Known, atMs: number): boolean {
  const times = timesOf(known);
  return "onceAtMs" in times ? atMs === times.onceAtMs : (atMs - times.fromMs) % times.everyMs === 0;
}

function timeAfter(known: Known, ms: number): number {
  const times = timesOf(known);
  return "onceAtMs" in times ? times.onceAtMs : times.fromMs + (Math.floor((ms - times.fromMs) / times.everyMs) + 1) * times.everyMs;
}
