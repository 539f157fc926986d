/** A source's transcript: entries that each name the one before; what the conversation is now is the way back from the last. Pure. */
import { type ContentBlock, isRecord } from "@portreeve/protocol";
import type { TranscriptMessage } from "../store/store.ts";
import type { Transcript } from "./source.ts";

const maxTextChars = 1_000_000;
const maxMessages = 50_000;

type Entry = Readonly<Record<string, unknown>>;

export function toTranscript(entries: readonly unknown[]): Transcript {
  const records = entries.filter(isRecord);
  const said = activeBranch(records).filter((entry) => entry["type"] === "message");
  const calls = new Set<string>();
  const notes = new Map<string, number>();
  const note = (what: string): undefined => void notes.set(what, (notes.get(what) ?? 0) + 1);
  const messages = said.slice(-maxMessages).flatMap((entry) => {
    const message = toMessage(entry, { calls, note });
    return message === undefined ? [] : [message];
  });
  if (said.length > maxMessages) notes.set("older messages", said.length - maxMessages);
  for (let unread = entries.length - records.length; unread > 0; unread -= 1) note("entries that cannot be read");
  return { messages, notes: [...notes].map(([what, count]) => `without ${count} ${what}`) };
}

/** Entries without a parent that is there stand in their order: not every version links them. */
function activeBranch(entries: readonly Entry[]): readonly Entry[] {
  const linked = entries.filter((entry) => typeof entry["id"] === "string" && "parentId" in entry);
  const byId = new Map(linked.map((entry) => [entry["id"], entry]));
  const last = linked.at(-1);
  if (last === undefined) return entries;
  const branch: Entry[] = [];
  const seen = new Set<Entry>();
  for (let at: Entry | undefined = last; at !== undefined && !seen.has(at); at = byId.get(at["parentId"])) {
    seen.add(at);
    branch.push(at);
  }
  return branch.reverse();
}

interface Reading {
  /** Ids of tool calls so far: a result without its call is refused by every provider. */
  readonly calls: Set<string>;
  /** Counts what does not come along. */
  readonly note: (what: string) => undefined;
}

function toMessage(entry: Entry, reading: Reading): TranscriptMessage | undefined {
  const message = entry["message"];
  if (!isRecord(message)) return reading.note("entries that cannot be read");
  const timestamp = toTime(message["timestamp"]) ?? Date.parse(String(entry["timestamp"]));
  const at = { timestamp: Number.isFinite(timestamp) ? timestamp : 0 };
  switch (message["role"]) {
    case "user":
      return withContent({ role: "user", ...at }, toBlocks(message["content"], reading));
    case "assistant": {
      const [provider, model, stopReason] = ["provider", "model", "stopReason"].map((name) => toWord(message[name]));
      const facts = { ...(provider && { provider }), ...(model && { model }), ...(stopReason && { stopReason }) };
      return withContent({ role: "assistant", ...at, ...facts }, toBlocks(message["content"], reading));
    }
    case "toolResult": {
      const [toolCallId, toolName] = [toWord(message["toolCallId"]), toWord(message["toolName"]) ?? "tool"];
      if (toolCallId === undefined || !reading.calls.delete(toolCallId)) return reading.note("results of tools without their call");
      const text = toBlocks(message["content"], reading).flatMap((block) => (block.type === "text" ? [block.text] : []));
      const result = { type: "toolResult", toolCallId, toolName, text: text.join("\n"), isError: message["isError"] === true } as const;
      return { role: "toolResult", ...at, content: [result] };
    }
    default:
      return reading.note("messages of another kind");
  }
}

function withContent(message: Omit<TranscriptMessage, "content">, content: ContentBlock[]): TranscriptMessage | undefined {
  return content.length === 0 ? undefined : { ...message, content };
}

function toBlocks(content: unknown, reading: Reading): ContentBlock[] {
  if (typeof content === "string") return toText(content, reading);
  return (Array.isArray(content) ? content : []).flatMap((block: unknown) => {
    if (!isRecord(block)) return [];
    if (block["type"] === "text" && typeof block["text"] === "string") return toText(block["text"], reading);
    const [id, name] = [toWord(block["id"]), toWord(block["name"])];
    if (block["type"] === "toolCall" && id !== undefined && name !== undefined) {
      reading.calls.add(id);
      return [{ type: "toolCall", id, name, arguments: block["arguments"] ?? {} } as const];
    }
    reading.note(block["type"] === "thinking" ? "passages of thinking" : block["type"] === "image" ? "images" : "other parts");
    return [];
  });
}

function toText(text: string, reading: Reading): ContentBlock[] {
  if (text.length > maxTextChars) reading.note("ends of very long texts");
  return text === "" ? [] : [{ type: "text", text: text.slice(0, maxTextChars) }];
}

function toWord(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" && value.length <= 512 ? value : undefined;
}

function toTime(value: unknown): number | undefined {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}
