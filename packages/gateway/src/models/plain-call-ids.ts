/** Ids of tool calls that every provider takes, whichever made them: after a failover another one reads them. Pure. */
import type { ModelMessage } from "./model.ts";

/** Letters, digits, `_` and `-`; an id that comes again in a later turn is another one. The same messages always get the same ids. */
export function withPlainCallIds(messages: readonly ModelMessage[]): readonly ModelMessage[] {
  const taken = new Set<string>();
  /** Of the newest call with that id. */
  const plainOf = new Map<string, string>();
  const toFree = (id: string): string => {
    const plain = toPlain(id);
    let free = plain;
    for (let count = 2; taken.has(free); count += 1) free = `${plain}_${count}`;
    taken.add(free);
    plainOf.set(id, free);
    return free;
  };
  return messages.map((message) => ({
    ...message,
    content: message.content.map((block) => {
      if (block.type === "toolCall") return { ...block, id: toFree(block.id) };
      if (block.type !== "toolResult") return block;
      return { ...block, toolCallId: plainOf.get(block.toolCallId) ?? toPlain(block.toolCallId) };
    }),
  }));
}

function toPlain(id: string): string {
  return id === "" ? "call" : id.replaceAll(/[^a-zA-Z0-9_-]/g, "_");
}
