/**
 * What the gateway remembers, as sentences of the domain. Every method is atomic and durable once it resolves: it
 * survives kill -9 and power loss. Nobody holds a transaction; expected outcomes are named return values.
 * A method rejects with ProtocolError STORE_UNAVAILABLE when the state cannot be written or read; then nothing was changed.
 */
import type { Message, RunStatus, Silence, Usage } from "@portreeve/protocol";
import type { RunAuthority, SessionView, StoredLimits } from "../principal/principal.ts";
import type { Admission, Asked, Replay, RunToAdmit } from "./admitting.ts";
import type { ApprovalStore } from "./approvals.ts";
import type { AttemptStore } from "./attempt-store.ts";
import type { Claimer } from "./claimer.ts";
import type { CompactionStore } from "./compactions.ts";
import type { AuditStore, ConfigChangeStore, RefusalStore } from "./audit-store.ts";
import type { BearerStore } from "./bearer-store.ts";
import type { DeviceStore } from "./device-store.ts";
import type { CronStore } from "./cron-store.ts";
import type { ImportStore } from "./importing.ts";
import type { SetupCodeStore } from "./setup-codes.ts";
import type { NodeStore } from "./nodes.ts";
import type { NodeWorkStore } from "./node-work.ts";
import type { ProcessStore } from "./process-store.ts";
import type { RunViewStore } from "./run-views.ts";
import type { Completion, JournalEntry, Outcome } from "./journal.ts";
import type { BudgetStore } from "./budgets.ts";
import type { ChildToSpawn, RunTerms, SpawnOutcome } from "./spawning.ts";
import type { UsageStore } from "./usage.ts";

export interface Store extends AsyncDisposable {
  readonly devices: DeviceStore;
  readonly bearers: BearerStore;
  readonly attempts: AttemptStore;
  readonly setupCodes: SetupCodeStore;
  readonly nodes: NodeStore;
  readonly nodeWork: NodeWorkStore;
  readonly approvals: ApprovalStore;
  readonly audit: AuditStore;
  readonly configChanges: ConfigChangeStore;
  readonly refusals: RefusalStore;
  readonly sessions: SessionStore;
  readonly runs: RunStore;
  readonly processes: ProcessStore;
  readonly budgets: BudgetStore;
  readonly usage: UsageStore;
  readonly runViews: RunViewStore;
  readonly cron: CronStore;
  readonly imports: ImportStore;
  /** Why nothing can be written, when a write has failed for that and another one, made now, does too. */
  findRefusal(): Promise<string | undefined>;
}

// ---- sessions

export interface SessionRecord {
  readonly key: string;
  readonly sessionId: string;
  readonly agentId: string;
  readonly label: string | undefined;
  /** `provider/name`, when set for this session. */
  readonly model: string | undefined;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
  readonly archivedAtMs: number | undefined;
  /** The principal that made it. */
  readonly createdBy: string;
  /** What every run in it is limited to. */
  readonly limits: StoredLimits;
  readonly rootKey: string;
  readonly parentKey: string | undefined;
  readonly depth: number;
  readonly role: "main" | "orchestrator" | "leaf";
  readonly newestRun:
    | {
        readonly runId: string;
        readonly status: RunStatus;
        readonly scopes: readonly string[];
        readonly startedAtMs: number | undefined;
        readonly endedAtMs: number | undefined;
      }
    | undefined;
  /** Wire ids of runs that have not ended. */
  readonly activeRunIds: readonly string[];
}

export interface SessionFilter {
  readonly limit: number;
  readonly offset: number;
  /** Only sessions that whoever asks may see. */
  readonly view?: SessionView;
  readonly parentKey?: string | undefined;
  readonly agentId?: string | undefined;
  readonly label?: string | undefined;
  readonly search?: string | undefined;
  readonly updatedSinceMs?: number | undefined;
  readonly excludeChildren?: boolean | undefined;
  /** Not those that jobs have for themselves. */
  readonly excludeJobs?: boolean | undefined;
  readonly archived: boolean | "all";
}

/** Which session a caller means: what is left out may be anything. */
export interface MeantSession {
  readonly sessionId?: string | undefined;
  readonly isArchived?: true | undefined;
}

