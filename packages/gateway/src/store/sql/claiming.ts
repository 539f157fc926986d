/** Claiming: which runs can go on, and the fenced lease under which one worker continues each. */
import type { Ids } from "../../kit/ids.ts";
import type { Completion, JournalEntry } from "../journal.ts";
import type { Claimer, GivenBack } from "../claimer.ts";
import type { Claim, Claimed, Ending, RunRecord } from "../store.ts";
import { endAbsorbed, isAwaited, listAbsorbable, type Said, toSaid, toSteeredEntry, toUserMessage } from "./absorbing.ts";
import { takeOrphanedInbox } from "./announcing.ts";
import { settle } from "./budgets.ts";
import { type Candidate, fairly, findCandidates, findSuspects, slotsOf } from "./candidates.ts";
import { deliver, writeEnding } from "./ending.ts";
import { appendMessages } from "./messages.ts";
import { takeNotes } from "./notes.ts";
import { appendEntries, CorruptRowError, findHeld, readJournal, readRun, toRunRecord } from "./run-rows.ts";
import type { InboxRow, RunTableRow } from "./schema.ts";
import { openStatuses } from "./session-rows.ts";
import { type Args, type Sql, statement } from "./statement.ts";
import { readTerms } from "./terms.ts";

export function claimRuns(sql: Sql, ids: Ids, claimer: Claimer, nowMs: number): Claimed {
  const claims: Claim[] = [];
  const givenUp: RunRecord[] = [];
  for (const one of claimer.letGo) giveBack(sql, one);
  const before = countRunning(sql, nowMs);
  const { leftBehind, children } = before.leftBehind > 0 && keepOwn(sql, claimer, nowMs) ? countRunning(sql, nowMs) : before;
  const slots = slotsOf(sql, { running: children, most: claimer.maxConcurrentChildren }, nowMs);
  const claim = ({ run_id, depth, root_session_key }: Candidate): boolean => {
    if (depth > 0 && slots.areTaken) return false;
    const found = readRun(sql, run_id);
    // The candidates were read before the first of them was claimed: a session may have got its running run since.
    if (isSessionBusy(sql, found, nowMs) || !canGoOn(sql, found)) return false;
    const outcome = claimOrGiveUp(sql, ids, found, claimer, nowMs);
    if (!("epoch" in outcome)) {
      givenUp.push(outcome);
      return false;
    }
    claims.push(outcome);
    if (depth > 0) slots.add(root_session_key);
    return true;
  };
  if (claimer.takesSuspect && leftBehind > 0) findSuspects(sql, nowMs).some(claim);
  const { ready, queuedBelow } = findCandidates(sql, { leftBehind, nowMs });
  for (const one of ready) {
    if (claims.length >= claimer.limit) return { claims, givenUp };
    claim(one);
  }
  for (const one of fairly(sql, slots, queuedBelow)) {
    if (claims.length >= claimer.limit || slots.areTaken) break;
    claim(one);
  }
  return { claims, givenUp };
}

/** A lease that nobody holds is nobody's death. */
function giveBack(sql: Sql, { runId, epoch, notBeforeMs }: GivenBack): void {
  const held = findHeld(sql, runId, epoch);
  if (held === undefined) return;
  const untilMs = Math.max(held.lease_until_ms ?? 0, Math.min(notBeforeMs, held.deadline_at_ms ?? Infinity));
  sql.run(leaveLease, { runId, untilMs });
}

interface Running {
  /** Whose lease ran out. */
  readonly leftBehind: number;
  /** Children whose lease did not. */
  readonly children: number;
}

function countRunning(sql: Sql, nowMs: number): Running {
  return sql.first(running, { nowMs }) ?? { leftBehind: 0, children: 0 };
}

/** A worker that is late (a clock was set on, the machine slept) keeps what it carries; answers whether there was any. */
function keepOwn(sql: Sql, { owner, carries, leaseMs }: Claimer, nowMs: number): boolean {
  const late = sql.all(lateUnder, { owner, nowMs }).filter((one) => carries(one.run_id, one.epoch));
  for (const { run_id: runId } of late) sql.run(extendLease, { owner, runId, untilMs: nowMs + leaseMs });
  return late.length > 0;
}

/** A session has one writer: any other running run, even one whose lease ran out, goes first. */
function isSessionBusy(sql: Sql, run: RunTableRow, nowMs: number): boolean {
  const others = sql.all(runningInSession, { key: run.session_key });
  return others.some((other) => other.run_id !== run.run_id || (other.lease_until_ms ?? 0) > nowMs);
}

/** A steering message waits for the run it is for; a parked run for something to read. */
function canGoOn(sql: Sql, run: RunTableRow): boolean {
  if (run.status === "queued") return !isAwaited(sql, run);
  if (run.status !== "waiting") return true;
  return sql.first(unreadOf, { runId: run.run_id }) !== undefined || listAbsorbable(sql, run, "steer").length > 0;
}

