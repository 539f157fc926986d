/** Which part of a transcript a summary may stand for, and how the rest then reads. Pure. */
import type { Message } from "@portreeve/protocol";
import { remembered } from "../kit/remembered.ts";
import { estimateTokens } from "../models/context-window.ts";
import { quoteSummary } from "../models/summary-text.ts";
import { messageKeyOf, type TranscriptView } from "../store/compactions.ts";
import type { TranscriptMessage } from "../store/store.ts";

/** What stays as it is: the newest messages up to a size or a number, or from the last message that is not the agent's own. */
export type Keep =
  | { readonly kind: "tokens"; readonly most: number }
  | { readonly kind: "messages"; readonly most: number }
  | { readonly kind: "last-exchange" };

export interface OlderPart {
  /** With the summary of the last time, if there is one. */
  readonly messages: readonly TranscriptMessage[];
  /** Its last message. */
  readonly throughSeq: number;
  /** The last order, when that is in the older part: an order must not become a quotation. */
  readonly pinned: Message | undefined;
  readonly kept: readonly Message[];
}

/**
 * Undefined when there is nothing that could go. Never between a tool call and its result, and never the newest message. `wireId`:
 * the run that it is for; what an agent wrote to start it is its order.
 */
export function findOlderPart(view: TranscriptView, keep: Keep, wireId?: string): OlderPart | undefined {
  const { messages } = view;
  const cuts = messages.flatMap(({ role }, index) => (index > 0 && role !== "toolResult" ? [index] : []));
  const cut = cuts.find((index) => isSmall(messages.slice(index), keep)) ?? (keep.kind === "last-exchange" ? undefined : cuts.at(-1));
  const last = cut === undefined ? undefined : messages[cut - 1];
  if (cut === undefined || last === undefined) return undefined;
  const [older, kept] = [messages.slice(0, cut), messages.slice(cut)];
  const isOrder = orderIn([...(view.pinned === undefined ? [] : [view.pinned]), ...messages], wireId);
  return {
    messages: [...toModelView({ ...view, messages: [] }), ...older],
    throughSeq: last.__openclaw.seq,
    pinned: kept.some(isOrder) ? undefined : (older.findLast(isOrder) ?? view.pinned),
    kept,
  };
}

/** The transcript as a model reads it. */
export function toModelView({ summary, pinned, messages }: TranscriptView): readonly TranscriptMessage[] {
  const quoted: readonly TranscriptMessage[] =
    summary === undefined ? [] : [{ role: "user", content: [{ type: "text", text: quoteSummary(summary.text) }], timestamp: 0 }];
  return [...quoted, ...(pinned === undefined ? [] : [pinned]), ...messages];
}

/** In tokens. */
export function sizeOf(messages: readonly TranscriptMessage[]): number {
  return messages.reduce((sum, { content }) => sum + sizeOfContent(content), 0);
}

/** Nothing changes any more in what was said. */
const sizeOfContent = remembered((content: TranscriptMessage["content"]) => estimateTokens(content));

/** What counts as an order there: what agents of other sessions wrote only where nobody else gave one. */
function orderIn(messages: readonly Message[], wireId: string | undefined): (message: Message) => boolean {
  const isOwn = ({ idempotencyKey }: Message): boolean => wireId !== undefined && idempotencyKey === messageKeyOf({ wireId });
  const isOrder = (message: Message): boolean => message.role === "user" && (message.origin === undefined || isOwn(message));
  return messages.some(isOrder) ? isOrder : ({ origin }) => origin === "agent";
}

function isSmall(kept: readonly Message[], keep: Keep): boolean {
  switch (keep.kind) {
    case "tokens":
      return sizeOf(kept) <= keep.most;
    case "messages":
      return kept.length <= keep.most;
    case "last-exchange":
      return kept[0]?.role === "user" && kept.filter(({ role }) => role === "user").length === 1;
  }
}
