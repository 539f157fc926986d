/** The run as a fold over its journal: pure and total. Whoever holds the entries knows the state. */
import type { ContentBlock } from "@portreeve/protocol";
import type { ToolCall } from "../models/model.ts";
import type { JournalEntry, Outcome } from "../store/journal.ts";

export type RunState =
  /** Admitted; nothing said yet. */
  | { readonly phase: "fresh" }
  /** The model's turn to speak. */
  | ({ readonly phase: "thinking" } & Progress)
  /** The model asked for tools that have no result yet. */
  | ({
      readonly phase: "working";
      readonly pending: readonly ToolCall[];
      /** Calls that began, and whose effect is unknown after a crash. */ readonly begun: readonly string[];
      readonly parks: boolean;
    } & Progress)
  /** A tool asked to wait, and every call of the turn has its result. */
  | ({ readonly phase: "parking" } & Progress)
  /** Parked until a child's result is there. */
  | ({ readonly phase: "parked"; readonly eventSeq: number } & Progress)
  /** The model spoke without asking for anything. */
  | ({ readonly phase: "answered"; readonly text: string; readonly reason: "stop" | "length" | "content-filter" } & Progress)
  | { readonly phase: "ended"; readonly outcome: Outcome };

interface Progress {
  /** The model of the last reply; undefined before the first one. */
  readonly model: string | undefined;
  /** Model calls that ended, well or not. */
  readonly modelCalls: number;
  /** The last model calls in a row that failed. */
  readonly failures: readonly ModelFailure[];
  /** The last replies in a row that made the same failing tool call; `reply` is the newest of them, by the calls of the model until then. */
  readonly repeated: { readonly call: string; readonly times: number; readonly reply: number } | undefined;
  readonly compaction: CompactionState;
  /** It was told once that its result is not what was asked for. */
  readonly isRepaired: boolean;
}

/** `done`: since the last reply or the last message that steers, so that each is preceded by one. `given-up`: another would be of no use to this run. */
export type CompactionState =
  | { readonly kind: "possible"; readonly failures: number; readonly notBeforeMs: number }
  | { readonly kind: "done" }
  | { readonly kind: "given-up"; readonly why: string };

export interface ModelFailure {
  readonly errorKind: string;
  readonly message: string;
  readonly retryable: boolean;
  readonly retryAtMs: number;
  readonly partial: string;
  readonly retryAfterMs?: number | undefined;
  /** Undefined in a journal from before there was more than one. */
  readonly model?: string;
}

type Entry<K extends JournalEntry["kind"]> = Extract<JournalEntry, { kind: K }>;
type Step<K extends JournalEntry["kind"]> = (state: RunState, entry: Entry<K>) => RunState | undefined;

