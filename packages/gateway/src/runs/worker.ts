/** The worker: claims runs that can go on and carries them, keeps their leases, minds deadlines, and stops what is cancelled. */
import { randomUUID } from "node:crypto";
import { ProtocolError } from "@portreeve/protocol";
import { sleepUntil } from "../kit/clock.ts";
import { background } from "../kit/log.ts";
import type { Programs } from "../kit/process-group.ts";
import type { ChildToSpawn, SpawnOutcome } from "../store/spawning.ts";
import type { Admission, RunToAdmit } from "../store/admitting.ts";
import type { Claim, Partials, RunRecord, RunSelection } from "../store/store.ts";
import { logFailedCalls } from "./failed-calls.ts";
import { compactByHand, type HandCompaction } from "./hand-compaction.ts";
import { LetGo } from "./let-go.ts";
import { eventSeqOf } from "./machine.ts";
import { quote } from "./quoting.ts";
import { RunEvents } from "./run-events.ts";
import { endLeftProcesses, RunProcesses } from "./run-processes.ts";
import { Suspects } from "./suspects.ts";
import { stopPatienceMs } from "./tool-call.ts";
import { Turn, type TurnDeps } from "./turn.ts";
import type { Interruption, TurnHost } from "./turn-host.ts";

export interface WorkerDeps extends TurnDeps {
  /** All that a program of a run has of the gateway's environment. */
  readonly programEnv: Readonly<Record<string, string>>;
  readonly programs: Programs;
  /** How long a stop waits for turns to come to the end of a step. */
  readonly drainMs: number;
  readonly maxConcurrentChildren: number;
}

export interface Cancelled {
  readonly runs: readonly RunRecord[];
  /** Those whose work could not be stopped, although the run has ended: a tool that does not let go, programs that live on. */
  readonly failed: readonly { readonly runId: string; readonly pids: readonly number[]; readonly isStopped: boolean }[];
}

export interface Worker extends AsyncDisposable {
  /** Runs that a turn is at work on. */
  activeRuns(): number;
  /** Admits a run, and stops what it interrupts; resolves when that is durable. */
  admit(run: RunToAdmit): Promise<Admission>;
  /** The same for a child. */
  spawn(child: ChildToSpawn): Promise<SpawnOutcome>;
  /** Cancels the selected runs with all they spawned; resolves when that is durable and the last program of theirs has ended. */
  cancel(select: RunSelection): Promise<Cancelled>;
  /** Compacts a session by hand; answers why nothing came of it, or undefined, and how many messages are read as they are. */
  compact(ask: HandCompaction): Promise<{ readonly problem: string | undefined; readonly kept: number }>;
}

const leaseMs = 30_000;
/** No more than begin at once, and the next ones when these have: a claim of a gateway that dies counts against its run. */
const claimsAtOnce = 4;
const renewalsAtOnce = 100;
/** A suspect is at the front in two lives more before it is given up: one may be too short for anything. */
const maxTakeovers = 4;
const retryAfterStoreFailureMs = 1_000;
/** A run past its deadline may be nobody's until its lease runs out: no reason to look without a pause. */
const expiryPauseMs = 1_000;

interface Active {
  readonly claim: Claim;
  readonly processes: RunProcesses;
  readonly turn: Turn;
  readonly events: RunEvents;
  readonly controller: AbortController;
  readonly done: Promise<void>;
}

/**
 * Starts claiming at once. The caller must hold the state folder's lock: leases of whoever held it before are void.
 * Disposing lets every turn finish its step if it can in time, and stops it there, without ending a run: the next process
 * carries them on.
 */
export async function startWorker(deps: WorkerDeps): Promise<Worker> {
  const nowMs = deps.clock.now();
  await endLeftProcesses(deps.store.processes, deps.programs, deps.log);
  await deps.store.runs.endLeases();
  await deps.store.runs.ensureDelivery(nowMs);
  const worker = new ClaimingWorker(deps);
  worker.start();
  return worker;
}

const pumpsAtOnce = 2;

