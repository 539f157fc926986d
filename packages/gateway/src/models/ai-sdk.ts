/**
 * One adapter for every provider family: our request to a language model call of the AI SDK, its stream parts to our
 * events, its failures to ModelErrors. A call is exactly one HTTP exchange; nothing here retries.
 */
import type { LanguageModelV4, LanguageModelV4CallOptions, LanguageModelV4Prompt, LanguageModelV4StreamPart } from "@ai-sdk/provider";
import type { ThinkingLevel, Usage } from "@portreeve/protocol";
import type { Clock } from "../kit/clock.ts";
import type { Secret } from "../kit/secret.ts";
import { ModelError, type Model, type ModelEvent, type ModelRequest, type ToolCall, type ToolSpec } from "./model.ts";
import { withPlainCallIds } from "./plain-call-ids.ts";
import { toModelError } from "./provider-error.ts";
import { toPrompt } from "./sdk-prompt.ts";

/** How a provider is reached, and how errors speak of it. */
export interface ProviderAccess {
  /** Its key in the configuration. */
  readonly provider: string;
  readonly baseUrl: string;
  readonly apiKey: Secret | undefined;
  /** Where a person sets the key, for errors. */
  readonly keyPlace: string;
  readonly clock: Clock;
}

export interface KeyedAccess extends ProviderAccess {
  readonly apiKey: Secret;
}

export interface AiSdkOptions {
  /** Go with every call. */
  readonly providerOptions?: NonNullable<LanguageModelV4CallOptions["providerOptions"]>;
  /** Ids of tool calls are letters, digits, `_` and `-`, each once in a request, whoever made them. */
  readonly hasPlainCallIds?: boolean;
  /** How hard a request lets the model think and how long its reply may be, where the package cannot be told as it stands. */
  readonly toBounds?: (request: ModelRequest) => Promise<Bounds> | Bounds;
  readonly problemWithThinking: (level: ThinkingLevel) => Promise<string | undefined>;
}

export type Bounds = Pick<LanguageModelV4CallOptions, "reasoning" | "maxOutputTokens" | "providerOptions">;

/** A model of the AI SDK as one of ours. */
export function createAiSdkModel(
  languageModel: LanguageModelV4,
  access: ProviderAccess,
  { providerOptions, hasPlainCallIds = false, toBounds = toPlainBounds, problemWithThinking }: AiSdkOptions,
): Model {
  const options = providerOptions === undefined ? {} : { providerOptions };
  const name = languageModel.modelId;
  const stream = (request: ModelRequest) => streamCall(languageModel, request, { access, options, hasPlainCallIds, toBounds, name });
  return { provider: access.provider, name, stream, problemWithThinking };
}

/**
 * What a model says to `level`, from its package alone: `dryModel` is the same model over `fetchNothing`. Packages take
 * the nearest level they know and only warn, so a warning is a no.
 */
export async function askAboutThinking(dryModel: LanguageModelV4, level: ThinkingLevel): Promise<string | undefined> {
  const prompt: LanguageModelV4Prompt = [{ role: "user", content: [{ type: "text", text: "." }] }];
  const { stream } = await dryModel.doStream({ prompt, reasoning: toReasoning(level) });
  for await (const part of stream) {
    if (part.type === "stream-start") return warningAboutThinking(part.warnings);
  }
  return undefined;
}

/** Answers every request with nothing at all, without a network. */
export function fetchNothing(): Promise<Response> {
  return Promise.resolve(new Response(": nothing\n\n", { headers: { "content-type": "text/event-stream" } }));
}

interface CallContext {
  readonly access: ProviderAccess;
  readonly options: Pick<LanguageModelV4CallOptions, "providerOptions">;
  readonly hasPlainCallIds: boolean;
  readonly toBounds: NonNullable<AiSdkOptions["toBounds"]>;
  readonly name: string;
}

async function* streamCall(
  languageModel: LanguageModelV4,
  request: ModelRequest,
  { access, options, hasPlainCallIds, toBounds, name }: CallContext,
): AsyncGenerator<ModelEvent> {
  const call = new AbortController();
  const stop = (): void => call.abort(request.signal.reason);
  request.signal.addEventListener("abort", stop, { once: true });
  const reading = { isOver: false };
  try {
    request.signal.throwIfAborted();
    const { stream, response } = await languageModel.doStream({
      ...options,
      prompt: toPrompt(hasPlainCallIds ? { ...request, messages: withPlainCallIds(request.messages) } : request),
      ...(request.tools.length === 0 ? {} : { tools: request.tools.map(toFunctionTool) }),
      ...(await toBounds(request)),
      abortSignal: call.signal,
    });
    refusePage(response?.headers?.["content-type"], access);
    yield* toEvents(stream, reading);
  } catch (error) {
    if (request.signal.aborted) throw new ModelError("aborted", "the call was stopped");
    throw toModelError(error, access, name);
  } finally {
    request.signal.removeEventListener("abort", stop);
    // Nothing of it stays open that was not read to its end: a package may go on reading an answer it has thrown away.
    if (!reading.isOver) call.abort("the call is over");
  }
}

