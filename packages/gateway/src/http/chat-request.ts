/** The body of `POST /v1/chat/completions`, and what is said in it. Pure. */
import { z } from "zod";
import { invalid, notSupported, type BodyShape } from "./body.ts";
import type { Said } from "./prompt.ts";

const part = z.looseObject({ type: z.string(), text: z.string().optional() });
const message = z.strictObject({
  role: z.enum(["system", "developer", "user", "assistant", "tool", "function"]),
  content: z.union([z.string(), z.array(part)]).nullish(),
  name: z.string().optional(),
  refusal: z.string().nullish(),
  tool_calls: z.array(z.unknown()).nullish(),
  function_call: z.unknown().optional(),
  tool_call_id: z.string().nullish(),
  // What an answer of the API carries and a caller sends back: there as long as nothing is in it.
  audio: z.null().optional(),
  annotations: z.array(z.never()).nullish(),
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

/** @throws ProtocolError INVALID_PARAMS, NOT_SUPPORTED */
export function readMessages({ messages }: ChatRequest): readonly Said[] {
  return messages.map((one, index) => ({ role: toRole(one.role), text: readText(one, `messages[${index}]`) }));
}

function toRole(role: ChatMessage["role"]): Said["role"] {
  return role === "user" || role === "assistant" ? role : "system";
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
