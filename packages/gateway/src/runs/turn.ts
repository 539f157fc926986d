/** Carries one claimed run on: asks `plan.ts` what is next, does it, writes it down, until the run parks or ends. */
import { ProtocolError, type Usage } from "@portreeve/protocol";
import type { Bus } from "../bus.ts";
import { sleepUntil, type SteadyClock } from "../kit/clock.ts";
import type { Ids } from "../kit/ids.ts";
import type { Log } from "../kit/log.ts";
import type { Pace } from "../kit/pace.ts";
import { ModelError, type ModelRequest } from "../models/model.ts";
import { type CallCost, costOf } from "../models/price.ts";
import { type RunPrincipal, runPrincipal } from "../principal/principal.ts";
import type { JournalEntry } from "../store/journal.ts";
import { type BudgetLeft, type Reservation, toDayBudget, toDeadlineEnding } from "../store/budgets.ts";
import type { Claim, Ending, Store, TranscriptMessage } from "../store/store.ts";
import type { Tool } from "../tools/tool.ts";
import { estimateCall, maxOutputOf } from "./call-estimate.ts";
import type { Cooldowns } from "./cooldowns.ts";
import { secondsLeft, warnInLastPart } from "./deadline.ts";
import { apply, fold, JournalError, textOf, type RunState } from "./machine.ts";
import { gatherReply, type Redact, toErrorEntry, toSaid } from "./model-call.ts";
import {
  compactAgainAtMs,
  type ContextSize,
  cutByBudget,
  failuresOf,
  isPassedOver,
  type ModelChoice,
  next,
  type Plan,
  retryAtMs,
  toBudgetEnding,
} from "./plan.ts";
import { type CompactingDeps, keepFor, limitOf, makeCompaction } from "./compacting.ts";
import { sizeOf, toModelView } from "./compaction.ts";
import { sizeOfInstructions, toInstructions, toModelRequest } from "./prompt.ts";
import { checkEnding, toRepairMessage } from "./structured-result.ts";
import type { RunEvents } from "./run-events.ts";
import type { RunProcesses } from "./run-processes.ts";
import { StallWatch } from "./stall-watch.ts";
import { ToolStep, type ToolStepDeps } from "./tool-step.ts";
import type { Interruption, TurnHost, TurnParts } from "./turn-host.ts";

export interface TurnDeps extends CompactingDeps, ToolStepDeps {
  readonly store: Store;
  readonly bus: Bus;
  readonly clock: SteadyClock;
  readonly ids: Ids;
  readonly log: Log;
  /** What the principal's run of that agent may use, as the policy is now. */
  readonly toolsOf: (principal: RunPrincipal, agentId: string) => readonly Tool[];
  /** By the tool of that name, whether or not the run may use it. */
  readonly redact: Redact;
  /** Models that stand in, in their order, when the run's own fails. */
  readonly fallbacksOf: (agentId: string) => readonly string[];
  /** What all runs of the agent may use in a day. */
  readonly budgetPerDay: (agentId: string) => BudgetLeft | undefined;
  readonly cooldowns: Cooldowns;
  /** All turns': before each but the first step, which whoever starts them has waited for. */
  readonly pace: Pace;
  /** How long nothing may come of a model or a tool; undefined: for ever. */
  readonly stallMs: number | undefined;
}

/** The claim is not ours any more: whoever took it has written what matters. */
class ClaimLost extends Error {
  override readonly name = "ClaimLost";
}

export class Turn {
  readonly #deps: TurnDeps;
  readonly #claim: Claim;
  readonly #events: RunEvents;
  readonly #signal: AbortSignal;
  readonly #host: TurnHost;
  readonly #principal: RunPrincipal;
  readonly #watch: StallWatch;
  readonly #processes: RunProcesses;
  readonly #toolStep: ToolStep;
  #state: RunState = { phase: "fresh" };
  /** Of the last reply's calls; gone after a crash. */
  #withheld: ReadonlyMap<string, unknown> = new Map();
  #transcript: TranscriptMessage[] = [];
  /** What a call needs beside the transcript. */
  #overheadTokens: number | undefined;

