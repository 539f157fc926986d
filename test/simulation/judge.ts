/**
 * Watches a world from outside and says what must never be: read from the database itself, from what is told on the bus, from
 * what tools did. It knows nothing of how the engine decides.
 */
import type { BusMessages } from "../../packages/gateway/src/bus.ts";
import type { ModelMessage } from "../../packages/gateway/src/models/model.ts";
import type { StartedProcess } from "../../packages/gateway/src/store/process-store.ts";
import type { Claimed } from "../../packages/gateway/src/store/store.ts";
import type { BusWatcher } from "./lossy-bus.ts";
import type { CronFireAsk } from "../../packages/gateway/src/store/cron-store.ts";
import { Jobs } from "./jobs.ts";
import { Endings } from "./endings.ts";
import { Journals } from "./journals.ts";
import type { Life, StoreCall } from "./life.ts";
import { Ledger } from "./ledger.ts";
import { Transcripts } from "./transcripts.ts";
import type { World } from "./world.ts";

/** A run as its row has it. */
interface RunFacts {
  readonly run_id: string;
  readonly wire_id: string;
  readonly idempotency_key: string;
  readonly session_key: string;
  readonly trigger: "message" | "spawn" | "announce" | "cron";
  readonly input: string;
  readonly status: string;
  readonly scopes: string;
  readonly owner: number;
  readonly depth: number;
  readonly parent_run_id: string | null;
  readonly parent_session_key: string | null;
  readonly started_at_ms: number | null;
  readonly ending: string | null;
}

const runColumns =
  "run_id, wire_id, idempotency_key, session_key, trigger, input, status, scopes, owner, depth, parent_run_id, parent_session_key, started_at_ms, ending";
const resultsOf = "join inbox on inbox.child_run_id = runs.run_id left join runs as reader on reader.run_id = inbox.consumed_by";
const hasCounted = "(reader.status is null or reader.status in ('succeeded', 'cancelled'))";
const happened = `
  select 'ended: ' || status as what, count(*) as n from runs group by status
  union all select 'entry: ' || json_extract(entry, '$.kind'), count(*) from entries group by 1
  union all select 'a stand-in answered', count(*) from entries where json_extract(entry, '$.model') = 'seeded/two' having count(*) > 0
  union all select 'a fork', count(*) from runs where json_extract(terms, '$.fork.isForked') having count(*) > 0
  union all select 'a note was read', count(*) from runs where queue_mode = 'notify' and absorbed_by is not null having count(*) > 0
  union all select 'delivered again', count(*) from inbox where generation > 1 having count(*) > 0
  union all select 'dismissed', count(*) from inbox where closed_as = 'dismissed' having count(*) > 0
  union all select 'a day was over', count(*) from runs where json_extract(ending, '$.stopReason') like 'budget_day_%' having count(*) > 0`;
const open: ReadonlySet<string> = new Set(["queued", "running", "waiting"]);

/** Broken: an invariant does not hold. */
export class Violation extends Error {
  override readonly name = "Violation";
}

export class Judge implements BusWatcher {
  readonly jobs: Jobs;
  readonly #world: World;
  readonly #problems: string[] = [];
  readonly #journals: Journals;
  readonly #transcripts: Transcripts;
  readonly #ledger: Ledger;
  /** Which run has started a program. */
  readonly #programs = new Map<number, string>();
  /** Who wrote under an epoch: `run epoch` → process. */
  readonly #writers = new Map<string, Life>();
  /** Who claimed a run: `run epoch` → process. */
  readonly #claimers = new Map<string, Life>();
  readonly #effects = new Map<string, number>();
  readonly #ends = new Map<string, Life>();
  readonly #announced = new Map<string, number>();
  readonly #cancelled = new Set<string>();
  readonly #deleted = new Set<string>();
  readonly #endings: Endings;
  #haveRunsChanged = false;

