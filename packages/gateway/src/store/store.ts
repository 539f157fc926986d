/**
 * What the gateway remembers, as sentences of the domain. Every method is atomic and durable once it resolves: it
 * survives kill -9 and power loss. Nobody holds a transaction; expected outcomes are named return values.
 * A method rejects with ProtocolError STORE_UNAVAILABLE when the state cannot be written; then nothing was changed.
 */
import type { Message, RunStatus, Usage } from "@portreeve/protocol";
import type { RunAuthority } from "../principal/principal.ts";
import type { AttemptStore } from "./attempt-store.ts";
import type { AuditStore, RefusalStore } from "./audit-store.ts";
import type { BearerStore } from "./bearer-store.ts";
import type { SetupCodeStore } from "./setup-codes.ts";
import type { Actor, ApprovalOutcome, DeviceManagement, Elevation } from "./device-management.ts";
import type { NodeStore } from "./nodes.ts";
import type { RunViewStore } from "./run-views.ts";
import type { Completion, JournalEntry, Outcome } from "./journal.ts";
import type { ChildToSpawn, RunTerms, SpawnOutcome } from "./spawning.ts";
import type { UsageStore } from "./usage.ts";

export interface Store extends AsyncDisposable {
  readonly devices: DeviceStore;
  readonly bearers: BearerStore;
  readonly attempts: AttemptStore;
  readonly setupCodes: SetupCodeStore;
  readonly nodes: NodeStore;
  readonly audit: AuditStore;
  readonly refusals: RefusalStore;
  readonly sessions: SessionStore;
  readonly runs: RunStore;
  readonly usage: UsageStore;
  readonly runViews: RunViewStore;
}

// ---- devices

export interface DeviceFacts {
  readonly deviceId: string;
  /** Raw 32 bytes, base64url. */
  readonly publicKey: string;
  readonly displayName: string | undefined;
  readonly platform: string | undefined;
  readonly deviceFamily: string | undefined;
  readonly clientId: string;
  readonly clientMode: string;
  /** Undefined for a direct local peer. */
  readonly remoteIp: string | undefined;
}

/** What an approved device may do in one role. The token is derived from `generation`, never stored. */
export interface Grant {
  readonly role: string;
  /** Approved for good. */
  readonly scopes: readonly string[];
  /** What of them the current token covers. */
  readonly tokenScopes: readonly string[];
  readonly elevation: Elevation | undefined;
  readonly generation: number;
  readonly createdAtMs: number;
  readonly rotatedAtMs: number | undefined;
  readonly revokedAtMs: number | undefined;
}

export interface DeviceRecord extends DeviceFacts {
  /** What an operator named it. */
  readonly label: string | undefined;
  /** `bearer`: it has no key, and its token alone is its credential; such a device is never anything else. */
  readonly approvedVia: "silent" | "owner" | "bootstrap" | "bearer";
  readonly createdAtMs: number;
  readonly approvedAtMs: number;
  readonly lastSeenAtMs: number | undefined;
  readonly grants: readonly Grant[];
}

/** Everything stored of one device id. */
export type DeviceState =
  | {
      readonly kind: "unknown";
      /** An operator rejected, removed or revoked it once: never silent again. */ readonly refused: boolean;
      readonly pending: PairingRecord | undefined;
    }
  | { readonly kind: "paired"; readonly device: DeviceRecord; readonly refused: boolean; readonly pending: PairingRecord | undefined }
  /** The row cannot be read; it grants nothing and is named in the log. */
  | { readonly kind: "corrupt" };

export type PairingReason = "not-paired" | "role-upgrade" | "scope-upgrade" | "metadata-upgrade";

export interface PairingAsk extends DeviceFacts {
  readonly role: string;
  readonly scopes: readonly string[];
  readonly reason: PairingReason;
  readonly isRepair: boolean;
  /** What both sides show; undefined for a request from before there were any. */
  readonly words?: string | undefined;
}

export interface PairingRecord extends PairingAsk {
  readonly requestId: string;
  /** Merged requests hold every role and scope that was asked for. */
  readonly roles: readonly string[];
  readonly silent: boolean;
  readonly createdAtMs: number;
  readonly expiresAtMs: number;
}