class ClaimingWorker implements Worker {
  readonly #deps: WorkerDeps;
  readonly #owner = randomUUID();
  /** By the run that each may carry on. */
  readonly #active = new Map<string, Active>();
  /** Those, and the ones that lost their claim and have not ended yet. */
  readonly #turns = new Set<Active>();
  readonly #suspects = new Suspects();
  readonly #letGo = new LetGo();
  readonly #timers = new Map<"renew" | "deadline" | "retry", Disposable>();
  readonly #subscriptions = new DisposableStack();
  readonly #draining = new AbortController();
  readonly #stopped = new AbortController();
  #stopping = false;
  #wanted = false;
  readonly #pumps = new Set<Promise<void>>();

  constructor(deps: WorkerDeps) {
    this.#deps = deps;
  }

  activeRuns(): number {
    return this.#active.size;
  }

  start(): void {
    this.#subscriptions.use(this.#deps.bus.subscribe("work", () => this.#pump()));
    this.#subscriptions.use(this.#deps.bus.subscribe("run-ended", () => this.#pump()));
    this.#setTimer("renew", leaseMs / 3, () => this.#renew());
    this.#pump();
    this.#watchDeadlines();
  }

  async admit(run: RunToAdmit): Promise<Admission> {
    const admitting = this.#deps.store.runs.admit(run, this.#deps.clock.now(), this.#partials());
    // Asked for at once, so that both commit together.
    this.#pump();
    const admission = await admitting;
    if (admission.kind === "admitted") {
      for (const interrupted of admission.interrupted) this.#tellEnded(interrupted, "cancelled");
      if (admission.run.ending !== undefined) this.#tellEnded(admission.run, "absorbed");
    }
    return admission;
  }

  spawn(child: ChildToSpawn): Promise<SpawnOutcome> {
    const spawning = this.#deps.store.runs.spawn(child, this.#deps.clock.now());
    this.#pump();
    return spawning;
  }