export interface Lineage {
  readonly parentKey: string;
  readonly depth: number;
  readonly role: "orchestrator" | "leaf";
}

export interface SessionStore extends CompactionStore {
  /** A session outside of `view` is not found. */
  find(key: string, view?: SessionView): Promise<SessionRecord | undefined>;
  findById(sessionId: string, view?: SessionView): Promise<SessionRecord | undefined>;
  list(filter: SessionFilter): Promise<{ readonly sessions: readonly SessionRecord[]; readonly total: number }>;
  /**
   * Makes the session when it is missing, unless one is meant. Lineage is written only where there is none. `other`: it is not the
   * one that is meant.
   */
  patch(
    key: string,
    patch: {
      readonly agentId: string;
      readonly label?: string | null;
      readonly model?: string | null;
      readonly archived?: boolean;
      readonly lineage?: Lineage;
      readonly meant?: MeantSession;
      readonly by: string;
    },
    nowMs: number,
  ): Promise<
    | { readonly kind: "patched"; readonly session: SessionRecord; readonly created: boolean }
    | { readonly kind: "lineage-fixed" }
    | { readonly kind: "other" }
  >;
  /**
   * Empties the transcript under a new session id; results that waited for the session are dismissed. Audited. `busy` while a run
   * of it has not ended; `other`: it is not the one that is meant.
   */
  reset(
    key: string,
    reset: { readonly meant?: MeantSession; readonly by: string },
    nowMs: number,
  ): Promise<{ readonly kind: "reset"; readonly session: SessionRecord } | { readonly kind: "missing" | "busy" | "other" }>;
  /** Deletes session and transcript, and what its runs keep of it. `busy` while a run of it has not ended; `other`: it is not the one that is meant. */
  delete(key: string, by: string, nowMs: number, meant?: MeantSession): Promise<"deleted" | "missing" | "busy" | "other">;
  /** Adds a message that no run said. Audited. `busy` while a run of the session has not ended. */
  inject(
    key: string,
    message: TranscriptMessage,
    at: { readonly by: string; readonly nowMs: number },
  ): Promise<{ readonly kind: "injected"; readonly messageId: string } | { readonly kind: "missing" | "busy" }>;
  /** Oldest first; `offset` counts from the newest message. */
  listMessages(
    key: string,
    page: { readonly limit: number; readonly offset: number },
  ): Promise<{ readonly messages: readonly Message[]; readonly total: number }>;
  /** Those with the numbers `fromSeq` to `throughSeq`, oldest first. */
  messagesBetween(key: string, range: { readonly fromSeq: number; readonly throughSeq: number }): Promise<readonly Message[]>;
  findMessage(key: string, messageId: string): Promise<Message | undefined>;
  /** The first and the last message of each session that has any. */
  ends(keys: readonly string[]): Promise<ReadonlyMap<string, { readonly first: Message; readonly last: Message }>>;
  /** The number of what a user said with that text since then, if it is among the newest messages; else the one that comes next. */
  placeOf(key: string, said: { readonly text: string; readonly sinceMs: number } | undefined): Promise<number>;
  /** Children's sessions with `cleanup: "delete"` whose result the parent has read, and below which all has ended and been read. */
  listToCleanUp(): Promise<readonly string[]>;
  /** Archives children's sessions in which nothing has happened since `beforeMs` and nothing runs, there or below; answers their keys. */
  archiveChildren(beforeMs: number, nowMs: number): Promise<readonly string[]>;
  /** Ids of the attachments of sessions that are not archived, or in which something runs. */
  listAttachmentIds(): Promise<readonly string[]>;
  count(): Promise<number>;
  /** How many each agent has; agents without one are left out. */
  countByAgent(): Promise<ReadonlyMap<string, number>>;
}

// ---- runs

