/** What a run does next: a pure function of its state. Retry policy and bounds stand here. */
import { silenceOf } from "@portreeve/protocol";
import type { ModelErrorKind, ToolCall } from "../models/model.ts";
import type { Reservation } from "../store/budgets.ts";
import type { Ending } from "../store/store.ts";
import type { ModelFailure, RunState } from "./machine.ts";

export const runLimits = {
  modelCalls: 100,
  /** Calls of the model for one reply, the first included. */
  attempts: 4,
  firstBackoffMs: 500,
  longestBackoffMs: 30_000,
  /** A provider that asks for longer ends the run, unless another model answers: whoever waits for it should hear of it. */
  longestWaitMs: 600_000,
  /** The same failing tool call in this many replies in a row ends the run. */
  sameFailure: 3,
} as const;

export type Plan =
  | { readonly do: "call-model"; readonly model: string; readonly notBeforeMs: number }
  /** Sum up the older part of the transcript, so that the next call fits. */
  | { readonly do: "compact"; readonly model: string; readonly notBeforeMs: number }
  | {
      readonly do: "run-tools";
      readonly calls: readonly ToolCall[];
      readonly begun: readonly string[];
      /** Calls of the model until then. */
      readonly modelCalls: number;
    }
  | { readonly do: "park" }
  | { readonly do: "end"; readonly ending: Ending }
  /** Nothing: the run is parked or over. */
  | { readonly do: "nothing" };

/** How large the next model call would be, in tokens. */
export interface ContextSize {
  readonly tokens: number;
  /** Beyond it the transcript is compacted. */
  readonly limit: number;
  readonly window: number;
}

/** Which models a run may use. */
export interface ModelChoice {
  /** Its own first, then those that stand in for it. */
  readonly chain: readonly [string, ...string[]];
  /** Models that stand in for nobody now. */
  readonly cooling: ReadonlySet<string>;
}

export function next(state: RunState, models: ModelChoice, sizeFor: (model: string) => ContextSize): Plan {
  switch (state.phase) {
    case "fresh":
    case "parked":
    case "ended":
      return { do: "nothing" };
    case "working":
      return { do: "run-tools", calls: state.pending, begun: state.begun, modelCalls: state.modelCalls };
    case "parking":
      return { do: "park" };
    case "answered":
      return { do: "end", ending: toEnding(state.text, state.reason) };
    case "thinking":
      return planModelCall(state, models, sizeFor);
  }
}

/** How often the model has failed for the reply at hand. */
export function failuresOf(failures: readonly ModelFailure[], model: string): number {
  return failures.filter((failure) => (failure.model ?? model) === model).length;
}

type Failed = Pick<ModelFailure, "retryable" | "retryAfterMs">;

/** When the failed call may be repeated: what the provider asked for, within bounds, or doubling from half a second. */
export function retryAtMs(error: Pick<Failed, "retryAfterMs">, failuresBefore: number, nowMs: number): number {
  const backoffMs = Math.min(runLimits.longestBackoffMs, runLimits.firstBackoffMs * 2 ** failuresBefore);
  return nowMs + Math.min(runLimits.longestWaitMs, Math.max(backoffMs, error.retryAfterMs ?? 0));
}

/** Whether the model is to be asked again only when no other can be, if at all. */
export function isPassedOver(error: Failed, failuresBefore: number): boolean {
  return !mayAskAgain(error, failuresBefore) || (error.retryAfterMs ?? 0) > runLimits.longestBackoffMs;
}

function mayAskAgain({ retryable, retryAfterMs = 0 }: Failed, failuresBefore: number): boolean {
  return retryable && failuresBefore + 1 < runLimits.attempts && retryAfterMs <= runLimits.longestWaitMs;
}

/** How a run ends whose next call does not fit into what is left. */
export function toBudgetEnding({ dimension, needed, left, isDay }: Extract<Reservation, { kind: "exceeded" }>, agentId: string): Ending {
  const rest = Object.entries(left).map(([name, amount]) => `${amount} ${name}`);
  const what = isDay ? `the budget of agent ${agentId} for this day (budgetPerDay, until 00:00 UTC)` : "the budget";
  const price = `the price of the model is not known (models.prices), and ${what} is in usd`;
  const need = `${what} is spent: the next model call needs about ${needed} ${dimension}; left are ${rest.join(", ")}`;
  const stopReason = isDay ? `budget_day_${dimension}` : `budget_${dimension}`;
  return { outcome: "budget_exceeded", text: "", error: Number.isFinite(needed) ? need : price, stopReason };
}

/** A reply that the budget cut short. */
export const cutByBudget = {
  outcome: "budget_exceeded",
  error: "the budget is spent: the last reply ended where it was cut",
  stopReason: "budget_tokens",
} as const;

/** Failures that are the model's own or its provider's: another one may do. */
const othersMayDo: ReadonlySet<string> = new Set<ModelErrorKind>([
  "unusable",
  "auth",
  "rate_limit",
  "overloaded",
  "network",
  "incomplete",
  "unknown",
]);

