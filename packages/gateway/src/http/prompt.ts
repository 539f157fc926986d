/** The one message of a run that the messages of a request become. Pure. */
import { invalid } from "./body.ts";

export interface Said {
  readonly role: "system" | "user" | "assistant";
  readonly text: string;
}

/**
 * In a session of the caller's choice what was said before the last reply stands there already; else it is told too. All of it
 * is the caller's own text: `system` instructs as far as a message of theirs can.
 * @throws ProtocolError INVALID_PARAMS when nothing is asked; `param` is where it should have been
 */
export function toPrompt(said: readonly Said[], { isNamed, param }: { readonly isNamed: boolean; readonly param: string }): string {
  const lastReply = said.findLastIndex(({ role }) => role === "assistant");
  const asked = said.filter(({ role }, index) => role === "user" && index > lastReply);
  if (asked.every(({ text }) => text.trim() === "")) throw invalid(param, `Missing user message in \`${param}\`.`);
  const instructions = said.filter(({ role }) => role === "system");
  const before = isNamed ? [] : said.filter(({ role }, index) => role !== "system" && index <= lastReply);
  const question = joinTexts(asked);
  if (instructions.length + before.length === 0) return question;
  const parts = [
    ...(instructions.length === 0 ? [] : [`[Instructions]\n${joinTexts(instructions)}`]),
    ...(before.length === 0 ? [] : [`[Conversation so far]\n${before.map(toLine).join("\n\n")}`]),
    `[Message]\n${question}`,
  ];
  return parts.join("\n\n");
}

function joinTexts(said: readonly Said[]): string {
  return said.map(({ text }) => text).join("\n\n");
}

function toLine({ role, text }: Said): string {
  return `${role === "user" ? "User" : "Assistant"}: ${text}`;
}