export interface RunRecord {
  readonly runId: string;
  /** What the wire calls `runId`: the caller's idempotency key, or a name of ours. */
  readonly wireId: string;
  readonly sessionKey: string;
  readonly sessionId: string;
  readonly rootSessionKey: string;
  readonly agentId: string;
  readonly trigger: "message" | "spawn" | "announce" | "cron";
  readonly input: string;
  readonly label: string | undefined;
  /** `provider/name`, fixed at admission. */
  readonly model: string;
  readonly authority: RunAuthority;
  /** What it was started with beside its task; empty for most. */
  readonly terms: RunTerms;
  readonly startedBy: string;
  readonly parentRunId: string | undefined;
  readonly parentSessionKey: string | undefined;
  /** Whether its result is delivered to the parent. */
  readonly expectsCompletion: boolean;
  readonly status: RunStatus;
  /** Counted from the first turn. */
  readonly timeoutMs: number | undefined;
  readonly deadlineAtMs: number | undefined;
  readonly createdAtMs: number;
  readonly startedAtMs: number | undefined;
  readonly endedAtMs: number | undefined;
  /** Set with a terminal status. */
  readonly ending: Pick<Ending, "text" | "error" | "stopReason" | "eventSeq"> | undefined;
  readonly usage: Usage;
  /** Undefined: a call of it has no known price. */
  readonly costMicroUsd: number | undefined;
}

/**
 * What becomes of a message for a session in which a run works. `followup`: a turn of its own, afterwards. `steer`: taken into
 * that run's turn between two of its steps. `collect`: one turn with all others that were collected. `interrupt`: the session's
 * runs are cancelled, with all they spawned. `notify`: no turn of its own, busy or not; the next one there reads it first.
 */
export type QueueMode = "steer" | "followup" | "collect" | "interrupt" | "notify";

export interface Claimed {
  readonly claims: readonly Claim[];
  /** Ended, and delivered like any other end: as `interrupted` where a run could not be continued, else there was nothing to do. */
  readonly givenUp: readonly RunRecord[];
}

/** A claimed run: the claimer alone may append, until the lease ends or the epoch moves on. */
export interface Claim {
  readonly run: RunRecord;
  readonly epoch: number;
  readonly journal: readonly JournalEntry[];
  /** Inbox rows this claim consumed, now in the journal too. */
  readonly consumed: readonly Completion[];
  /** Runs whose messages this claim took in: they have ended. */
  readonly absorbed: readonly RunRecord[];
  /** Two workers in a row died with it at the same step: it may be what they died of, and is carried while no other suspect is. */
  readonly isSuspect: boolean;
}

/** A message that goes to the transcript with an entry. */
export type TranscriptMessage = Omit<Message, "__openclaw">;

export interface Ending {
  readonly outcome: Outcome;
  /** Empty where there was a silence. */
  readonly text: string;
  readonly silence?: Silence | undefined;
  /** The reply ended where its model had no tokens left. */
  readonly isCutOff?: boolean | undefined;
  /** Why `text` is not the value that was asked for. */
  readonly schemaError?: string | undefined;
  readonly error: string | undefined;
  readonly stopReason: string;
  /** Of a run that ended while it was parked: the number of its last event. */
  readonly eventSeq?: number | undefined;
}

/**
 * A session's runs, or one of them: exactly, or by the wire's id, which several may have: the asker's own if there is one; or what was delegated from a session and all below that, but
 * none of the session's own; or all that somebody started who may not any more, `by` whoever decided that.
 */
export type RunSelection =
  | { readonly sessionKey: string; readonly runId?: string | undefined; readonly wireId?: undefined }
  | { readonly sessionKey: string; readonly wireId: string; readonly askedBy: string; readonly runId?: undefined }
  | { readonly belowSessionKey: string }
  | { readonly startedBy: string; readonly by: string };

/** Text so far of replies that are being streamed, by run id, each under the claim it is streamed for. */
export type Partials = ReadonlyMap<string, { readonly epoch: number; readonly text: string }>;

