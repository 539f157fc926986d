/** Carries one claimed run on: asks `plan.ts` what is next, does it, writes it down, until the run parks or ends. */
import { type Caller, type ContentBlock, silenceOf, type Usage } from "@portreeve/protocol";
import type { Bus } from "../bus.ts";
import { type Clock, sleepUntil } from "../kit/clock.ts";
import type { Ids } from "../kit/ids.ts";
import type { Log } from "../kit/log.ts";
import { estimateTokens } from "../models/context-window.ts";
import { ModelError, type ModelRequest, type ToolCall, type ToolSpec } from "../models/model.ts";
import { type CallCost, costOf } from "../models/price.ts";
import { type RunPrincipal, runPrincipal } from "../principal/principal.ts";
import type { JournalEntry } from "../store/journal.ts";
import { type Reservation, toDeadlineEnding } from "../store/budgets.ts";
import type { Claim, Ending, RunRecord, Store, TranscriptMessage } from "../store/store.ts";
import type { Tool, ToolResult } from "../tools/tool.ts";
import { estimateCall } from "./call-estimate.ts";
import { apply, fold, JournalError, textOf, type RunState } from "./machine.ts";
import { compactAgainAtMs, type ContextSize, cutByBudget, next, type Plan, retryAtMs, toBudgetEnding } from "./plan.ts";
import { type CompactingDeps, keepFor, limitOf, makeCompaction } from "./compacting.ts";
import { sizeOf, toModelView } from "./compaction.ts";
import { systemPrompt, toModelMessages } from "./prompt.ts";
import type { RunEvents } from "./run-events.ts";

export interface TurnDeps extends CompactingDeps {
  readonly store: Store;
  readonly bus: Bus;
  readonly clock: Clock;
  readonly ids: Ids;
  readonly log: Log;
  /** What the principal's run of that agent may use, as the policy is now. */
  readonly toolsOf: (principal: RunPrincipal, agentId: string) => readonly Tool[];
  readonly workspaceOf: (agentId: string) => string;
  readonly callerFor: (principal: RunPrincipal) => Caller;
}

/** What a turn tells its worker. */
export interface TurnHost {
  /** A queued run ended because its message was taken into this turn. */
  absorbed(run: RunRecord): void;
}

