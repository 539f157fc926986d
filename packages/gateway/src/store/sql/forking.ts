/** A child's conversation that begins with its parent's: a copy, as it stands when the child is made. */
import type { ContentBlock } from "@portreeve/protocol";
import type { Ids } from "../../kit/ids.ts";
import type { TranscriptMessage } from "../store.ts";
import { appendMessages, listMessages } from "./messages.ts";
import type { Sql } from "./statement.ts";

export interface Fork {
  readonly fromKey: string;
  readonly toKey: string;
  readonly maxBytes: number;
}

/** Copies the transcript unless it is too large; answers its size. */
export function forkTranscript(
  sql: Sql,
  ids: Ids,
  { fromKey, toKey, maxBytes }: Fork,
  nowMs: number,
): { bytes: number; isForked: boolean } {
  const { messages } = listMessages(sql, fromKey, { limit: Number.MAX_SAFE_INTEGER, offset: 0 });
  const copied = messages.map(({ __openclaw: _place, ...message }): TranscriptMessage => message);
  const bytes = copied.reduce((sum, message) => sum + Buffer.byteLength(JSON.stringify(message)), 0);
  if (bytes > maxBytes) return { bytes, isForked: false };
  appendMessages(sql, toKey, [...copied, ...closeCalls(copied, nowMs)], ids, nowMs);
  return { bytes, isForked: true };
}

/** The running turn goes on without the copy: what it was calling has no result there, and never will. */
function closeCalls(messages: readonly TranscriptMessage[], nowMs: number): readonly TranscriptMessage[] {
  const at = messages.findLastIndex(({ role }) => role !== "toolResult");
  const answered = new Set(
    messages.slice(at + 1).flatMap(({ content }) => content.flatMap((block) => (block.type === "toolResult" ? [block.toolCallId] : []))),
  );
  const open = (messages[at]?.content ?? []).filter((block) => block.type === "toolCall" && !answered.has(block.id));
  const text = "(This call had no result yet when the sub-agent was started from here.)";
  return open.flatMap((block): TranscriptMessage[] => {
    if (block.type !== "toolCall") return [];
    const result: ContentBlock = { type: "toolResult", toolCallId: block.id, toolName: block.name, text, isError: true };
    return [{ role: "toolResult", content: [result], timestamp: nowMs }];
  });
}