function claimOrGiveUp(sql: Sql, ids: Ids, run: RunTableRow, claimer: Claimer, nowMs: number): Claim | RunRecord {
  // Whoever gave the lease back holds none.
  const hasDied = run.status === "running" && run.lease_owner !== null;
  const takeovers = hasDied ? run.takeovers + 1 : run.takeovers;
  const giveUp = (error: string, stopReason: string): RunRecord => {
    const ending: Ending = { outcome: "interrupted", text: "", error, stopReason };
    const ended = writeEnding(sql, ids, run, ending, [], nowMs);
    deliver(sql, ids, ended, ending, nowMs);
    return toRunRecord(ended);
  };
  if (hasNothingToRead(sql, run, nowMs)) {
    const ending: Ending = { outcome: "succeeded", text: "", error: undefined, stopReason: "nothing_to_read" };
    return toRunRecord(writeEnding(sql, ids, run, ending, [], nowMs));
  }
  if (takeovers > claimer.maxTakeovers)
    return giveUp(`the gateway died ${takeovers} times in a row while the run was at the same step`, "takeovers");
  try {
    const journal = readJournal(sql, run.run_id);
    return { ...claimRun(sql, ids, { ...run, takeovers }, journal, { claimer, nowMs }), isSuspect: hasDied && run.takeovers > 0 };
  } catch (error) {
    if (!(error instanceof CorruptRowError)) throw error;
    return giveUp(error.message, "corrupt");
  }
}

/** An announcement whose results were all dismissed, or read, before its turn came. */
function hasNothingToRead(sql: Sql, run: RunTableRow, nowMs: number): boolean {
  const isNew = run.trigger === "announce" && run.status === "queued" && run.epoch === 0;
  return isNew && takeOrphanedInbox(sql, run.session_key, nowMs).length === 0;
}

function claimRun(
  sql: Sql,
  ids: Ids,
  run: RunTableRow,
  before: readonly JournalEntry[],
  { claimer, nowMs }: { claimer: Claimer; nowMs: number },
): Omit<Claim, "isSuspect"> {
  const epoch = run.epoch + 1;
  const lease: Lease = {
    run_id: run.run_id,
    status: "running",
    lease_owner: claimer.owner,
    lease_until_ms: nowMs + claimer.leaseMs,
    epoch,
    started_at_ms: run.started_at_ms ?? nowMs,
    deadline_at_ms: deadlineOf(run, nowMs),
    takeovers: run.takeovers,
  };
  sql.run(takeLease, lease);
  // Its last worker's call, if there was one, will not be answered to anybody.
  settle(sql, run.run_id);
  const consumed = run.status === "running" ? [] : consumeInbox(sql, run, nowMs);
  const absorbable = listToAbsorb(sql, run);
  const absorbed = absorbable.map((one) => endAbsorbed(sql, ids, one, run.run_id, nowMs));
  const openings = openTurn(sql, run, { consumed, absorbable, claimer });
  for (const { entry, said } of openings) {
    appendEntries(sql, run.run_id, epoch, [entry], nowMs);
    appendMessages(
      sql,
      run.session_key,
      said.map((one) => toUserMessage(one, nowMs)),
      ids,
      nowMs,
    );
  }
  return {
    run: toRunRecord({ ...run, ...lease }),
    epoch,
    journal: [...before, ...openings.map(({ entry }) => entry)],
    consumed,
    absorbed,
  };
}

/** Its own time counts from the first turn; a deadline it was started with is another bound, not a longer one. */
function deadlineOf(run: RunTableRow, nowMs: number): number | null {
  if (run.started_at_ms !== null) return run.deadline_at_ms;
  const { wallMs = "unlimited" } = readTerms(run.terms).limits?.budget ?? {};
  const own = Math.min(run.timeout_ms ?? Infinity, wallMs === "unlimited" ? Infinity : wallMs);
  const atMs = Math.min(run.deadline_at_ms ?? Infinity, nowMs + own);
  return atMs === Infinity ? null : atMs;
}

/** Messages that this turn takes in: a parked run those that steer it, one that was collected the others that were. */
function listToAbsorb(sql: Sql, run: RunTableRow): readonly RunTableRow[] {
  if (run.status === "waiting") return listAbsorbable(sql, run, "steer");
  return run.status === "queued" && run.queue_mode === "collect" ? listAbsorbable(sql, run, "collect") : [];
}

interface Opening {
  readonly entry: JournalEntry;
  /** Messages of the transcript. */
  readonly said: readonly Said[];
}

/** What starts or continues the turn, in order; nothing when the run goes on after a crash. */
function openTurn(
  sql: Sql,
  run: RunTableRow,
  { consumed, absorbable, claimer }: { consumed: readonly Completion[]; absorbable: readonly RunTableRow[]; claimer: Claimer },
): readonly Opening[] {
  const openings: Opening[] = [];
  if (consumed.length > 0) {
    const open = sql.first(countAwaitedChildren, { sessionKey: run.session_key })?.n ?? 0;
    openings.push({
      entry: { kind: "completions", completions: consumed },
      said: [{ text: claimer.quote(consumed, open), origin: "results" }],
    });
  } else if (run.status === "queued" && run.epoch === 0) {
    openings.push({ entry: { kind: "input", text: run.input }, said: [toSaid(run)] });
  }
  if (absorbable.length > 0) openings.push({ entry: toSteeredEntry(absorbable), said: absorbable.map(toSaid) });
  const [first, ...others] = openings;
  return first === undefined ? [] : [{ ...first, said: [...takeNotes(sql, run), ...first.said] }, ...others];
}