function planModelCall(
  state: Extract<RunState, { phase: "thinking" }>,
  models: ModelChoice,
  sizeFor: (model: string) => ContextSize,
): Plan {
  if (state.repeated !== undefined && state.repeated.times >= runLimits.sameFailure) {
    return fail("failed", `the same tool call failed ${state.repeated.times} times in a row`, "tool_loop");
  }
  const last = state.failures.at(-1);
  const current = last?.model ?? state.model ?? models.chain[0];
  const size = sizeFor(current);
  const { compaction } = state;
  const isTooLong = last?.errorKind === "context_length";
  const mayCompact = compaction.kind === "possible" && state.modelCalls < runLimits.modelCalls;
  if (mayCompact && (isTooLong || size.tokens > size.limit)) return { do: "compact", model: current, notBeforeMs: compaction.notBeforeMs };
  if (compaction.kind === "given-up" && (isTooLong || size.tokens > size.window)) return failForLength(size, compaction.why);
  const call = last === undefined ? { model: current, notBeforeMs: 0 } : afterFailure(state.failures, { ...last, model: current }, models);
  if ("outcome" in call) return { do: "end", ending: call };
  if (state.modelCalls >= runLimits.modelCalls)
    return fail("budget_exceeded", `the run made ${runLimits.modelCalls} model calls`, "model_calls");
  return { do: "call-model", ...call };
}

interface Call {
  readonly model: string;
  readonly notBeforeMs: number;
}

/** The model that failed last, one that stands in for it, one that asked to be left alone for long; or the end, when none may do. */
function afterFailure(
  failures: readonly ModelFailure[],
  last: ModelFailure & { readonly model: string },
  models: ModelChoice,
): Call | Ending {
  if (!isPassedOver(last, failuresOf(failures, last.model) - 1)) return { model: last.model, notBeforeMs: last.retryAtMs };
  if (!othersMayDo.has(last.errorKind)) return failForModel(last, failures.length);
  const standIn = findStandIn(failures, models);
  if (standIn !== undefined) return { model: standIn, notBeforeMs: 0 };
  return findAgain(failures, models) ?? failForModel(last, failures.length);
}

/** The next model of the chain that was not asked for this reply and is not left out. */
function findStandIn(failures: readonly ModelFailure[], { chain, cooling }: ModelChoice): string | undefined {
  return chain.find((id) => !cooling.has(id) && !failures.some((failure) => (failure.model ?? chain[0]) === id));
}

/** Of the models that were asked for this reply, the one that may be asked again first. */
function findAgain(failures: readonly ModelFailure[], { chain }: ModelChoice): Call | undefined {
  const newest = new Map(failures.map((failure) => [failure.model ?? chain[0], failure]));
  return [...newest]
    .filter(([model, failure]) => mayAskAgain(failure, failuresOf(failures, model) - 1))
    .map(([model, { retryAtMs: notBeforeMs }]) => ({ model, notBeforeMs }))
    .toSorted((a, b) => a.notBeforeMs - b.notBeforeMs)[0];
}

function failForModel(last: ModelFailure, attempts: number): Ending {
  const tries = attempts === 1 ? "" : ` (${attempts} attempts)`;
  const asked = Math.ceil((last.retryAfterMs ?? 0) / 1_000);
  const most = runLimits.longestWaitMs / 1_000;
  const wait =
    last.retryable && asked > most ? `; it asked not to be called again for ${asked} s, and a run waits for ${most} s at most` : "";
  return { outcome: "failed", text: last.partial, error: `${last.message}${tries}${wait}`, stopReason: last.errorKind };
}

function failForLength({ tokens, window }: ContextSize, why: string): Plan {
  const size = `about ${tokens} tokens for a context window of ${window}`;
  return fail("failed", `the conversation does not fit the model (${size}) and cannot be compacted: ${why}`, "context_length");
}

/** When a compaction that failed may be tried again; undefined: it may not. */
export function compactAgainAtMs(error: Failed, failuresBefore: number, nowMs: number): number | undefined {
  return mayAskAgain(error, failuresBefore) ? retryAtMs(error, failuresBefore, nowMs) : undefined;
}

function toEnding(text: string, reason: "stop" | "length" | "content-filter"): Ending {
  if (reason === "content-filter")
    return { outcome: "failed", text, error: "the provider's content filter stopped the reply", stopReason: "refusal" };
  const silence = silenceOf(text);
  if (silence !== undefined) return { outcome: "succeeded", text: "", silence, error: undefined, stopReason: reason };
  return { outcome: "succeeded", text, error: undefined, stopReason: reason, ...(reason === "length" ? { isCutOff: true } : {}) };
}

function fail(outcome: "failed" | "budget_exceeded", error: string, stopReason: string): Plan {
  return { do: "end", ending: { outcome, text: "", error, stopReason } };
}