/** For packages that take both as they are. */
export function toPlainBounds({ thinking, maxOutputTokens }: Pick<ModelRequest, "thinking" | "maxOutputTokens">): Bounds {
  return {
    ...(maxOutputTokens === undefined ? {} : { maxOutputTokens }),
    ...(thinking === undefined ? {} : { reasoning: toReasoning(thinking) }),
  };
}

/** A log-in, a proxy or a web server answers in a provider's place, and would do so again. */
function refusePage(contentType: string | undefined, { provider, baseUrl }: ProviderAccess): void {
  if (contentType === undefined || !/^text\/html\b/i.test(contentType)) return;
  throw new ModelError(
    "unusable",
    `${provider}: ${baseUrl} answers with a page (text/html), not as a model does; check models.providers.${provider}.baseUrl`,
  );
}

type FinishPart = Extract<LanguageModelV4StreamPart, { type: "finish" }>;

async function* toEvents(stream: ReadableStream<LanguageModelV4StreamPart>, reading: { isOver: boolean }): AsyncGenerator<ModelEvent> {
  let finish: FinishPart | undefined;
  let hasCalls = false;
  try {
    for await (const part of stream) {
      if (part.type === "stream-start") refuseFallback(part.warnings);
      if (part.type === "text-delta" && part.delta !== "") yield { type: "text", delta: part.delta };
      if (part.type === "tool-call") {
        hasCalls = true;
        yield { type: "tool-call", call: toToolCall(part) };
      }
      if (signsOfLife.has(part.type)) yield { type: "progress" };
      if (part.type === "error") throw part.error;
      if (part.type === "finish") finish = part;
    }
    reading.isOver = true;
  } catch (error) {
    // A connection that breaks after the finish reason takes nothing away: the reply is whole.
    if (finish === undefined) throw error;
  }
  yield toFinish(finish, hasCalls);
}

type Warnings = Extract<LanguageModelV4StreamPart, { type: "stream-start" }>["warnings"];

/** A level that was asked for is used or refused: another one would cost, and answer, otherwise than the receipt says. */
function refuseFallback(warnings: Warnings): void {
  const problem = warningAboutThinking(warnings);
  if (problem !== undefined) throw new ModelError("unusable", problem, { isOfRequest: true });
}

function warningAboutThinking(warnings: Warnings): string | undefined {
  const warning = warnings.find((one) => "feature" in one && one.feature === "reasoning");
  return warning === undefined
    ? undefined
    : (("details" in warning ? warning.details : undefined) ?? "the model does not think at this level");
}

function toReasoning(level: ThinkingLevel): NonNullable<LanguageModelV4CallOptions["reasoning"]> {
  return level === "off" ? "none" : level;
}

/** Parts that say that the model is at work, and nothing else that anybody waits for. */
const signsOfLife: ReadonlySet<LanguageModelV4StreamPart["type"]> = new Set([
  "reasoning-start",
  "reasoning-delta",
  "tool-input-start",
  "tool-input-delta",
]);

function toFinish(part: FinishPart | undefined, hasCalls: boolean): ModelEvent {
  const reason = part?.finishReason.unified ?? "interrupted";
  if (part === undefined || reason === "interrupted")
    throw new ModelError("incomplete", "the reply ended without a finish reason", { retryable: true });
  if (reason === "error")
    throw new ModelError("incomplete", `the reply ended with the finish reason ${part.finishReason.raw ?? "error"}`, {
      retryable: true,
      usage: toUsage(part.usage),
    });
  const usage = toUsage(part.usage);
  if (reason === "length" || reason === "content-filter") return { type: "finish", reason, usage };
  // Servers disagree on what a reply with tool calls is called; the calls decide.
  return { type: "finish", reason: hasCalls ? "tool-calls" : "stop", usage };
}

/** More than any model takes; sums of calls stay whole numbers, whatever a provider says. */
const mostTokens = 1_000_000_000;

function toUsage({ inputTokens, outputTokens }: FinishPart["usage"]): Usage {
  const [total, cacheRead, cacheWrite, output] = [
    toCount(inputTokens.total),
    toCount(inputTokens.cacheRead),
    toCount(inputTokens.cacheWrite),
    toCount(outputTokens.total),
  ];
  const cached = cacheRead + cacheWrite;
  return {
    // Some servers count otherwise.
    input: Math.max(0, total - cached),
    output,
    ...(cached === 0 ? {} : { cacheRead, cacheWrite }),
    totalTokens: Math.max(total, cached) + output,
  };
}

function toCount(tokens = 0): number {
  return Math.min(mostTokens, Math.max(0, Math.round(tokens)));
}

function toToolCall(part: Extract<LanguageModelV4StreamPart, { type: "tool-call" }>): ToolCall {
  return { id: part.toolCallId, name: part.toolName, arguments: parseArguments(part.input) };
}

/** A tool without parameters is often called with nothing at all. */
function parseArguments(text: string): unknown {
  if (text.trim() === "") return {};
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function toFunctionTool(tool: ToolSpec): NonNullable<LanguageModelV4CallOptions["tools"]>[number] {
  return { type: "function", name: tool.name, description: tool.description, inputSchema: { ...tool.parameters } };
}
