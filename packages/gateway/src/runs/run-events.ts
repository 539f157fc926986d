/** The live events of one run: numbered, text throttled. They are for watching; what counts is in the store. */
import { type AgentEvent, type ChatErrorKind, type ChatEvent, mayBeSilence } from "@portreeve/protocol";
import type { Bus } from "../bus.ts";
import type { Clock } from "../kit/clock.ts";
import type { Completion } from "../store/journal.ts";
import type { RunRecord } from "../store/store.ts";

/** One text event a run in this time; the cumulative text makes skipped ones harmless. */
const textIntervalMs = 150;
/** A text beyond this is told as much less often: each time it goes out whole. */
const textCharsAtOnce = 65_536;

/** By why the run stopped. */
const errorKinds: ReadonlyMap<string, ChatErrorKind> = new Map([
  ["refused", "refusal"],
  ["rate_limit", "rate_limit"],
  ["overloaded", "rate_limit"],
  ["context_length", "context_length"],
  ["stalled", "timeout"],
]);

type AgentData<S extends AgentEvent["stream"]> = Extract<AgentEvent, { stream: S }>["data"];

export class RunEvents implements Disposable {
  readonly #bus: Bus;
  readonly #clock: Clock;
  readonly #run: RunRecord;
  #seq: number;
  #text = "";
  #sent = "";
  #lastTextAtMs = Number.NEGATIVE_INFINITY;
  #pending: Disposable | undefined;
  #isOver = false;

  constructor(bus: Bus, clock: Clock, run: RunRecord, firstSeq: number) {
    this.#bus = bus;
    this.#clock = clock;
    this.#run = run;
    this.#seq = firstSeq;
  }

  /** The number of the last event, for whoever continues the run later. */
  get seq(): number {
    return this.#seq;
  }

  /** Nothing more is told: the run has ended, or is another's. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Text of the reply being streamed that has come so far. */
  get text(): string {
    return this.#text;
  }

  started(): void {
    this.#agent("lifecycle", { phase: "start", startedAt: this.#run.startedAtMs ?? this.#clock.now() });
    this.#changed("agent.run.started");
  }

  /** A reply begins again, after a failed attempt or after tools: its text starts empty and will replace what was shown. */
  resetText(): void {
    this.#cancelPending();
    this.#text = "";
  }

  addText(delta: string): void {
    this.#text += delta;
    const dueAtMs = this.#lastTextAtMs + textIntervalMs * Math.max(1, this.#text.length / textCharsAtOnce);
    if (this.#clock.now() >= dueAtMs) this.flushText();
    else this.#pending ??= this.#clock.schedule(dueAtMs, () => this.flushText());
  }

  flushText(): void {
    this.#cancelPending();
    // An empty text is a reply that has not begun to speak: what is shown stays until there is something in its place.
    // The beginning of a silence is held back until it is one, or is not.
    if (this.#text === "" || this.#text === this.#sent || mayBeSilence(this.#text)) return;
    const isExtension = this.#text.startsWith(this.#sent);
    const delta = isExtension ? this.#text.slice(this.#sent.length) : this.#text;
    this.#sent = this.#text;
    this.#lastTextAtMs = this.#clock.now();
    this.#agent("assistant", { text: this.#text, delta });
    this.#chat({ state: "delta", message: this.#message(this.#text), deltaText: delta, ...(isExtension ? {} : { replace: true }) });
  }

  toolStarted(call: { id: string; name: string; arguments: unknown }): void {
    this.flushText();
    this.#agent("tool", { phase: "start", name: call.name, toolCallId: call.id, args: call.arguments });
  }

  toolEnded(call: { id: string; name: string }, result: { isError: boolean; details: unknown }): void {
    this.#agent("tool", { phase: "result", name: call.name, toolCallId: call.id, isError: result.isError, result: result.details });
  }

  /** The run will be interrupted at `limitAtMs` unless something comes, or is told that its time is nearly over. */
  warned(reason: "stall" | "deadline", limitAtMs: number): void {
    this.#agent("lifecycle", { phase: "warning", reason, limitAt: limitAtMs });
  }

  spawned(child: { childSessionKey: string; childRunId: string; label: string | undefined; scopes: readonly string[] }): void {
    const { label, scopes, ...ids } = child;
    this.#agent("subagent", { phase: "spawned", ...ids, ...(label === undefined ? {} : { label }), scopes: [...scopes] });
  }

  announced(completion: Completion): void {
    const { childSessionKey, childRunId, label, outcome, text, silence } = completion;
    this.#agent("subagent", {
      phase: "announced",
      childSessionKey,
      childRunId,
      ...(label === undefined ? {} : { label }),
      status: outcome,
      result: text,
      ...(silence === undefined ? {} : { silence }),
    });
  }