  async cancel(select: RunSelection): Promise<Cancelled> {
    const runs = await this.#deps.store.runs.cancel(select, this.#partials(), this.#deps.clock.now());
    const stopped = new Set(runs.map(({ runId }) => runId));
    const turns = [...this.#turns].filter(({ claim }) => stopped.has(claim.run.runId));
    for (const run of runs) this.#tellEnded(run, "cancelled");
    return { runs, failed: await this.#findUnstopped(turns) };
  }

  /** Waits for turns that were stopped; answers those that go on all the same, or left a program behind. */
  async #findUnstopped(turns: readonly Active[]): Promise<Cancelled["failed"]> {
    if (turns.length === 0) return [];
    const { clock } = this.#deps;
    const over = new AbortController();
    const tooLong = sleepUntil(clock, clock.now() + stopPatienceMs, over.signal).catch(() => undefined);
    const done = new Set<Active>();
    await Promise.race([Promise.all(turns.map((active) => active.done.then(() => done.add(active)))), tooLong]);
    over.abort();
    const isStopped = (active: Active): boolean => done.has(active) && !active.turn.hasAbandoned;
    return turns
      .map((active) => ({ runId: active.claim.run.runId, pids: active.processes.survivors, isStopped: isStopped(active) }))
      .filter(({ pids, isStopped }) => !isStopped || pids.length > 0);
  }

  compact(ask: HandCompaction): ReturnType<Worker["compact"]> {
    const models = logFailedCalls(this.#deps.models, this.#deps.log, { sessionKey: ask.sessionKey });
    return compactByHand({ ...this.#deps, models }, ask, this.#stopped.signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping = true;
    this.#stopped.abort(new Error("the gateway stops"));
    this.#subscriptions.dispose();
    for (const timer of this.#timers.values()) timer[Symbol.dispose]();
    await Promise.all(this.#pumps);
    await this.#drain();
    for (const active of this.#active.values()) active.controller.abort("shutdown" satisfies Interruption);
    await Promise.all([...this.#turns].map((active) => active.done));
    try {
      await this.#deps.store.runs.release(this.#owner);
    } catch (error) {
      this.#deps.log.error({ err: error }, "leases could not be given up; the next start takes them");
    }
  }

  /** Lets turns come to the end of their step, as long as that does not take too long. */
  async #drain(): Promise<void> {
    const { clock, drainMs } = this.#deps;
    this.#draining.abort();
    if (this.#active.size === 0 || drainMs === 0) return;
    const drained = new AbortController();
    const over = sleepUntil(clock, clock.now() + drainMs, drained.signal).catch(() => undefined);
    await Promise.race([Promise.all([...this.#active.values()].map((active) => active.done)), over]);
    drained.abort();
  }

  #partials(): Partials {
    return new Map([...this.#active].map(([runId, { claim, events }]) => [runId, { epoch: claim.epoch, text: events.text }]));
  }

  /**
   * Claims until there is nothing to claim. A second claim may follow one that is under way, so that what was queued behind that
   * is claimed in the commit that queues it; of further hints the first to come back takes care.
   */
  #pump(): void {
    if (this.#stopping) return;
    if (this.#pumps.size >= pumpsAtOnce) {
      this.#wanted = true;
      return;
    }
    const pump = this.#claimAll().finally(() => {
      this.#pumps.delete(pump);
      if (this.#wanted) this.#pump();
    });
    this.#pumps.add(pump);
    background(this.#deps.log, "claim runs", pump);
  }

  async #claimAll(): Promise<void> {
    do {
      this.#wanted = false;
      try {
        await this.#claim();
      } catch (error) {
        this.#deps.log.error({ err: error }, "runs could not be claimed");
        this.#setTimer("retry", retryAfterStoreFailureMs, () => this.#pump());
        return;
      }
    } while (this.#wanted && !this.#stopping);
  }

  /** Resolves when everything that it claimed begins. */
  async #claim(): Promise<void> {
    const { store, clock, bus, maxConcurrentChildren } = this.#deps;
    const takesSuspect = this.#suspects.ask();
    let claims: readonly Claim[] = [];
    try {
      const limits = { limit: claimsAtOnce, maxConcurrentChildren, maxTakeovers, takesSuspect };
      const carries = (runId: string, epoch: number): boolean => this.#active.get(runId)?.claim.epoch === epoch;
      const letGo = this.#letGo.pending;
      const claimed = await store.runs.claim({ owner: this.#owner, leaseMs, quote, carries, letGo, ...limits }, () => clock.now());
      this.#letGo.given(letGo);
      claims = claimed.claims;
      for (const run of claimed.givenUp) this.#tellGivenUp(run);
    } finally {
      if (takesSuspect) this.#suspects.answered(claims);
    }
    // At once: what the same commit ends of them is told after it has been begun.
    const begun = claims.map((claim) => this.#carry(claim));
    if (claims.length === claimsAtOnce) this.#wanted = true;
    if (claims.some((claim) => claim.run.deadlineAtMs !== undefined)) {
      this.#watchDeadlines();
      bus.publish("expiry-set", undefined);
    }
    await Promise.all(begun);
  }

  #tellGivenUp(run: RunRecord): void {
    if (run.status === "interrupted") this.#deps.log.error({ runId: run.runId, reason: run.ending?.error }, "a run cannot be continued");
    this.#tellEnded(run, "lost");
  }

  /** Resolves when the turn begins. */
  #carry(claim: Claim): Promise<void> {
    const { runId } = claim.run;
    // Another process had it meanwhile, while this one was frozen: the new claim is the one that may write.
    this.#giveUp(runId);
    for (const absorbed of claim.absorbed) this.#tellEnded(absorbed, "absorbed");
    const controller = new AbortController();
    const events = new RunEvents(this.#deps.bus, this.#deps.clock, claim.run, eventSeqOf(claim.journal));
    const host: TurnHost = {
      draining: this.#draining.signal,
      interrupt: (why) => controller.abort(why),
      gotOn: () => {
        this.#letGo.passed(runId);
        if (this.#suspects.passed(runId)) this.#pump();
      },
      absorbed: (run) => this.#tellEnded(run, "absorbed"),
    };
    const processes = this.#processesOf(claim, controller.signal);
    const models = logFailedCalls(this.#deps.models, this.#deps.log, { runId });
    const turn = new Turn({ ...this.#deps, models }, claim, { events, signal: controller.signal, host, processes });
    const begun = this.#deps.pace();
    const done = begun
      .then(() => turn.carryOn())
      .then(
        () => {
          if (this.#active.get(runId) === active) this.#letGo.passed(runId);
        },
        (error: unknown) => this.#dropped(claim, error),
      )
      .finally(() => {
        events[Symbol.dispose]();
        if (this.#active.get(runId) === active) {
          this.#active.delete(runId);
          this.#suspects.passed(runId);
        }
        this.#turns.delete(active);
        this.#pump();
      });
    const active: Active = { claim, processes, turn, events, controller, done };
    this.#active.set(runId, active);
    this.#turns.add(active);
    return begun;
  }

  /** The lease is not renewed any more: the run is claimed again when it has run out. */
  #dropped(claim: Claim, error: unknown): void {
    const { clock, log } = this.#deps;
    // Whatever else it was may be what a gateway dies of.
    if (error instanceof ProtocolError && error.code === "STORE_UNAVAILABLE") this.#letGo.add(claim, clock.now());
    log.error({ err: error, runId: claim.run.runId }, "the run could not be written; it goes on when the state can be");
    this.#setTimer("retry", leaseMs, () => this.#pump());
  }

  #processesOf({ run }: Claim, signal: AbortSignal): RunProcesses {
    const { store, programs, programEnv: env, workspaceOf } = this.#deps;
    return new RunProcesses({ store: store.processes, programs, runId: run.runId, cwd: workspaceOf(run.agentId), env, signal });
  }

  async #renewLeases(): Promise<void> {
    const all = [...this.#active.keys()];
    // Not all in one commit: everybody waits meanwhile.
    while (all.length > 0) {
      const runIds = all.splice(0, renewalsAtOnce);
      const held = new Set(await this.#deps.store.runs.renew(this.#owner, runIds, leaseMs, this.#deps.clock.now()));
      for (const runId of runIds) if (!held.has(runId)) this.#giveUp(runId);
    }
  }

  #giveUp(runId: string): void {
    const active = this.#active.get(runId);
    active?.events[Symbol.dispose]();
    active?.controller.abort("lost" satisfies Interruption);
  }

  /** Also looks whether there is work or a deadline: hints may be lost, and timers with a write that failed. */
  #renew(): void {
    background(this.#deps.log, "renew leases", this.#renewLeases());
    this.#suspects.waitNoLonger();
    this.#pump();
    this.#watchDeadlines();
    this.#setTimer("renew", leaseMs / 3, () => this.#renew());
  }

  #watchDeadlines(): void {
    background(this.#deps.log, "watch deadlines", this.#scheduleDeadline());
  }

  async #scheduleDeadline(notWithinMs = 0): Promise<void> {
    const atMs = await this.#deps.store.runs.nextDeadline();
    if (atMs === undefined || this.#stopping) return;
    const delayMs = Math.max(notWithinMs, atMs - this.#deps.clock.now());
    this.#setTimer("deadline", delayMs, () => background(this.#deps.log, "expire runs", this.#expire()));
  }

  async #expire(): Promise<void> {
    const { ended, running } = await this.#deps.store.runs.expire(() => this.#deps.clock.now());
    for (const run of ended) this.#tellEnded(run, "deadline");
    const turns = running.flatMap((runId) => this.#active.get(runId) ?? []);
    for (const active of turns) active.controller.abort("deadline" satisfies Interruption);
    await Promise.all(turns.map((active) => active.done));
    await this.#scheduleDeadline(expiryPauseMs);
  }

  /** Stops the run's turn, if there is one, and tells everybody how the run ended. */
  #tellEnded(run: RunRecord, why: Interruption): void {
    const active = this.#active.get(run.runId);
    this.#letGo.passed(run.runId);
    active?.controller.abort(why);
    const events =
      active?.events.isOver === false ? active.events : new RunEvents(this.#deps.bus, this.#deps.clock, run, run.ending?.eventSeq ?? 0);
    events.ended(run);
  }

  #setTimer(name: "renew" | "deadline" | "retry", delayMs: number, task: () => void): void {
    this.#timers.get(name)?.[Symbol.dispose]();
    if (this.#stopping) return;
    this.#timers.set(name, this.#deps.clock.schedule(this.#deps.clock.now() + delayMs, task));
  }
}
