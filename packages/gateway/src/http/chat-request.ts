/** The body of `POST /v1/chat/completions`, and the one message of a run that its messages become. Pure. */
import { z } from "zod";
import { invalid, notSupported, type BodyShape } from "./body.ts";

const part = z.looseObject({ type: z.string(), text: z.string().optional() });
const message = z.strictObject({
  role: z.enum(["system", "developer", "user", "assistant", "tool", "function"]),
  content: z.union([z.string(), z.array(part)]).nullish(),
  name: z.string().optional(),
  refusal: z.string().nullish(),
  tool_calls: z.array(z.unknown()).nullish(),
  function_call: z.unknown().optional(),
  tool_call_id: z.string().nullish(),
});

const fields = z.strictObject({
  model: z.string().min(1),
  messages: z.array(message).max(10_000),
  stream: z.boolean().nullish(),
  stream_options: z.strictObject({ include_usage: z.boolean().nullish(), include_obfuscation: z.boolean().nullish() }).nullish(),
  n: z.literal(1).nullish(),
  user: z.string().max(512).nullish(),
  session_id: z.string().max(512).nullish(),
  response_format: z.strictObject({ type: z.literal("text") }).nullish(),
  modalities: z.array(z.literal("text")).nullish(),
  tool_choice: z.enum(["none", "auto"]).nullish(),
});

export type ChatRequest = z.output<typeof fields>;
type ChatMessage = z.output<typeof message>;

export const chatShape = {
  fields,
  ignored: [
    "frequency_penalty",
    "logit_bias",
    "max_completion_tokens",
    "max_tokens",
    "metadata",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_retention",
    "reasoning_effort",
    "safety_identifier",
    "seed",
    "service_tier",
    "store",
    "temperature",
    "top_p",
    "verbosity",
  ],
  unsupported: ["audio", "function_call", "functions", "logprobs", "stop", "tools", "top_logprobs", "web_search_options"],
} as const satisfies BodyShape<typeof fields>;

/**
 * What the agent is told. In a session of the caller's choice what was said before the last reply stands there already; else
 * it is told too. All of it is the caller's own text: `system` instructs as far as a message of theirs can.
 * @throws ProtocolError INVALID_PARAMS, NOT_SUPPORTED
 */
export function toPrompt(messages: readonly ChatMessage[], isNamedSession: boolean): string {
  const said = messages.map((one, index) => ({ role: toRole(one.role), text: readText(one, `messages[${index}]`) }));
  const lastReply = said.findLastIndex(({ role }) => role === "assistant");
  const isNew = (index: number): boolean => index > lastReply;
  const asked = said.filter(({ role }, index) => role === "user" && isNew(index));
  if (asked.every(({ text }) => text.trim() === "")) throw invalid("messages", "Missing user message in `messages`.");
  const instructions = said.filter(({ role }) => role === "system");
  const before = isNamedSession ? [] : said.filter(({ role }, index) => role !== "system" && !isNew(index));
  const question = joinTexts(asked);
  if (instructions.length + before.length === 0) return question;
  const parts = [
    ...(instructions.length === 0 ? [] : [`[Instructions]\n${joinTexts(instructions)}`]),
    ...(before.length === 0 ? [] : [`[Conversation so far]\n${before.map(toLine).join("\n\n")}`]),
    `[Message]\n${question}`,
  ];
  return parts.join("\n\n");
}

type Role = "system" | "user" | "assistant" | "tool";

function toRole(role: ChatMessage["role"]): Role {
  if (role === "developer") return "system";
  return role === "function" ? "tool" : role;
}

function readText({ role, content, tool_calls: toolCalls, function_call: functionCall }: ChatMessage, at: string): string {
  // What a caller's own tools were called with and answered: the agent has tools of its own.
  if (role === "tool" || role === "function") throw notSupported(`${at}.role '${role}'`);
  if ((toolCalls?.length ?? 0) > 0) throw notSupported(`${at}.tool_calls`);
  if (functionCall !== undefined && functionCall !== null) throw notSupported(`${at}.function_call`);
  if (content === null || content === undefined) return "";
  if (typeof content === "string") return content;
  return content.map(({ type, text }, index) => readPart(type, text, `${at}.content[${index}]`)).join("\n");
}

function readPart(type: string, text: string | undefined, at: string): string {
  if (type !== "text") throw notSupported(`${at}.${type.slice(0, 100)}`);
  if (text === undefined) throw invalid(`${at}.text`, `Missing required parameter: '${at}.text'.`);
  return text;
}

function joinTexts(said: readonly { readonly text: string }[]): string {
  return said.map(({ text }) => text).join("\n\n");
}

function toLine({ role, text }: { readonly role: Role; readonly text: string }): string {
  return `${role === "user" ? "User" : "Assistant"}: ${text}`;
}