  compacting(): void {
    this.#agent("compaction", { phase: "start" });
  }

  compacted(isCompacted: boolean): void {
    this.#agent("compaction", { phase: "end", compacted: isCompacted });
    if (isCompacted) this.#changed("compact");
  }

  /** The run is over, as `run` says; what its turn may still have to tell is not told. */
  ended(run: RunRecord): void {
    this.flushText();
    const { text = "", error, stopReason = run.status } = run.ending ?? {};
    const times = { startedAt: run.startedAtMs ?? run.createdAtMs, endedAt: run.endedAtMs ?? this.#clock.now() };
    const message = text === "" ? {} : { message: this.#message(text) };
    if (run.status === "succeeded") {
      this.#agent("lifecycle", { phase: "end", ...times, stopReason, aborted: false, status: run.status });
      this.#chat({ state: "final", ...message, stopReason, usage: run.usage });
    } else if (run.status === "cancelled" || run.status === "timed_out") {
      this.#agent("lifecycle", { phase: "end", ...times, stopReason, aborted: true, status: run.status });
      this.#chat({ state: "aborted", ...message, stopReason });
    } else {
      const said = error ?? run.status;
      this.#agent("lifecycle", { phase: "error", ...times, error: said });
      this.#chat({ state: "error", errorMessage: said, errorKind: errorKinds.get(stopReason) ?? "unknown" });
    }
    this.#changed("agent.run.ended");
    this.#bus.publish("run-ended", { runId: this.#run.runId });
    this[Symbol.dispose]();
  }

  /** Nothing is told from here on. */
  [Symbol.dispose](): void {
    this.#isOver = true;
    this.#cancelPending();
  }

  #agent<S extends AgentEvent["stream"]>(stream: S, data: AgentData<S>): void {
    if (this.#isOver) return;
    // One object per stream: the pair of stream and data is what AgentData ties together.
    this.#bus.publish("agent", { ...this.#envelope(), ts: this.#clock.now(), stream, data } as AgentEvent);
  }

  #chat(state: DistributiveOmit<ChatEvent, "runId" | "sessionKey" | "agentId" | "spawnedBy" | "seq">): void {
    if (this.#isOver) return;
    this.#bus.publish("chat", { ...this.#envelope(), ...state });
  }

  #changed(reason: "agent.run.started" | "agent.run.ended" | "compact"): void {
    this.#bus.publish("sessions.changed", { sessionKey: this.#run.sessionKey, reason, runId: this.#run.wireId });
  }

  #envelope(): { runId: string; sessionKey: string; agentId: string; spawnedBy?: string; seq: number } {
    const { wireId, sessionKey, agentId, parentSessionKey } = this.#run;
    this.#seq += 1;
    return {
      runId: wireId,
      sessionKey,
      agentId,
      ...(parentSessionKey === undefined ? {} : { spawnedBy: parentSessionKey }),
      seq: this.#seq,
    };
  }

  #message(text: string): { role: "assistant"; content: { type: "text"; text: string }[]; timestamp: number } {
    return { role: "assistant", content: [{ type: "text", text }], timestamp: this.#clock.now() };
  }

  #cancelPending(): void {
    this.#pending?.[Symbol.dispose]();
    this.#pending = undefined;
  }
}

type DistributiveOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never;