/** The results a turn of this run reads: its own children's, or, for an announce run, all that nobody waits for. */
function consumeInbox(sql: Sql, run: RunTableRow, nowMs: number): readonly Completion[] {
  const unread: InboxRow[] =
    run.trigger === "announce" && run.status === "queued"
      ? takeOrphanedInbox(sql, run.session_key, nowMs)
      : sql.all(unreadOf, { runId: run.run_id });
  for (const one of unread) sql.run(consume, { inboxId: one.inbox_id, runId: run.run_id, nowMs });
  return unread.map(toCompletion);
}

/** A result that cannot be read is announced as that. */
function toCompletion({ inbox_id, child_run_id, completion }: InboxRow): Completion {
  try {
    return { ...(JSON.parse(completion) as Omit<Completion, "inboxId">), inboxId: inbox_id };
  } catch {
    return {
      inboxId: inbox_id,
      childRunId: child_run_id,
      childSessionKey: "",
      label: undefined,
      outcome: "interrupted",
      text: `The result ${inbox_id} cannot be read.`,
      runtimeMs: 0,
      usage: { input: 0, output: 0, totalTokens: 0 },
    };
  }
}

// ---- statements

const running = statement((db, arg: Args<{ nowMs: number }>) =>
  db
    .selectFrom("runs")
    .select(({ fn }) => [
      fn.countAll<number>().filterWhere("lease_until_ms", "<=", arg("nowMs")).as("leftBehind"),
      fn.countAll<number>().filterWhere("lease_until_ms", ">", arg("nowMs")).filterWhere("depth", ">", 0).as("children"),
    ])
    .where("status", "=", "running"),
);

const lateUnder = statement((db, arg: Args<{ owner: string; nowMs: number }>) =>
  db
    .selectFrom("runs")
    .select(["run_id", "epoch"])
    .where("status", "=", "running")
    .where("lease_until_ms", "<=", arg("nowMs"))
    .where("lease_owner", "=", arg("owner")),
);

export const extendLease = statement((db, arg: Args<{ owner: string; runId: string; untilMs: number }>) =>
  db
    .updateTable("runs")
    .set({ lease_until_ms: arg("untilMs") })
    .where("run_id", "=", arg("runId"))
    .where("status", "=", "running")
    .where("lease_owner", "=", arg("owner")),
);

const leaveLease = statement((db, arg: Args<{ runId: string; untilMs: number }>) =>
  db
    .updateTable("runs")
    .set({ lease_owner: null, lease_until_ms: arg("untilMs") })
    .where("run_id", "=", arg("runId")),
);

const runningInSession = statement((db, arg: Args<{ key: string }>) =>
  db.selectFrom("runs").select(["run_id", "lease_until_ms"]).where("session_key", "=", arg("key")).where("status", "=", "running"),
);

type Lease = Pick<
  RunTableRow,
  "run_id" | "status" | "lease_owner" | "lease_until_ms" | "epoch" | "started_at_ms" | "deadline_at_ms" | "takeovers"
>;

const takeLease = statement((db, arg: Args<Lease>) =>
  db
    .updateTable("runs")
    .set({
      status: arg("status"),
      lease_owner: arg("lease_owner"),
      lease_until_ms: arg("lease_until_ms"),
      epoch: arg("epoch"),
      started_at_ms: arg("started_at_ms"),
      deadline_at_ms: arg("deadline_at_ms"),
      takeovers: arg("takeovers"),
    })
    .where("run_id", "=", arg("run_id")),
);

const countAwaitedChildren = statement((db, arg: Args<{ sessionKey: string }>) =>
  db
    .selectFrom("runs")
    .select((build) => build.fn.countAll<number>().as("n"))
    .where("parent_session_key", "=", arg("sessionKey"))
    .where("expects_completion", "=", 1)
    .where("status", "in", openStatuses),
);

const unreadOf = statement((db, arg: Args<{ runId: string }>) =>
  db
    .selectFrom("inbox")
    .selectAll()
    .where("parent_run_id", "=", arg("runId"))
    .where("consumed_at_ms", "is", null)
    .orderBy("created_at_ms")
    .orderBy("inbox_id"),
);

const consume = statement((db, arg: Args<{ inboxId: string; runId: string; nowMs: number }>) =>
  db
    .updateTable("inbox")
    .set({ consumed_by: arg("runId"), consumed_at_ms: arg("nowMs") })
    .where("inbox_id", "=", arg("inboxId")),
);