export interface RunStore {
  /** What was made under the key, whatever would be refused by now. Undefined: nothing; `admit` and `spawn` look again. */
  findReplay(asked: Asked): Promise<Replay | undefined>;
  /** `partials`: text so far by run id, kept in the transcript of what is interrupted. */
  admit(run: RunToAdmit, nowMs: number, partials?: Partials): Promise<Admission>;
  /** Limits, child session, child run, lineage, idempotency and audit row: one transaction, all or nothing. */
  spawn(child: ChildToSpawn, nowMs: number): Promise<SpawnOutcome>;
  /**
   * Claims runs that can go on, a suspect first and then the oldest: queued; waiting with a child's result unread or a steering
   * message; or left by a dead owner. What the claimer carries itself it keeps, however late it is. At most one run of a session is claimed at a time, and at most `maxConcurrentChildren` child runs in all,
   * shared fairly by conversations. Starting a turn with children's results or messages consumes them in the same transaction. `now`
   * is asked in it: by the time at which a process asked that slept since, leases may have run out which by a clock set back have not.
   */
  claim(claimer: Claimer, now: () => number): Promise<Claimed>;
  /**
   * Takes the session's steering messages into the run: their runs end, their texts go to the transcript. Only those whose
   * sender may do all that the run may.
   */
  absorb(
    run: { readonly runId: string; readonly sessionKey: string; readonly epoch: number },
    nowMs: number,
  ): Promise<
    | {
        readonly kind: "absorbed";
        readonly entry: JournalEntry;
        readonly messages: readonly TranscriptMessage[];
        readonly runs: readonly RunRecord[];
      }
    | { readonly kind: "nothing" | "lost" }
  >;
  /** Extends the leases of those of `runIds` that `owner` still holds; answers which. */
  renew(owner: string, runIds: readonly string[], leaseMs: number, nowMs: number): Promise<readonly string[]>;
  /** Ends every lease, and with it what was claimed under it: only whoever knows that no other process lives (the lock) may call it. */
  endLeases(): Promise<void>;
  /** Gives back what `owner` holds: the next claim continues it and counts no death. */
  release(owner: string): Promise<void>;
  /** Makes a run for every unread result that no run is waiting for: after a start, whatever happened before it. */
  ensureDelivery(nowMs: number): Promise<void>;
  /** Appends entries and transcript messages. `lost`: the epoch has moved on, nothing was written. */
  append(
    runId: string,
    epoch: number,
    entries: readonly JournalEntry[],
    messages: readonly TranscriptMessage[],
    nowMs: number,
  ): Promise<"ok" | "lost">;
  /** Parks on children. `unread`: a result is there already, keep going with a new claim; `no-children`: nothing to wait for. */
  park(runId: string, epoch: number, eventSeq: number, nowMs: number): Promise<"parked" | "unread" | "no-children" | "lost">;
  /** How many children of the run have not ended, and how many results it has not read. */
  openChildren(runId: string): Promise<{ readonly open: number; readonly unread: number }>;
  /**
   * Ends the run: outcome, transcript, usage, one inbox row for the parent session, and, when no run would read that row,
   * one announce run; also one for this session's own unread rows. `last`: entries that go before the end.
   */
  end(
    runId: string,
    epoch: number,
    ending: Ending,
    messages: readonly TranscriptMessage[],
    nowMs: number,
    last?: readonly JournalEntry[],
  ): Promise<{ readonly kind: "ended"; readonly run: RunRecord } | { readonly kind: "lost" }>;
  /**
   * Cancels the named runs and all their descendants, whatever they do; later appends of their workers are lost. A
   * cancelled run whose parent goes on leaves an inbox row. `partials`: text so far by run id, kept in the transcript.
   * Those of a starter leave nothing to be read, and their number is audited.
   */
  cancel(select: RunSelection, partials: Partials, nowMs: number): Promise<readonly RunRecord[]>;
  /** Runs whose deadline has passed: parked and queued ones are ended as `timed_out`; running ones are only named. `now`: as in `claim`. */
  expire(now: () => number): Promise<{ readonly ended: readonly RunRecord[]; readonly running: readonly string[] }>;
  /** Principals (no runs) of whom, through any number of runs, a run has not ended or a result was not read. */
  listStarters(): Promise<readonly string[]>;
  nextDeadline(): Promise<number | undefined>;
  find(runId: string): Promise<RunRecord | undefined>;
  /** By wire id, the newest first, within the tree `rootKey` when it is given. */
  findByWireId(wireId: string, view: { readonly rootKey?: string | undefined }): Promise<RunRecord | undefined>;
  counts(): Promise<{
    readonly byStatus: Readonly<Record<string, number>>;
    readonly children: { readonly accepted: number; readonly completed: number; readonly announced: number; readonly undelivered: number };
  }>;
}