export interface DeviceStore extends DeviceManagement {
  /** `publicKey`: the key that asks, so that a refusal of it is known. Never throws for a row it cannot read: that is `corrupt`. */
  find(deviceId: string, publicKey?: string): Promise<DeviceState>;
  list(nowMs: number): Promise<{ readonly pending: readonly PairingRecord[]; readonly paired: readonly DeviceRecord[] }>;
  /**
   * Pairs a device nobody approved by hand, exactly as asked, with its audit row. Refused as `not-new` when in the
   * meantime the device was paired, refused or has a pending request: the caller decides again.
   */
  approveSilently(
    ask: PairingAsk,
    nowMs: number,
  ): Promise<{ readonly kind: "approved"; readonly device: DeviceRecord } | { readonly kind: "not-new" }>;
  /**
   * Records one pending request a device: the same or a narrower ask keeps the id, a wider one replaces it with the union.
   * `dropped` means that the bound on pending requests is reached (16 a peer, 256 in all; the oldest are kept), `covered` that
   * an approval came first, `rejected` that the request `sawRequestId` was rejected since it was seen: nothing new is recorded.
   */
  requestPairing(
    ask: PairingAsk,
    nowMs: number,
    sawRequestId?: string,
  ): Promise<
    | { readonly kind: "pending"; readonly request: PairingRecord; readonly created: boolean; readonly superseded: string | undefined }
    | { readonly kind: "dropped" | "covered" | "rejected" }
  >;
  /**
   * Approves with the authority that `approver` has at this moment: every requested scope must be covered by what it holds
   * for good, or, with `untilMs`, for at least as long.
   */
  approve(requestId: string, approver: Actor, nowMs: number, untilMs?: number): Promise<ApprovalOutcome>;
  /** Rejects and remembers the key. */
  reject(
    requestId: string,
    rejecter: Actor,
    nowMs: number,
  ): Promise<{ readonly kind: "rejected"; readonly deviceId: string } | { readonly kind: "unknown" } | { readonly kind: "denied" }>;
  markSeen(deviceId: string, nowMs: number): Promise<void>;
  counts(nowMs: number): Promise<{ readonly requestsCreated: number; readonly pending: number }>;
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
  /** Only sessions of this tree. */
  readonly rootKey?: string | undefined;
  readonly parentKey?: string | undefined;
  readonly agentId?: string | undefined;
  readonly label?: string | undefined;
  readonly search?: string | undefined;
  readonly updatedSinceMs?: number | undefined;
  readonly excludeChildren?: boolean | undefined;
  readonly archived: boolean | "all";
}

export interface Lineage {
  readonly parentKey: string;
  readonly depth: number;
  readonly role: "orchestrator" | "leaf";
}

export interface SessionStore {
  /** `rootKey` limits the view: a session of another tree is not found. */
  find(key: string, rootKey?: string): Promise<SessionRecord | undefined>;
  findById(sessionId: string, rootKey?: string): Promise<SessionRecord | undefined>;
  list(filter: SessionFilter): Promise<{ readonly sessions: readonly SessionRecord[]; readonly total: number }>;
  /** Makes the session when it is missing. Lineage is written only where there is none. */
  patch(
    key: string,
    patch: {
      readonly agentId: string;
      readonly label?: string | null;
      readonly model?: string | null;
      readonly archived?: boolean;
      readonly lineage?: Lineage;
      readonly by: string;
    },
    nowMs: number,
  ): Promise<{ readonly kind: "patched"; readonly session: SessionRecord; readonly created: boolean } | { readonly kind: "lineage-fixed" }>;
  /** Deletes session and transcript. `busy` while a run of it has not ended. */
  delete(key: string, by: string, nowMs: number): Promise<"deleted" | "missing" | "busy">;
  /** Oldest first; `offset` counts from the newest message. */
  listMessages(
    key: string,
    page: { readonly limit: number; readonly offset: number },
  ): Promise<{ readonly messages: readonly Message[]; readonly total: number }>;
  /** Children's sessions with `cleanup: "delete"` whose result the parent has read. */
  listToCleanUp(): Promise<readonly string[]>;
  /** Archives children's sessions in which nothing has happened since `beforeMs` and nothing runs; answers their keys. */
  archiveChildren(beforeMs: number, nowMs: number): Promise<readonly string[]>;
  count(): Promise<number>;
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
  readonly trigger: "message" | "spawn" | "announce";
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
  readonly status: RunStatus;
  /** Counted from the first turn. */
  readonly timeoutMs: number | undefined;
  readonly deadlineAtMs: number | undefined;
  readonly createdAtMs: number;
  readonly startedAtMs: number | undefined;
  readonly endedAtMs: number | undefined;
  /** Set with a terminal status. */
  readonly ending: { readonly text: string; readonly error: string | undefined; readonly stopReason: string } | undefined;
  readonly usage: Usage;
  /** Undefined: a call of it has no known price. */
  readonly costMicroUsd: number | undefined;
}

