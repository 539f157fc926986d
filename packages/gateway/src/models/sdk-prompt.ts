/** What a request says, as a prompt of the AI SDK in a form that every provider accepts. Pure. */
import type { LanguageModelV4Message, LanguageModelV4Prompt } from "@ai-sdk/provider";
import type { ModelMessage, ModelRequest } from "./model.ts";

export function toPrompt({ system, messages }: Pick<ModelRequest, "system" | "messages">): LanguageModelV4Prompt {
  const said = groupResults(messages)
    .map(toPromptMessage)
    // Providers refuse a message without content.
    .filter((message) => message.content.length > 0);
  return system === "" ? said : [{ role: "system", content: system.toWellFormed() }, ...said];
}

/** Results that follow each other are one message, in the order of their calls: Gemini refuses a reply's results one by one. */
function groupResults(messages: readonly ModelMessage[]): readonly ModelMessage[] {
  const grouped: ModelMessage[] = [];
  let order: readonly string[] = [];
  for (const message of messages) {
    const last = grouped.at(-1);
    if (message.role === "assistant") order = message.content.flatMap((block) => (block.type === "toolCall" ? [block.id] : []));
    if (message.role !== "toolResult" || last?.role !== "toolResult") {
      grouped.push(message);
      continue;
    }
    const content = [...last.content, ...message.content].toSorted((a, b) => placeOf(a, order) - placeOf(b, order));
    grouped[grouped.length - 1] = { role: "toolResult", content };
  }
  return grouped;
}

function placeOf(block: ModelMessage["content"][number], order: readonly string[]): number {
  return block.type === "toolResult" ? order.indexOf(block.toolCallId) : -1;
}

function toPromptMessage(message: ModelMessage): LanguageModelV4Message {
  // Anthropic refuses white space alone, and half a character anywhere.
  const texts = message.content.flatMap((block) =>
    block.type === "text" && block.text.trim() !== "" ? [{ type: "text" as const, text: block.text.toWellFormed() }] : [],
  );
  if (message.role === "user") return { role: "user", content: texts };
  if (message.role === "assistant") {
    const calls = message.content.flatMap((block) =>
      block.type === "toolCall"
        ? [{ type: "tool-call" as const, toolCallId: block.id, toolName: block.name, input: toInputObject(block.arguments) }]
        : [],
    );
    return { role: "assistant", content: [...texts, ...calls] };
  }
  const results = message.content.flatMap((block) => {
    if (block.type !== "toolResult") return [];
    const output = { type: block.isError ? ("error-text" as const) : ("text" as const), value: block.text.toWellFormed() };
    return [{ type: "tool-result" as const, toolCallId: block.toolCallId, toolName: block.toolName, output }];
  });
  return { role: "tool", content: results };
}

/** Providers accept nothing but an object here, so arguments that were not one are quoted back inside one. */
function toInputObject(args: unknown): object {
  const wellFormed = toWellFormed(args);
  return isRecord(wellFormed) ? wellFormed : { invalid: wellFormed ?? null };
}

function toWellFormed(value: unknown): unknown {
  if (typeof value === "string") return value.toWellFormed();
  if (Array.isArray(value)) return value.map(toWellFormed);
  if (!isRecord(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key.toWellFormed(), toWellFormed(one)]));
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