/** Why a turn is stopped from outside; the reason of its signal. */
export type Interruption = "shutdown" | "cancelled" | "deadline" | "lost" | "absorbed";

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
  #state: RunState = { phase: "fresh" };
  #transcript: TranscriptMessage[] = [];
  /** What a call needs beside the transcript. */
  #overheadTokens: number | undefined;

  constructor(deps: TurnDeps, claim: Claim, { events, signal, host }: { events: RunEvents; signal: AbortSignal; host: TurnHost }) {
    this.#deps = deps;
    this.#claim = claim;
    this.#events = events;
    this.#signal = signal;
    this.#host = host;
    this.#principal = runPrincipal(claim.run);
  }

  /** Resolves when the run has parked or ended, or is somebody else's. Rejects only when the store fails. */
  async carryOn(): Promise<void> {
    const { run, journal, consumed } = this.#claim;
    try {
      if (journal.length === 1) this.#events.started();
      for (const completion of consumed) this.#events.announced(completion);
      this.#state = fold(journal);
      this.#transcript = [...toModelView(await this.#deps.store.sessions.view(run.sessionKey))];
      let plan = next(this.#state, this.#size());
      while (await this.#perform(plan)) plan = next(this.#state, this.#size());
    } catch (error) {
      await this.#stop(error);
    }
  }

  /** Does one step; answers whether there is a next. */
  async #perform(plan: Plan): Promise<boolean> {
    this.#signal.throwIfAborted();
    switch (plan.do) {
      case "call-model":
        // What was said meanwhile is read before the model speaks again; then it is asked anew what is next.
        if (await this.#absorb()) return true;
        return this.#callModel(plan.notBeforeMs);
      case "compact":
        return this.#compact(plan.notBeforeMs);
      case "run-tools":
        await Promise.all(plan.calls.map((call) => this.#runTool(call, plan.begun.includes(call.id))));
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

  /** Answers whether the run goes on: a call that its budget does not permit ends it. */
  async #callModel(notBeforeMs: number): Promise<boolean> {
    const { clock, models } = this.#deps;
    const { run } = this.#claim;
    if (notBeforeMs > clock.now()) await sleepUntil(clock, notBeforeMs, this.#signal);
    this.#events.resetText();
    const content: ContentBlock[] = [];
    const request = this.#request();
    const reserved = await this.#reserve(request);
    if (reserved.kind === "exceeded") {
      await this.#end(toBudgetEnding(reserved));
      return false;
    }
    let isCut = false;
    try {
      const model = await models.get(run.model);
      for await (const event of model.stream({ ...request, ...maxOutputOf(reserved) })) {
        this.#signal.throwIfAborted();
        if (event.type === "text") {
          addText(content, event.delta);
          this.#events.addText(event.delta);
        } else if (event.type === "tool-call") {
          content.push({ type: "toolCall", id: event.call.id, name: event.call.name, arguments: event.call.arguments });
        } else {
          const { reason, usage } = event;
          const message = {
            role: "assistant" as const,
            ...toSaid(content),
            timestamp: clock.now(),
            stopReason: reason,
            provider: model.provider,
            model: model.name,
            usage,
          };
          await this.#commit([{ kind: "reply", content, model: run.model, reason, usage, cost: this.#costOf(usage) }], [message]);
          // It is in the transcript: whoever stops the run from here on keeps it no second time.
          this.#events.flushText();
          this.#events.resetText();
          isCut = reason === "length" && reserved.kind === "reserved" && reserved.isAll;
        }
      }
    } catch (error) {
      if (this.#signal.aborted || !(error instanceof ModelError)) throw error;
      await this.#commit([this.#toEntry(error)], []);
    }
    if (isCut) await this.#end({ ...cutByBudget, text: textOf(content) });
    return !isCut;
  }

  /** The summary and its entry are one write: whoever goes on after a crash either has both or asks again. */
  async #compact(notBeforeMs: number): Promise<boolean> {
    const { clock, store } = this.#deps;
    const { run } = this.#claim;
    if (notBeforeMs > clock.now()) await sleepUntil(clock, notBeforeMs, this.#signal);
    // The summary is made of less than the call that would follow.
    const reserved = await this.#reserve(this.#request());
    if (reserved.kind === "exceeded") {
      await this.#end(toBudgetEnding(reserved));
      return false;
    }
    this.#events.compacting();
    const compaction = this.#state.phase === "thinking" ? this.#state.compaction : undefined;
    const failures = compaction?.kind === "possible" ? compaction.failures : 0;
    const entry = await makeCompaction(this.#deps, {
      modelId: run.model,
      view: await store.sessions.view(run.sessionKey),
      keep: keepFor(this.#deps, run.model),
      overhead: this.#overhead(),
      retryAtMs: (error) => compactAgainAtMs(error, failures, clock.now()),
      signal: this.#signal,
    });
    await this.#commit([entry], []);
    this.#transcript = [...toModelView(await store.sessions.view(run.sessionKey))];
    this.#events.compacted(entry.kind === "compacted");
    return true;
  }

  #size(): ContextSize {
    const { contextWindowOf } = this.#deps;
    const { model } = this.#claim.run;
    // Only a model call asks for it.
    const tokens = this.#state.phase === "thinking" ? sizeOf(this.#transcript) + this.#overhead() : 0;
    return { tokens, limit: limitOf(this.#deps, model), window: contextWindowOf(model) };
  }

  #overhead(): number {
    if (this.#overheadTokens !== undefined) return this.#overheadTokens;
    const { system, tools } = this.#request();
    this.#overheadTokens = estimateTokens([system, tools]);
    return this.#overheadTokens;
  }

  async #reserve(request: ModelRequest): Promise<Exclude<Reservation, { kind: "lost" }>> {
    const { run, epoch } = this.#claim;
    if (run.authority.limits === undefined) return { kind: "unlimited" };
    const estimate = estimateCall(request, this.#deps.priceOf(run.model));
    const reserved = await this.#deps.store.budgets.reserve({ runId: run.runId, epoch }, estimate);
    if (reserved.kind === "lost") throw new ClaimLost("lost while reserving");
    return reserved;
  }

  #request(): ModelRequest {
    const { run } = this.#claim;
    const tools = this.#tools();
    const mayDelegate = tools.some((tool) => tool.name === "sessions_spawn");
    const system = systemPrompt(run, { workspace: this.#deps.workspaceOf(run.agentId), mayDelegate });
    const { thinking } = run.terms;
    const messages = toModelMessages(this.#transcript);
    return { system, messages, tools: tools.map(toSpec), ...(thinking === undefined ? {} : { thinking }), signal: this.#signal };
  }

  #toEntry(error: ModelError): JournalEntry {
    const failures = this.#state.phase === "thinking" ? this.#state.failures.length : 0;
    const { kind: errorKind, message, retryable } = error;
    return {
      kind: "model-error",
      errorKind,
      message,
      retryable,
      retryAtMs: retryAtMs(error, failures, this.#deps.clock.now()),
      partial: this.#events.text,
      ...(error.usage === undefined ? {} : { usage: error.usage, cost: this.#costOf(error.usage) }),
    };
  }

  #costOf(usage: Usage): CallCost | undefined {
    return costOf(usage, this.#deps.priceOf(this.#claim.run.model));
  }

  /** The tools this run may use, decided anew each time: the policy may have changed since. */
  #tools(): readonly Tool[] {
    return this.#deps.toolsOf(this.#principal, this.#claim.run.agentId);
  }

  async #runTool(call: ToolCall, hasBegun: boolean): Promise<void> {
    const tool = this.#tools().find((one) => one.name === call.name);
    this.#events.toolStarted(call);
    const result = tool === undefined ? notAvailable(call.name) : await this.#execute(tool, call, hasBegun);
    const isError = result.isError === true;
    const block: ContentBlock = { type: "toolResult", toolCallId: call.id, toolName: call.name, text: result.text, isError };
    const entry: JournalEntry = {
      kind: "tool-result",
      toolCallId: call.id,
      name: call.name,
      text: result.text,
      isError,
      parks: result.parks === true,
    };
    await this.#commit([entry], [{ role: "toolResult", content: [block], timestamp: this.#deps.clock.now() }]);
    this.#events.toolEnded(call, { isError, details: result.details ?? result.text });
    if (result.spawned !== undefined) this.#events.spawned(result.spawned);
  }

  async #execute(tool: Tool, call: ToolCall, hasBegun: boolean): Promise<ToolResult> {
    if (tool.repeat === "ask") {
      if (hasBegun) return unknownEffect(call);
      await this.#commit([{ kind: "tool-intent", toolCallId: call.id, name: call.name, args: call.arguments }], []);
    }
    const { run } = this.#claim;
    const modelCalls = this.#state.phase === "working" ? this.#state.modelCalls : 0;
    try {
      return await tool.execute(call.arguments, {
        caller: this.#deps.callerFor(this.#principal),
        workspace: this.#deps.workspaceOf(run.agentId),
        sessionKey: run.sessionKey,
        agentId: run.agentId,
        callKey: `call:${run.runId}:${modelCalls}:${call.id}`,
        signal: this.#signal,
      });
    } catch (error) {
      this.#signal.throwIfAborted();
      const errorId = this.#deps.ids.next("err");
      this.#deps.log.error({ err: error, errorId, runId: run.runId, tool: tool.name }, "tool failed");
      return { text: `The tool ${tool.name} failed unexpectedly (error ${errorId}).`, isError: true };
    }
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
    this.#state = entries.reduce(apply, this.#state);
    this.#transcript.push(...messages);
  }

  async #end(ending: Ending): Promise<void> {
    const { run, epoch } = this.#claim;
    const nowMs = this.#deps.clock.now();
    // A whole reply is in the transcript already; what an unfinished one had said is kept here.
    const messages: TranscriptMessage[] =
      this.#state.phase === "answered" || ending.text === ""
        ? []
        : [{ role: "assistant", content: [{ type: "text", text: ending.text }], timestamp: nowMs, stopReason: ending.stopReason }];
    const outcome = await this.#deps.store.runs.end(run.runId, epoch, ending, messages, nowMs);
    if (outcome.kind === "ended") this.#events.ended(outcome.run);
  }

  async #stop(error: unknown): Promise<void> {
    if (error instanceof ClaimLost) return;
    if (this.#signal.aborted) {
      const reason = this.#signal.reason as Interruption;
      if (reason === "deadline") await this.#end(toDeadlineEnding(this.#claim.run, this.#events.text));
      return;
    }
    if (isStoreFailure(error)) throw error;
    const { run } = this.#claim;
    if (error instanceof JournalError)
      return this.#end({
        outcome: "interrupted",
        text: "",
        error: `the run's journal cannot be continued: ${error.message}`,
        stopReason: "journal",
      });
    const errorId = this.#deps.ids.next("err");
    this.#deps.log.error({ err: error, errorId, runId: run.runId }, "run failed unexpectedly");
    await this.#end({ outcome: "failed", text: "", error: `internal error ${errorId}`, stopReason: "internal" });
  }
}

function maxOutputOf(reserved: Reservation): Pick<ModelRequest, "maxOutputTokens"> {
  return reserved.kind === "reserved" && reserved.maxOutput !== undefined ? { maxOutputTokens: reserved.maxOutput } : {};
}

/** What the transcript keeps of a reply: a silence is a fact about it, not text that anybody could be shown. */
function toSaid(content: readonly ContentBlock[]): Pick<TranscriptMessage, "content" | "silence"> {
  const silence = content.every(({ type }) => type === "text") ? silenceOf(textOf(content)) : undefined;
  return silence === undefined ? { content: [...content] } : { content: [], silence };
}

/** Consecutive text becomes one block. */
function addText(content: ContentBlock[], delta: string): void {
  const last = content.at(-1);
  if (last?.type === "text") last.text += delta;
  else content.push({ type: "text", text: delta });
}

function toSpec(tool: Tool): ToolSpec {
  return { name: tool.name, description: tool.description, parameters: tool.schema() };
}

function notAvailable(name: string): ToolResult {
  return { text: `There is no tool ${JSON.stringify(name)} for this run.`, isError: true };
}

function unknownEffect(call: ToolCall): ToolResult {
  const text = `The gateway stopped while ${call.name} was running with ${JSON.stringify(call.arguments)}. Whether it had its effect is unknown: check before you repeat it.`;
  return { text, isError: true };
}

function isStoreFailure(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "STORE_UNAVAILABLE";
}