export interface RunToAdmit {
  readonly sessionKey: string;
  readonly agentId: string;
  readonly wireId: string;
  readonly input: string;
  readonly label: string | undefined;
  /** The model when the session has none of its own. */
  readonly defaultModel: string;
  readonly authority: RunAuthority;
  readonly startedBy: string;
  /** Counted from the first turn; undefined: none. */
  readonly timeoutMs: number | undefined;
  /** Everything that makes two calls the same call. */
  readonly paramsHash: string;
}

export type Admission =
  | { readonly kind: "admitted"; readonly run: RunRecord; readonly createdSession: boolean }
  /** The same caller used the same key with the same parameters before. */
  | { readonly kind: "replayed"; readonly run: RunRecord }
  | { readonly kind: "mismatch" };

export interface Claimer {
  readonly owner: string;
  readonly leaseMs: number;
  readonly limit: number;
  readonly maxConcurrentChildren: number;
  /** The user message that carries children's results; `open` children of the run have not ended. */
  readonly quote: (completions: readonly Completion[], open: number) => string;
}

/** A claimed run: the claimer alone may append, until the lease ends or the epoch moves on. */
export interface Claim {
  readonly run: RunRecord;
  readonly epoch: number;
  readonly journal: readonly JournalEntry[];
  /** Inbox rows this claim consumed, now in the journal too. */
  readonly consumed: readonly Completion[];
}

/** A message that goes to the transcript with an entry. */
export type TranscriptMessage = Omit<Message, "__openclaw">;

export interface Ending {
  readonly outcome: Outcome;
  readonly text: string;
  readonly error: string | undefined;
  readonly stopReason: string;
}

/**
 * A session's runs, or one of them, by the wire's id or exactly; or all that somebody started who may not any more, `by`
 * whoever decided that.
 */
export type RunSelection =
  | { readonly sessionKey: string; readonly wireId?: string | undefined; readonly runId?: string | undefined }
  | { readonly startedBy: string; readonly by: string };

export interface RunStore {
  admit(run: RunToAdmit, nowMs: number): Promise<Admission>;
  /** Limits, child session, child run, lineage, idempotency and audit row: one transaction, all or nothing. */
  spawn(child: ChildToSpawn, nowMs: number): Promise<SpawnOutcome>;
  /**
   * Claims runs that can go on, oldest first: queued; waiting with a child's result unread; or left by a dead owner.
   * At most one run of a session is claimed at a time, and at most `maxConcurrentChildren` child runs in all.
   * Starting a turn with children's results consumes their inbox rows in the same transaction.
   */
  claim(claimer: Claimer, nowMs: number): Promise<readonly Claim[]>;
  /** Extends the leases of those of `runIds` that `owner` still holds; answers which. */
  renew(owner: string, runIds: readonly string[], leaseMs: number, nowMs: number): Promise<readonly string[]>;
  /** Gives up every lease: only whoever knows that no other process lives (the lock) may call it. */
  releaseAll(): Promise<void>;
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
   * one announce run; also one for this session's own unread rows.
   */
  end(
    runId: string,
    epoch: number,
    ending: Ending,
    messages: readonly TranscriptMessage[],
    nowMs: number,
  ): Promise<{ readonly kind: "ended"; readonly run: RunRecord } | { readonly kind: "lost" }>;
  /**
   * Cancels the named runs and all their descendants, whatever they do; later appends of their workers are lost. A
   * cancelled run whose parent goes on leaves an inbox row. `partials`: text so far by run id, kept in the transcript.
   * Those of a starter leave nothing to be read, and their number is audited.
   */
  cancel(select: RunSelection, partials: ReadonlyMap<string, string>, nowMs: number): Promise<readonly RunRecord[]>;
  /** Runs whose deadline has passed: parked and queued ones are ended as `timed_out`; running ones are only named. */
  expire(nowMs: number): Promise<{ readonly ended: readonly RunRecord[]; readonly running: readonly string[] }>;
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