  constructor(world: World) {
    this.#world = world;
    const found = (problem: string): void => this.found(problem);
    this.jobs = new Jobs({ database: world.database, timeline: world.timeline, callers: () => world.callers.jobs, found });
    this.#endings = new Endings(world.database, found);
    this.#journals = new Journals(world.database, found);
    this.#transcripts = new Transcripts(world.database, found);
    this.#ledger = new Ledger(world.database, (runId) => this.#journals.usedBy(runId), found);
  }

  found(problem: string): void {
    this.#problems.push(problem);
  }

  /** After every tick: throws the first thing that was found. */
  look(): void {
    const { changed, raw } = this.#world.database;
    if (changed.size > 0 && !raw.isTransaction) {
      if (changed.has("journal")) this.#journals.read();
      if (changed.has("messages")) this.#transcripts.read();
      if (changed.has("runs")) this.#lookForTwoAtOnce();
      this.#haveRunsChanged ||= changed.has("runs") || changed.has("journal");
      if (changed.has("budgets")) this.#ledger.look();
      if (changed.has("cron_jobs") || changed.has("cron_fires")) this.jobs.look();
      changed.clear();
    }
    const [problem] = this.#problems;
    if (problem !== undefined) throw new Violation(problem);
  }

  #lookForTwoAtOnce(): void {
    const busy = this.#world.database
      .statement("select session_key from runs where status = 'running' group by session_key having count(*) > 1")
      .get();
    if (busy !== undefined) this.found(`two runs are running in ${String(busy["session_key"])}`);
  }

  /** After every step: what takes more time to see. */
  lookAtChangedRuns(): void {
    if (this.#world.database.raw.isTransaction) return;
    this.look();
    if (this.#haveRunsChanged) this.#lookAtRuns();
    this.#haveRunsChanged = false;
  }

  #lookAtRuns(): readonly RunFacts[] {
    const runs = this.#world.database.statement(`select ${runColumns} from runs order by run_id`).all() as unknown as RunFacts[];
    const byId = new Map(runs.map((run) => [run.run_id, run]));
    for (const run of runs) {
      if (!open.has(run.status)) this.#endings.look(run);
      const phase = this.#journals.phaseOf(run.run_id);
      if (phase === "broken") continue;
      if ((phase === "ended") === open.has(run.status)) this.found(`${run.run_id} is ${run.status}, and its journal says ${phase}`);
      if (run.status === "waiting" && phase !== "parked") this.found(`${run.run_id} waits, and its journal says ${phase}`);
      const parent = run.parent_run_id === null ? undefined : byId.get(run.parent_run_id);
      if (parent !== undefined) this.#checkChild(run, parent);
    }
    this.look();
    return runs;
  }

  /** The run's session and its parent's. */
  sessionsOf(runId: string): readonly [string | undefined, string | undefined] {
    const row = this.#world.database.statement("select session_key, parent_session_key from runs where run_id = ?").get(runId);
    const text = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined);
    return [text(row?.["session_key"]), text(row?.["parent_session_key"])];
  }

  /** Sub-agents whose result no turn has read that ended well; if there are none, all whose result was sent somewhere. */
  unsettledChildren(): readonly string[] {
    const rows = this.#world.database
      .statement(
        "select child_run_id, closed_as is null and (reader.status is null or reader.status not in ('succeeded', 'running', 'waiting', 'cancelled')) as is_open from inbox left join runs as reader on reader.run_id = consumed_by order by child_run_id, generation",
      )
      .all();
    const open = rows.filter((row) => row["is_open"] === 1);
    return (open.length > 0 ? open : rows).map((row) => String(row["child_run_id"]));
  }

  childSessions(): readonly string[] {
    const rows = this.#world.database.statement("select session_key from runs where trigger = 'spawn' order by run_id").all();
    return rows.map((row) => String(row["session_key"]));
  }

  // ---- what is heard

  firing([ask, nowMs]: readonly unknown[]): void {
    const { jobId, dueAtMs } = ask as CronFireAsk;
    this.jobs.firing(jobId, dueAtMs, Number(nowMs));
  }

  returned(life: Life, call: StoreCall): void {
    try {
      this.#judgeCall(life, call);
    } catch (error) {
      // It must not reach the engine, which takes it for its own.
      this.found(`the judge does not understand ${call.name}: ${String(error)}`);
    }
  }

  #judgeCall(life: Life, { name, args, result }: StoreCall): void {
    if (name === "runs.append" || name === "runs.park" || name === "runs.end")
      this.#checkWriter(life, String(args[0]), Number(args[1]), result);
    if (name === "runs.spawn" && kindOf(result) === "accepted") this.#checkChildren(args[0] as { parentSessionKey: string });
    if (name === "runs.claim") this.#checkClaims(life, result as Claimed);
    if (name === "processes.note") {
      const { pid, runId } = args[0] as StartedProcess;
      this.#programs.set(pid, runId);
    }
  }

  heard<T extends keyof BusMessages>(topic: T, message: BusMessages[T], life: Life): void {
    if (topic !== "agent" && topic !== "chat") return;
    const event = message as BusMessages["agent"] | BusMessages["chat"];
    const run = `${event.sessionKey} ${event.runId}`;
    if ("stream" in event && event.stream === "subagent" && event.data.phase === "announced") {
      this.#checkAnnounced(event.data.childRunId);
    }
    if (this.#ends.get(run) === life) this.found(`${run} is over, and something of it was told: ${JSON.stringify(event)}`);
    if ("state" in event && event.state !== "delta") {
      if (this.#ends.has(run)) this.found(`the end of ${run} was told twice`);
      this.#ends.set(run, life);
    }
  }

  effect(name: string, repeat: "ask" | "safe", token: string): void {
    const times = (this.#effects.get(token) ?? 0) + 1;
    this.#effects.set(token, times);
    if (repeat === "ask" && times > 1) this.found(`${name} ran ${times} times for ${token}`);
  }

  /** `by`: the process that has answered. */
  cancelled(answer: unknown, by: Life | undefined): void {
    const { runIds } = answer as { runIds: readonly string[] };
    for (const wireId of runIds) this.#cancelled.add(wireId);
    for (const pid of by === undefined ? [] : this.#world.machine.living(by)) {
      const runId = this.#programs.get(pid);
      const run = runId === undefined ? undefined : this.#world.database.statement("select wire_id from runs where run_id = ?").get(runId);
      if (runIds.includes(String(run?.["wire_id"]))) this.found(`${String(runId)} was stopped, and its program ${pid} lives`);
    }
  }

  /** Providers refuse a call without its result, and a result without its call. */
  asked(messages: readonly ModelMessage[]): void {
    for (const [index, { role, content }] of messages.entries()) {
      const calls = content.flatMap((block) => (block.type === "toolCall" ? [block.id] : []));
      const results = resultsAfter(messages, index);
      if (calls.some((id) => !results.includes(id)) || (role === "assistant" && results.some((id) => !calls.includes(id))))
        this.found(`a model reads calls ${calls.join()} with results ${results.join()}`);
      if (role === "user" && results.length > 0) this.found(`a model reads results ${results.join()} of no call`);
    }
  }

  logged(message: string, facts: object): void {
    const error: unknown = Reflect.get(facts, "err");
    // Nobody hears what a process would have said after its death.
    if (error instanceof Error && error.name === "ProcessDied") return;
    this.#world.tell(`log: ${message} ${String(error ?? "")}`);
    if (message === "run failed unexpectedly" && error instanceof Error && error.name === "DiskFull")
      this.found(`a run ended with the disk`);
    if (message === "request failed unexpectedly" || message === "tool failed") this.found(`${message}: ${String(error)}`);
  }

  // ---- in the end

  /** How many runs ended how, and how often what is rare came to pass. */
  outcomes(): ReadonlyMap<string, number> {
    const rows = this.#world.database.statement(happened).all();
    const jobs = [...this.jobs.outcomes].map(([what, times]) => [`a job: ${what}`, times] as const);
    return new Map([...rows.map((row) => [String(row["what"]), Number(row["n"])] as const), ...jobs]);
  }

  hasOpenWork(): boolean {
    const run = this.#world.database.statement("select 1 from runs where status in ('queued', 'running', 'waiting') limit 1").get();
    return run !== undefined || this.jobs.hasOpenWork();
  }

  /** When nothing moves any more: nothing was lost, nothing came twice. */
  lookAtTheEnd(): void {
    this.look();
    // Whoever emptied a session may have died before it heard that it had.
    const endings = this.#world.database.statement("select subject from audit where kind in ('session.deleted', 'session.reset')").all();
    for (const { subject } of endings) this.#deleted.add(String(subject));
    this.#ledger.lookAtTheEnd();
    this.jobs.lookAtTheEnd();
    this.jobs.lookAtTranscripts((key) => !this.#deleted.has(key));
    for (const pid of this.#world.machine.living()) this.found(`program ${pid} of ${this.#programs.get(pid) ?? "nobody"} lives on`);
    const runs = this.#lookAtRuns();
    const byId = new Map(runs.map((run) => [run.run_id, run]));
    for (const run of runs) {
      if (open.has(run.status))
        this.found(`${run.run_id} (${run.trigger} in ${run.session_key}) never ends: ${run.status}, ${this.#journals.phaseOf(run.run_id)}`);
      if (this.#cancelled.has(run.wire_id) && run.status !== "cancelled") this.found(`${run.run_id} was cancelled and is ${run.status}`);
      if (run.trigger === "spawn") this.#checkDelivery(run, run.parent_run_id === null ? undefined : byId.get(run.parent_run_id));
    }
    for (const command of this.#world.callers.commands) {
      const made = runs.filter((run) => run.idempotency_key === command.key);
      if (made.length > 1) this.found(`${command.key} acted ${made.length} times`);
      if (command.runId === undefined) continue;
      const [run] = made;
      if (run?.wire_id !== command.runId) this.found(`${command.key} was acknowledged and is lost`);
      else if (
        (run.started_at_ms !== null || run.status === "succeeded") &&
        !this.#deleted.has(run.session_key) &&
        !this.#isUnreadNote(run.run_id) &&
        this.#transcripts.timesAsked(command.text) !== 1
      )
        this.found(`${command.text} stands ${this.#transcripts.timesAsked(command.text)} times in the transcript`);
    }
    const left = this.#world.database
      .statement(
        // What its reader failed with, or was stopped before it read, is still a person's to decide, also of what is below it.
        `select session_key from sessions where cleanup = 'delete'
          and exists (select 1 from runs ${resultsOf} where runs.session_key = sessions.session_key
            and (closed_as = 'dismissed' or (closed_as is null and consumed_at_ms is not null and ${hasCounted})))
          and not exists (
            with recursive below(key) as (
              select sessions.session_key union select runs.session_key from runs join below on parent_session_key = below.key)
            select 1 from below join runs on runs.session_key = below.key ${resultsOf}
            where closed_as is null and (consumed_at_ms is null or not ${hasCounted}))`,
      )
      .get();
    if (left !== undefined) this.found(`${String(left["session_key"])} should be gone`);
    this.look();
  }

  // ---- single invariants

  /** Told once for each way that its result took. */
  #checkAnnounced(childRunId: string): void {
    const times = (this.#announced.get(childRunId) ?? 0) + 1;
    this.#announced.set(childRunId, times);
    if (times === 1) return;
    const row = this.#world.database.statement("select count(*) as n from inbox where child_run_id = ?").get(childRunId);
    if (times > Number(row?.["n"])) this.found(`the end of ${childRunId} was told ${times} times`);
  }

  #isUnreadNote(runId: string): boolean {
    return this.#world.database.statement("select 1 from notes where run_id = ?").get(runId) !== undefined;
  }

  #checkChild(run: RunFacts, parent: RunFacts): void {
    const held = JSON.parse(parent.scopes) as string[];
    if (!(JSON.parse(run.scopes) as string[]).every((scope) => held.includes(scope)))
      this.found(`${run.run_id} holds more than its parent`);
    if (run.owner !== 0 || run.depth <= parent.depth) this.found(`${run.run_id} stands where its parent does`);
  }

  #checkWriter(life: Life, runId: string, epoch: number, result: unknown): void {
    if (result === "lost" || kindOf(result) === "lost") return;
    const key = `${runId} ${epoch}`;
    const writer = this.#writers.get(key);
    if (writer !== undefined && writer !== life) this.found(`two processes wrote under epoch ${epoch} of ${runId}`);
    this.#writers.set(key, life);
  }

  #checkClaims(life: Life, { claims }: Claimed): void {
    if (claims.some(({ run }) => run.authority.depth > 0)) this.#checkSlots();
    for (const { run, epoch, journal } of claims) {
      // A run that waited was nobody's, and one that a process could not write it let go.
      const wasLeft = journal.some(({ kind }) => kind === "parked") || life.hasFailed;
      if (this.#claimers.get(`${run.runId} ${epoch - 1}`) === life && !wasLeft) this.found(`a process took ${run.runId} over from itself`);
      this.#claimers.set(`${run.runId} ${epoch}`, life);
    }
  }

  /** Processes with other limits may live at the same time: none lets in more than the widest of them. */
  #checkChildren({ parentSessionKey }: { readonly parentSessionKey: string }): void {
    const most = Math.max(...this.#world.lives.map((life) => life.limits.maxChildrenPerAgent));
    const row = this.#world.database
      .statement("select count(*) as n from runs where parent_session_key = ? and status in ('queued', 'running', 'waiting')")
      .get(parentSessionKey);
    if (Number(row?.["n"]) > most) this.found(`${parentSessionKey} has ${String(row?.["n"])} children of at most ${most}`);
  }

  #checkSlots(): void {
    const most = Math.max(...this.#world.lives.map((life) => life.limits.maxConcurrent));
    const row = this.#world.database
      .statement("select count(*) as n from runs where depth > 0 and status = 'running' and lease_until_ms > ?")
      .get(this.#world.timeline.nowMs);
    if (Number(row?.["n"]) > most) this.found(`${String(row?.["n"])} children run of at most ${most}`);
  }

  /** A child's end is read exactly once by whoever is there to read it. */
  #checkDelivery(child: RunFacts, parent: RunFacts | undefined): void {
    const rows = this.#world.database
      .statement(
        "select generation, consumed_by, consumed_at_ms, closed_as, status from inbox left join runs on run_id = inbox.parent_run_id where child_run_id = ? order by generation",
      )
      .all(child.run_id);
    const read = rows.filter((row) => row["consumed_by"] !== null).length;
    const isReaderStopped = parent?.status === "cancelled" || rows.some((row) => row["status"] === "cancelled");
    const isDecided = rows.some((row) => row["closed_as"] === "dismissed");
    const isReaderGone = isReaderStopped || isDecided || this.#deleted.has(child.parent_session_key ?? "");
    if (rows.some((row, index) => row["generation"] !== index + 1)) this.found(`the ways of ${child.run_id} are not counted`);
    if (rows.filter((row) => row["closed_as"] === null).length > 1) this.found(`${child.run_id} was delivered ${rows.length} times`);
    if (read === 0 && !isReaderGone && child.status !== "cancelled") this.found(`the result of ${child.run_id} (${child.status}) was lost`);
    if (rows.at(-1)?.["consumed_at_ms"] === null && !isReaderGone) this.found(`the result of ${child.run_id} is never read`);
    const times = this.#transcripts.timesQuoted(child.session_key);
    if (times !== read && !this.#deleted.has(child.parent_session_key ?? ""))
      this.found(`the result of ${child.run_id} was read ${read} times and stands ${times} times in the transcript`);
  }
}

/** Ids of the results that follow message `index` directly. */
function resultsAfter(messages: readonly ModelMessage[], index: number): readonly string[] {
  const ids: string[] = [];
  for (const { role, content } of messages.slice(index + 1)) {
    if (role !== "toolResult") break;
    for (const block of content) if (block.type === "toolResult") ids.push(block.toolCallId);
  }
  return messages[index]?.role === "toolResult" ? [] : ids;
}

function kindOf(result: unknown): unknown {
  return Reflect.get(Object(result), "kind");
}
