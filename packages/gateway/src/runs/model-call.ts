/** One call of a model, gathered into a reply while whoever watches is told. */
import { type ContentBlock, limits, nestsDeeperThan, silenceOf, type Usage } from "@portreeve/protocol";
import type { Model, ModelError, ModelRequest, ToolCall } from "../models/model.ts";
import type { CallCost } from "../models/price.ts";
import type { JournalEntry } from "../store/journal.ts";
import type { TranscriptMessage } from "../store/store.ts";
import { textOf } from "./machine.ts";

export interface Reply {
  readonly content: readonly ContentBlock[];
  readonly reason: "stop" | "tool-calls" | "length" | "content-filter";
  readonly usage: Usage;
  /** Arguments as they came, by the id of the call, where `content` has other ones: for this process alone. */
  readonly withheld: ReadonlyMap<string, unknown>;
}

/** A call's arguments as they may be written down and told. */
export type Redact = (call: ToolCall) => unknown;

export interface ReplyWatcher {
  text(delta: string): void;
  /** Anything came: text, a part of a tool call, thought that is not shown. */
  sign(): void;
}

/** Resolves when the stream has ended well. @throws ModelError, or the reason of the request's signal. */
export async function gatherReply(model: Model, request: ModelRequest, watcher: ReplyWatcher, redact: Redact): Promise<Reply> {
  const withheld = new Map<string, unknown>();
  const content: ContentBlock[] = [];
  for await (const event of model.stream(request)) {
    request.signal.throwIfAborted();
    watcher.sign();
    if (event.type === "text") {
      addText(content, event.delta);
      watcher.text(event.delta);
    } else if (event.type === "tool-call") {
      const call = readable(event.call);
      const { id, name } = call;
      const args = redact(call);
      if (args !== call.arguments) withheld.set(id, call.arguments);
      content.push({ type: "toolCall", id, name, arguments: args });
    } else if (event.type === "finish") {
      return { content, reason: event.reason, usage: event.usage, withheld };
    }
  }
  throw new Error(`the model ${model.provider}/${model.name} ended its stream without an end`);
}

/** Arguments that nobody could write down are none: the tool refuses the text in their place. */
function readable(call: ToolCall): ToolCall {
  const { jsonLevels } = limits;
  return nestsDeeperThan(call.arguments, jsonLevels)
    ? { ...call, arguments: `(left out: it nested deeper than ${jsonLevels} levels)` }
    : call;
}

/** What the transcript keeps of a reply: a silence is a fact about it, not text that anybody could be shown. */
export function toSaid(content: readonly ContentBlock[]): Pick<TranscriptMessage, "content" | "silence"> {
  const silence = content.every(({ type }) => type === "text") ? silenceOf(textOf(content)) : undefined;
  return silence === undefined ? { content: [...content] } : { content: [], silence };
}

/** A failed call as the journal has it. */
export function toErrorEntry(
  { kind: errorKind, message, retryable, retryAfterMs, usage }: ModelError,
  facts: { readonly model: string; readonly retryAtMs: number; readonly partial: string },
  costOf: (usage: Usage) => CallCost | undefined,
): JournalEntry {
  const charged = usage === undefined ? {} : { usage, cost: costOf(usage) };
  const asked = retryAfterMs === undefined ? {} : { retryAfterMs };
  return { kind: "model-error", errorKind, message, retryable, ...asked, ...facts, ...charged };
}

/** Consecutive text becomes one block. */
function addText(content: ContentBlock[], delta: string): void {
  const last = content.at(-1);
  if (last?.type === "text") last.text += delta;
  else content.push({ type: "text", text: delta });
}