/** What each entry does to a state; undefined: it does not belong there. */
const steps: { readonly [K in JournalEntry["kind"]]: Step<K> } = {
  input: (state) => (state.phase === "fresh" ? { phase: "thinking", ...start } : undefined),
  completions: (state) => {
    if (state.phase === "fresh") return { phase: "thinking", ...start };
    return state.phase === "parked" ? { phase: "thinking", ...progressOf(state) } : undefined;
  },
  steered: (state) => {
    // What it says may be too long for what a compaction has just left.
    if (state.phase === "thinking") return { ...state, compaction: state.compaction.kind === "done" ? possible : state.compaction };
    return state.phase === "parked" ? { phase: "thinking", ...progressOf(state) } : undefined;
  },
  repair: (state) =>
    state.phase === "answered" && !state.isRepaired ? { phase: "thinking", ...progressOf(state), isRepaired: true } : undefined,
  reply: (state, entry) => {
    if (state.phase !== "thinking") return undefined;
    const compaction = state.compaction.kind === "given-up" ? state.compaction : possible;
    const progress = { ...progressOf(state), model: entry.model, modelCalls: state.modelCalls + 1, failures: [], compaction };
    const pending = toolCallsOf(entry.content);
    if (pending.length > 0) return { phase: "working", pending, begun: [], parks: false, ...progress };
    return { phase: "answered", text: textOf(entry.content), reason: entry.reason === "tool-calls" ? "stop" : entry.reason, ...progress };
  },
  "model-error": (state, entry) => {
    if (state.phase !== "thinking") return undefined;
    return { ...state, modelCalls: state.modelCalls + 1, failures: [...state.failures, entry] };
  },
  compacted: (state, { enough }) => {
    if (state.phase !== "thinking" || state.compaction.kind !== "possible") return undefined;
    const compaction: CompactionState = enough ? { kind: "done" } : { kind: "given-up", why: "the summary is not short enough" };
    // What failed for its length is asked again, shorter.
    return { ...state, modelCalls: state.modelCalls + 1, failures: [], compaction };
  },
  "compaction-failed": (state, { message, retryAtMs }) => {
    if (state.phase !== "thinking" || state.compaction.kind !== "possible") return undefined;
    const failures = state.compaction.failures + 1;
    const compaction: CompactionState =
      retryAtMs === undefined ? { kind: "given-up", why: message } : { kind: "possible", failures, notBeforeMs: retryAtMs };
    return { ...state, modelCalls: state.modelCalls + 1, compaction };
  },
  "tool-intent": (state, entry) => {
    if (state.phase !== "working" || !state.pending.some((call) => call.id === entry.toolCallId)) return undefined;
    return { ...state, begun: [...state.begun, entry.toolCallId] };
  },
  "tool-result": (state, entry) => {
    const done = state.phase === "working" ? state.pending.find((call) => call.id === entry.toolCallId) : undefined;
    if (state.phase !== "working" || done === undefined) return undefined;
    const pending = state.pending.filter((call) => call !== done);
    const parks = state.parks || entry.parks;
    const progress = { ...progressOf(state), repeated: countRepeated(state, done, entry.isError) };
    if (pending.length > 0) return { phase: "working", pending, begun: state.begun, parks, ...progress };
    return { phase: parks ? "parking" : "thinking", ...progress };
  },
  parked: (state, entry) => (state.phase === "parking" ? { phase: "parked", eventSeq: entry.eventSeq, ...progressOf(state) } : undefined),
  ended: (state, entry) => (state.phase === "ended" ? undefined : { phase: "ended", outcome: entry.outcome }),
};

/** The journal holds an entry that cannot follow what stands before it. */
export class JournalError extends Error {
  override readonly name = "JournalError";
}

/** The state after `entry`. @throws JournalError when the entry cannot follow. */
export function apply(state: RunState, entry: JournalEntry): RunState {
  // Indexing by the entry's own kind gives the step for exactly that entry; the type system cannot see the pair.
  const step = steps[entry.kind] as Step<JournalEntry["kind"]>;
  const next = step(state, entry as never);
  if (next === undefined) throw new JournalError(`a ${entry.kind} entry cannot follow in phase ${state.phase}`);
  return next;
}

/** The state of a run whose journal is `entries`. @throws JournalError */
export function fold(entries: readonly JournalEntry[]): RunState {
  return entries.reduce<RunState>(apply, { phase: "fresh" });
}

/** The number the run's live events continue from. */
export function eventSeqOf(entries: readonly JournalEntry[]): number {
  return entries.findLast((entry) => entry.kind === "parked")?.eventSeq ?? 0;
}

export function textOf(content: readonly ContentBlock[]): string {
  return content.flatMap((block) => (block.type === "text" ? [block.text] : [])).join("");
}

export function toolCallsOf(content: readonly ContentBlock[]): readonly ToolCall[] {
  return content.flatMap((block) => (block.type === "toolCall" ? [{ id: block.id, name: block.name, arguments: block.arguments }] : []));
}

const possible: CompactionState = { kind: "possible", failures: 0, notBeforeMs: 0 };
const start: Progress = { model: undefined, modelCalls: 0, failures: [], repeated: undefined, compaction: possible, isRepaired: false };

function progressOf({ model, modelCalls, failures, repeated, compaction, isRepaired }: Progress): Progress {
  return { model, modelCalls, failures, repeated, compaction, isRepaired };
}

function countRepeated(state: Progress, call: ToolCall, isError: boolean): Progress["repeated"] {
  if (!isError) return undefined;
  const { modelCalls: reply, repeated } = state;
  const same = JSON.stringify([call.name, call.arguments]);
  if (repeated?.call !== same) return { call: same, times: 1, reply };
  // A reply that makes it more than once has read no result between them.
  return repeated.reply === reply ? repeated : { call: same, times: repeated.times + 1, reply };
}
