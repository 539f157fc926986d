/** The body of `POST /v1/responses`, and what is said in it. Pure. */
import { z } from "zod";
import { invalid, notSupported, type BodyShape } from "./body.ts";
import type { Said } from "./prompt.ts";

const part = z.looseObject({ type: z.string(), text: z.string().optional() });
const item = z.looseObject({
  type: z.string().optional(),
  role: z.enum(["system", "developer", "user", "assistant"]).optional(),
  content: z.union([z.string(), z.array(part)]).optional(),
});

const fields = z.strictObject({
  model: z.string().min(1),
  input: z.union([z.string(), z.array(item).max(10_000)]),
  instructions: z.string().nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.strictObject({ include_obfuscation: z.boolean().nullish() }).nullish(),
  user: z.string().max(512).nullish(),
  session_id: z.string().max(512).nullish(),
  text: z.strictObject({ format: z.strictObject({ type: z.literal("text") }).nullish(), verbosity: z.string().nullish() }).nullish(),
  tool_choice: z.enum(["none", "auto"]).nullish(),
});

export type ResponsesRequest = z.output<typeof fields>;

export const responsesShape = {
  fields,
  ignored: [
    "include",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "parallel_tool_calls",
    "prompt_cache_key",
    "prompt_cache_retention",
    "reasoning",
    "safety_identifier",
    "service_tier",
    "store",
    "temperature",
    "top_p",
    "truncation",
  ],
  unsupported: ["background", "conversation", "previous_response_id", "prompt", "tools", "top_logprobs"],
} as const satisfies BodyShape<typeof fields>;

/** @throws ProtocolError INVALID_PARAMS, NOT_SUPPORTED */
export function readInput({ instructions, input }: ResponsesRequest): readonly Said[] {
  const said: readonly Said[] = typeof input === "string" ? [{ role: "user", text: input }] : input.map(readItem);
  return instructions ? [{ role: "system", text: instructions }, ...said] : said;
}

function readItem({ type = "message", role, content }: z.output<typeof item>, index: number): Said {
  const at = `input[${index}]`;
  // Calls of a caller's own tools, their results, references to what it stored: the agent has none of them.
  if (type !== "message") throw notSupported(`${at}.type '${type.slice(0, 100)}'`);
  if (role === undefined) throw invalid(`${at}.role`, `Missing required parameter: '${at}.role'.`);
  const parts = typeof content === "string" ? [content] : (content ?? []).map((one, part) => readPart(one, `${at}.content[${part}]`));
  return { role: role === "user" || role === "assistant" ? role : "system", text: parts.join("\n") };
}

function readPart({ type, text }: z.output<typeof part>, at: string): string {
  if (type !== "input_text" && type !== "output_text" && type !== "text") throw notSupported(`${at}.${type.slice(0, 100)}`);
  if (text === undefined) throw invalid(`${at}.text`, `Missing required parameter: '${at}.text'.`);
  return text;
}
