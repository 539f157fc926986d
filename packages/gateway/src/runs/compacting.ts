/** Makes a compaction: one model call that sums up the older part of a transcript. What comes of it is a journal entry. */
import type { Usage } from "@portreeve/protocol";
import { type ContextWindowOf } from "../models/context-window.ts";
import { type Model, ModelError, type ModelRequest, type Models } from "../models/model.ts";
import { type CallCost, costOf, type PriceOf } from "../models/price.ts";
import { quoteTranscript, summarySystem } from "../models/summary-text.ts";
import type { JournalEntry } from "../store/journal.ts";
import type { TranscriptView } from "../store/compactions.ts";
import type { Reservation } from "../store/budgets.ts";
import { maxOutputOf } from "./call-estimate.ts";
import { findOlderPart, type Keep, type OlderPart, sizeOf, toModelView } from "./compaction.ts";

export interface CompactingDeps {
  readonly models: Pick<Models, "get">;
  readonly priceOf: PriceOf;
  readonly contextWindowOf: ContextWindowOf;
  /** The share of a context window beyond which a transcript is compacted. */
  readonly compactAtShare: number;
}

export type CompactionEntry = Extract<JournalEntry, { kind: "compacted" | "compaction-failed" }>;

/** Of the limit, what the newest messages may take after a compaction. */
const keptShare = 0.3;
/** Of the window, what the transcript to sum up may take: estimates are rough, and the summary needs room. */
const requestShare = 0.6;
const bytesPerToken = 4;

/** The size beyond which a call is preceded by a compaction, in tokens. */
export function limitOf(
  { contextWindowOf, compactAtShare }: Pick<CompactingDeps, "contextWindowOf" | "compactAtShare">,
  modelId: string,
): number {
  return Math.floor(contextWindowOf(modelId) * compactAtShare);
}

export function keepFor(deps: Pick<CompactingDeps, "contextWindowOf" | "compactAtShare">, modelId: string): Keep {
  return { kind: "tokens", most: Math.floor(limitOf(deps, modelId) * keptShare) };
}

export interface CompactionAsk {
  readonly modelId: string;
  readonly view: TranscriptView;
  readonly keep: Keep;
  /** The run that asks; undefined: a person does. */
  readonly wireId?: string;
  /** Tokens of a call beside the transcript. */
  readonly overhead: number;
  readonly reserved: Reservation;
  /** A failed call at `nowMs` is worth another one at that time; undefined: it is not. */
  readonly retryAtMs: (error: ModelError) => number | undefined;
  readonly signal: AbortSignal;
}

/** Rejects with what aborted it; a failure of the model is an entry. */
export async function makeCompaction(deps: CompactingDeps, ask: CompactionAsk): Promise<CompactionEntry> {
  const { modelId, view, keep, wireId, overhead, reserved, signal } = ask;
  const older = findOlderPart(view, keep, wireId);
  if (older === undefined) return toFailure(modelId, "compaction", "the conversation has nothing older that could be summed up");
  const costFor = (usage: Usage): CallCost | undefined => costOf(usage, deps.priceOf(modelId));
  try {
    const model = await deps.models.get(modelId);
    const maxBytes = deps.contextWindowOf(modelId) * requestShare * bytesPerToken;
    const { text, usage } = await sumUp(model, quoteTranscript(older.messages, maxBytes), { ...maxOutputOf(reserved), signal });
    const enough = sizeOf(viewAfter(older, text)) + overhead <= limitOf(deps, modelId);
    const pinned = older.pinned === undefined ? {} : { pinnedSeq: older.pinned.__openclaw.seq };
    return {
      kind: "compacted",
      model: modelId,
      throughSeq: older.throughSeq,
      ...pinned,
      summary: text,
      enough,
      usage,
      cost: costFor(usage),
    };
  } catch (error) {
    if (signal.aborted || !(error instanceof ModelError)) throw error;
    const used = error.usage === undefined ? {} : { usage: error.usage, cost: costFor(error.usage) };
    return { ...toFailure(modelId, error.kind, error.message, ask.retryAtMs(error)), ...used };
  }
}

function viewAfter({ throughSeq, pinned, kept }: OlderPart, text: string) {
  return toModelView({ summary: { text, throughSeq }, pinned, messages: kept });
}

async function sumUp(
  model: Model,
  text: string,
  terms: Pick<ModelRequest, "maxOutputTokens" | "signal">,
): Promise<{ readonly text: string; readonly usage: Usage }> {
  const messages = [{ role: "user" as const, content: [{ type: "text" as const, text }] }];
  let summary = "";
  for await (const event of model.stream({ system: summarySystem, messages, tools: [], ...terms })) {
    if (event.type === "text") summary += event.delta;
    if (event.type !== "finish") continue;
    const { reason, usage } = event;
    if (reason === "content-filter") throw new ModelError("refused", "the provider's content filter stopped the summary", { usage });
    if (summary.trim() === "") throw new ModelError("incomplete", "the summary is empty", { retryable: true, usage });
    return { text: summary.trim(), usage };
  }
  throw new ModelError("incomplete", "the summary ended without a finish reason", { retryable: true });
}

function toFailure(model: string, errorKind: string, message: string, retryAtMs?: number): CompactionEntry {
  return { kind: "compaction-failed", model, errorKind, message, retryAtMs };
}
