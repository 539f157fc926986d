/** What the gateway remembers of jobs: each of their times comes to pass once, in the transaction that admits its run. */
import type { CronJobSpec, ThinkingLevel } from "@portreeve/protocol";
import type { RunAuthority } from "../principal/principal.ts";
import type { RunRecord } from "./store.ts";

export interface CronJobToWrite {
  readonly spec: CronJobSpec;
  readonly agentId: string;
  /** The session it speaks in; undefined: one of its own each time. */
  readonly targetKey: string | undefined;
  readonly enabled: boolean;
  /** The principal whose authority it uses: whoever last changed it. */
  readonly actsFor: string;
  readonly authority: RunAuthority;
  /** Undefined: it is not due by itself. */
  readonly nextRunAtMs: number | undefined;
}

export interface CronJobRecord extends CronJobToWrite {
  readonly jobId: string;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
  /** Why the gateway disabled it. */
  readonly disabledReason: string | undefined;
  readonly lastFire: CronFire | undefined;
  /** The newest that started a run: times that are skipped for it come after it. */
  readonly lastRun: CronFire | undefined;
}

/** What came of one time. */
export interface CronFire {
  readonly jobId: string;
  readonly jobName: string;
  readonly dueAtMs: number;
  readonly atMs: number;
  readonly wantsDelivery: boolean;
  readonly outcome:
    | { readonly kind: "run"; readonly run: RunRecord }
    /** `run` had not ended: so many times in a row. */
    | { readonly kind: "skipped"; readonly runId: string; readonly times: number }
    | { readonly kind: "error"; readonly error: string };
}

export interface CronFilter {
  readonly limit: number;
  readonly offset: number;
  readonly enabled: boolean | undefined;
  readonly query: string | undefined;
  readonly agentId: string | undefined;
  readonly sessionKey: string | undefined;
  readonly scheduleKind: string | undefined;
  readonly lastRunStatus: "ok" | "error" | "skipped" | "unknown" | undefined;
  readonly sortBy: "nextRunAtMs" | "updatedAtMs" | "name";
  readonly sortDir: "asc" | "desc";
}

export interface CronFireFilter {
  readonly limit: number;
  readonly offset: number;
  readonly jobId: string | undefined;
  readonly agentId: string | undefined;
  readonly runId: string | undefined;
  readonly statuses: readonly ("ok" | "error" | "skipped")[] | undefined;
  readonly wantsDelivery: boolean | undefined;
  readonly query: string | undefined;
  readonly sortDir: "asc" | "desc";
}

export interface CronFireAsk {
  readonly jobId: string;
  /** The time that comes to pass; undefined: by hand. */
  readonly dueAtMs: number | undefined;
  /** Still to come; undefined: it was the last. */
  readonly nextRunAtMs: number | undefined;
  /** When the job that the next time is of was last changed; undefined: by hand, or it cannot be read. */
  readonly seenUpdatedAtMs: number | undefined;
  /** What it is now that keeps a run from starting: recorded instead of one. */
  readonly problem: string | undefined;
  readonly defaultModel: string;
  readonly thinking: ThinkingLevel | undefined;
  /** Beyond so many runs of jobs at once a time has to wait. */
  readonly maxConcurrentRuns: number;
}

export type CronFired =
  | { readonly kind: "admitted"; readonly job: CronJobRecord; readonly run: RunRecord; readonly createdSession: boolean }
  | { readonly kind: "skipped" | "failed" | "disabled"; readonly job: CronJobRecord }
  /** It came to pass already, the next one has passed too, it waits, or the job was changed, disabled or removed. */
  | { readonly kind: "stale" }
  /** It is disabled. */
  | { readonly kind: "unreadable" }
  | { readonly kind: "full" };

export interface DueJob {
  readonly jobId: string;
  readonly dueAtMs: number;
  readonly job: CronJobRecord | undefined;
}

export interface CronStore {
  add(job: CronJobToWrite, by: string, nowMs: number): Promise<CronJobRecord | "too-many">;
  /** `sawUpdatedAtMs`: what the change was made from. */
  update(
    jobId: string,
    job: CronJobToWrite,
    seen: CronJobRecord,
    by: string,
    nowMs: number,
  ): Promise<CronJobRecord | "missing" | "changed">;
  remove(jobId: string, by: string, nowMs: number): Promise<"removed" | "missing">;
  find(jobId: string): Promise<CronJobRecord | undefined>;
  list(filter: CronFilter): Promise<{ readonly jobs: readonly CronJobRecord[]; readonly total: number; readonly revision: string }>;
  counts(): Promise<{ readonly jobs: number; readonly nextRunAtMs: number | undefined }>;
  /** The newest moment at which a time of the job came to pass or somebody started it, whatever the clock did since; 0 for none. */
  passedUntil(jobId: string): Promise<number>;
  /** The oldest first, without only times that wait for a run of their job; `job` is undefined where it cannot be read. */
  listDue(nowMs: number, limit: number): Promise<readonly DueJob[]>;
  /**
   * One time of a job: its run is admitted, or what kept it from starting is written down, and the next time is set, in one
   * transaction. The authority is read in it too: a job whose principal may not start runs any more is disabled.
   */
  fire(ask: CronFireAsk, nowMs: number): Promise<CronFired>;
  /** What came of times: only what is over. */
  listFires(filter: CronFireFilter): Promise<{ readonly fires: readonly CronFire[]; readonly total: number }>;
  /** The job that started the run, when one did; removes it when its only time has started that run, it went well, and it was to be removed then. */
  settle(runId: string): Promise<{ readonly job: CronJobRecord; readonly fire: CronFire; readonly removed: boolean } | undefined>;
  /** Removes the jobs that were to be removed after a run that has ended. */
  settleAll(): Promise<void>;
}

export const cronBounds = {
  jobs: 10_000,
  /** Times that are kept of one job, and of all. */
  firesOfJob: 200,
  fires: 20_000,
  /** Sessions that are kept of a job that has one of its own each time. */
  sessionsOfJob: 20,
} as const;