  constructor(deps: TurnDeps, claim: Claim, { events, signal, host, processes }: TurnParts) {
    this.#deps = deps;
    this.#claim = claim;
    this.#events = events;
    this.#signal = signal;
    this.#host = host;
    this.#principal = runPrincipal(claim.run);
    this.#watch = new StallWatch({
      clock: deps.clock,
      stallMs: deps.stallMs,
      onWarning: (limitAtMs) => events.warned("stall", limitAtMs),
      onStalled: () => host.interrupt("stalled"),
    });
    processes.onOutput = () => this.#watch.sign();
    this.#processes = processes;
    this.#toolStep = new ToolStep(deps, {
      run: claim.run,
      principal: this.#principal,
      events,
      signal,
      processes,
      tools: () => this.#tools(),
      sign: () => this.#watch.sign(),
      commit: (entry, messages) => this.#commit([entry], messages),
      logFailure: (error, facts, what) => this.#logFailure(error, facts, what),
    });
  }

  /** A tool of it goes on, although it was stopped. */
  get hasAbandoned(): boolean {
    return this.#toolStep.hasAbandoned;
  }

  /** Resolves when the run has parked or ended, or is somebody else's. Rejects only when the store fails. */
  async carryOn(): Promise<void> {
    const { run, journal, consumed } = this.#claim;
    using _watch = this.#watch;
    using _warning = warnInLastPart(this.#deps.clock, run, (deadlineAtMs) => this.#events.warned("deadline", deadlineAtMs));
    try {
      if (journal.length === 1) this.#events.started();
      for (const completion of consumed) this.#events.announced(completion);
      this.#state = fold(journal);
      this.#transcript = [...toModelView(await this.#deps.store.sessions.view(run.sessionKey))];
      while (await this.#perform(next(this.#state, this.#choice(), (model) => this.#sizeFor(model)))) await this.#deps.pace();
    } catch (error) {
      await this.#stop(error);
    } finally {
      // One tool's end may have been the turn's: the others stop too.
      this.#host.interrupt("over");
      await Promise.all([this.#processes.stop(), this.#toolStep.letGo()]);
    }
  }

  /** Does one step; answers whether there is a next. */
  async #perform(plan: Plan): Promise<boolean> {
    this.#signal.throwIfAborted();
    this.#watch.sign();
    switch (plan.do) {
      case "call-model":
        if (!(await this.#isTime(plan.notBeforeMs))) return false;
        // What was said meanwhile is read before the model speaks again; then it is asked anew what is next.
        return (await this.#absorb()) || (await this.#callModel(plan.model));
      case "compact":
        return (await this.#isTime(plan.notBeforeMs)) && (await this.#compact(plan.model));
      case "run-tools":
        if (this.#host.draining.aborted) return false;
        await this.#toolStep.run({ ...plan, withheld: this.#withheld });
        return true;
      case "park":
        return this.#park();
      case "end":
        await this.#end(plan.ending);
        return false;
      case "nothing":
        return false;
    }
  }

  async #absorb(): Promise<boolean> {
    const { run, epoch } = this.#claim;
    const taken = await this.#deps.store.runs.absorb({ ...run, epoch }, this.#deps.clock.now());
    if (taken.kind === "lost") throw new ClaimLost("lost while taking messages in");
    if (taken.kind !== "absorbed") return false;
    this.#state = apply(this.#state, taken.entry);
    this.#transcript.push(...taken.messages);
    for (const absorbed of taken.runs) this.#host.absorbed(absorbed);
    return true;
  }

  /** Waits until the model may be asked again; false when the turn is to stop before that. */
  async #isTime(notBeforeMs: number): Promise<boolean> {
    const { clock } = this.#deps;
    const { draining } = this.#host;
    using _held = this.#watch.hold();
    try {
      if (!draining.aborted && notBeforeMs > clock.now()) await sleepUntil(clock, notBeforeMs, AbortSignal.any([this.#signal, draining]));
    } catch (error) {
      if (this.#signal.aborted) throw error;
    }
    return !draining.aborted;
  }

  /** Answers whether the run goes on: a call that its budget does not permit ends it, and so does a reply that asks for nothing. */
  async #callModel(id: string): Promise<boolean> {
    const { clock, models, cooldowns } = this.#deps;
    this.#events.resetText();
    const request = this.#request();
    const reserved = await this.#reserve(request, id);
    if (reserved.kind === "exceeded") {
      await this.#end(toBudgetEnding(reserved, this.#claim.run.agentId));
      return false;
    }
    const watcher = { text: (delta: string) => this.#events.addText(delta), sign: () => this.#watch.sign() };
    try {
      const model = await models.get(id);
      const reply = await gatherReply(model, { ...request, ...maxOutputOf(reserved) }, watcher, this.#deps.redact);
      const { content, reason, usage } = reply;
      this.#withheld = reply.withheld;
      cooldowns.worked(id);
      const entry: JournalEntry = { kind: "reply", content, model: id, reason, usage, cost: this.#costOf(usage, id) };
      const said = { role: "assistant" as const, ...toSaid(content), timestamp: clock.now(), stopReason: reason, usage };
      const isCut = reason === "length" && reserved.kind === "reserved" && reserved.isAll;
      const cut = isCut ? { ...cutByBudget, text: textOf(content) } : undefined;
      return await this.#commitReply(entry, { ...said, provider: model.provider, model: model.name }, cut);
    } catch (error) {
      if (this.#signal.aborted || !(error instanceof ModelError)) throw error;
      await this.#commit([this.#toEntry(error, id)], []);
      return true;
    }
  }

  /** A reply that ends the run is written with the end. Once it is in the transcript, whoever stops the run keeps it no second time. */
  async #commitReply(entry: JournalEntry, message: TranscriptMessage, cut: Ending | undefined): Promise<boolean> {
    const state = apply(this.#state, entry);
    const plan = next(state, this.#choice(), (model) => this.#sizeFor(model));
    const ending = cut ?? (plan.do === "end" ? plan.ending : undefined);
    const checked = ending === undefined ? undefined : checkEnding(ending, this.#claim.run.terms.outputSchema, state);
    this.#events.flushText();
    if (checked === undefined) await this.#commit([entry], [message]);
    else if (checked.kind === "ending") await this.#endWith(checked.ending, [message], [entry]);
    else await this.#commit([entry, checked], [message, toRepairMessage(checked.message, message.timestamp)]);
    this.#events.resetText();
    return checked?.kind !== "ending";
  }

  /** The summary and its entry are one write: whoever goes on after a crash either has both or asks again. */
  async #compact(modelId: string): Promise<boolean> {
    const { clock, store } = this.#deps;
    const { run } = this.#claim;
    // The summary is made of less than the call that would follow.
    const reserved = await this.#reserve(this.#request(), modelId);
    if (reserved.kind === "exceeded") {
      await this.#end(toBudgetEnding(reserved, run.agentId));
      return false;
    }
    this.#events.compacting();
    const compaction = this.#state.phase === "thinking" ? this.#state.compaction : undefined;
    const failures = compaction?.kind === "possible" ? compaction.failures : 0;
    const entry = await makeCompaction(this.#deps, {
      modelId,
      view: await store.sessions.view(run.sessionKey),
      keep: keepFor(this.#deps, modelId),
      wireId: run.wireId,
      overhead: this.#overhead(),
      reserved,
      retryAtMs: (error) => compactAgainAtMs(error, failures, clock.now()),
      signal: this.#signal,
    });
    await this.#commit([entry], []);
    this.#transcript = [...toModelView(await store.sessions.view(run.sessionKey))];
    this.#events.compacted(entry.kind === "compacted");
    return true;
  }

  #choice(): ModelChoice {
    const { run } = this.#claim;
    const { clock, cooldowns, fallbacksOf } = this.#deps;
    return { chain: [run.model, ...fallbacksOf(run.agentId)], cooling: cooldowns.cooling(clock.now()) };
  }

  #sizeFor(model: string): ContextSize {
    const tokens = sizeOf(this.#transcript) + this.#overhead();
    return { tokens, limit: limitOf(this.#deps, model), window: this.#deps.contextWindowOf(model) };
  }

  #overhead(): number {
    return (this.#overheadTokens ??= sizeOfInstructions(toInstructions(this.#claim.run, this.#facts(), this.#tools())));
  }

  async #reserve(request: ModelRequest, model: string): Promise<Exclude<Reservation, { kind: "lost" }>> {
    const { run, epoch } = this.#claim;
    const day = toDayBudget(run.agentId, this.#deps.budgetPerDay(run.agentId), this.#deps.clock.now());
    if (run.authority.limits === undefined && day === undefined) return { kind: "unlimited" };
    const estimate = estimateCall(request, this.#deps.priceOf(model));
    const reserved = await this.#deps.store.budgets.reserve({ runId: run.runId, epoch }, estimate, day);
    if (reserved.kind === "lost") throw new ClaimLost("lost while reserving");
    return reserved;
  }

  #request(): ModelRequest {
    return toModelRequest(this.#claim.run, this.#facts(), { transcript: this.#transcript, tools: this.#tools(), signal: this.#signal });
  }

  #facts(): { readonly workspace: string; readonly secondsLeft: number | undefined } {
    const { run } = this.#claim;
    return { workspace: this.#deps.workspaceOf(run.agentId), secondsLeft: secondsLeft(run, this.#deps.clock.now()) };
  }

  /** A model that is passed over for this reply is left out for a while elsewhere too, unless it was the request's own fault. */
  #toEntry(error: ModelError, model: string): JournalEntry {
    const nowMs = this.#deps.clock.now();
    const failures = this.#state.phase === "thinking" ? failuresOf(this.#state.failures, model) : 0;
    if (!error.isOfRequest && isPassedOver(error, failures)) this.#deps.cooldowns.failed(model, nowMs, error.retryAfterMs);
    const facts = { model, retryAtMs: retryAtMs(error, failures, nowMs), partial: this.#events.text };
    return toErrorEntry(error, facts, (usage) => this.#costOf(usage, model));
  }

  #costOf(usage: Usage, model: string): CallCost | undefined {
    return costOf(usage, this.#deps.priceOf(model));
  }

  /** The tools this run may use, decided anew each time: the policy may have changed since. */
  #tools(): readonly Tool[] {
    return this.#deps.toolsOf(this.#principal, this.#claim.run.agentId);
  }

  /** Answers the id under which it stands in the log. */
  #logFailure(error: unknown, facts: object, what: string): string {
    const errorId = this.#deps.ids.next("err");
    this.#deps.log.error({ err: error, errorId, runId: this.#claim.run.runId, ...facts }, what);
    return errorId;
  }

  async #park(): Promise<boolean> {
    const { run, epoch } = this.#claim;
    this.#events.flushText();
    const outcome = await this.#deps.store.runs.park(run.runId, epoch, this.#events.seq, this.#deps.clock.now());
    if (outcome === "lost") throw new ClaimLost("lost while parking");
    if (outcome === "no-children")
      await this.#end({ outcome: "failed", text: "", error: "the run waits for sub-agents, but has none", stopReason: "no_children" });
    if (outcome === "unread") this.#deps.bus.publish("work", undefined);
    return false;
  }

  async #commit(entries: readonly JournalEntry[], messages: readonly TranscriptMessage[]): Promise<void> {
    const { run, epoch } = this.#claim;
    const outcome = await this.#deps.store.runs.append(run.runId, epoch, entries, messages, this.#deps.clock.now());
    if (outcome === "lost") throw new ClaimLost("lost while appending");
    this.#host.gotOn();
    this.#state = entries.reduce(apply, this.#state);
    this.#transcript.push(...messages);
  }

  async #end(ending: Ending): Promise<void> {
    const nowMs = this.#deps.clock.now();
    // A whole reply is in the transcript already; what an unfinished one had said is kept here.
    const messages: TranscriptMessage[] =
      this.#state.phase === "answered" || ending.text === ""
        ? []
        : [{ role: "assistant", content: [{ type: "text", text: ending.text }], timestamp: nowMs, stopReason: ending.stopReason }];
    await this.#endWith(ending, messages, []);
  }

  async #endWith(ending: Ending, messages: readonly TranscriptMessage[], last: readonly JournalEntry[]): Promise<void> {
    const { run, epoch } = this.#claim;
    const outcome = await this.#deps.store.runs.end(run.runId, epoch, ending, messages, this.#deps.clock.now(), last);
    if (outcome.kind === "ended") this.#events.ended(outcome.run);
  }

  /** The failing part, by name. */
  #whatStalled(): string {
    const silent = this.#state.phase === "working" ? `the tools ${this.#state.pending.map((call) => call.name).join(", ")}` : "the model";
    return `nothing came of ${silent} for ${Math.round((this.#deps.stallMs ?? 0) / 1_000)} s`;
  }

  async #stop(error: unknown): Promise<void> {
    if (error instanceof ClaimLost) return;
    if (this.#signal.aborted) {
      const reason = this.#signal.reason as Interruption;
      if (reason === "stalled")
        await this.#end({ outcome: "stalled", text: this.#events.text, error: this.#whatStalled(), stopReason: "stalled" });
      if (reason === "deadline") await this.#end(toDeadlineEnding(this.#claim.run, this.#events.text));
      return;
    }
    if (error instanceof ProtocolError && error.code === "STORE_UNAVAILABLE") throw error;
    if (error instanceof JournalError)
      return this.#end({
        outcome: "interrupted",
        text: "",
        error: `the run's journal cannot be continued: ${error.message}`,
        stopReason: "journal",
      });
    const errorId = this.#logFailure(error, {}, "run failed unexpectedly");
    await this.#end({ outcome: "failed", text: "", error: `internal error ${errorId}`, stopReason: "internal" });
  }
}
