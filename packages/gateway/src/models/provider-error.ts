/** What went wrong at a provider, as a ModelError: the kind and whether to retry from facts, the message for a person. */
import { z } from "zod";
import { ModelError, type ModelErrorKind } from "./model.ts";
import type { ProviderAccess } from "./ai-sdk.ts";

/**
 * Any failure of a call to `model` as a ModelError. It keeps no cause: the provider's error holds the request, its
 * headers and whatever text the server chose to send back, the key among it.
 */
export function toModelError(error: unknown, access: ProviderAccess, model: string): ModelError {
  // What our own fetch says of an answer, a package may have wrapped.
  const own = withCauses(error).find((one) => one instanceof ModelError);
  if (own !== undefined) return own;
  const facts = readFacts(error);
  const { kind, retryable } = classify(facts);
  return new ModelError(kind, describe(kind, { ...facts, message: redact(facts.message, access) }, access, model), {
    retryable,
    retryAfterMs: readRetryAfter(facts, access.clock.now()),
    httpStatus: facts.status,
    answer: facts.answer === "" ? undefined : cut(redact(facts.answer, access), mostOfAnswer),
  });
}

interface Facts {
  readonly message: string;
  readonly name: string;
  /** 4xx, 5xx or an unfollowed 3xx, also when the status came inside a stream that had begun with 200. */
  readonly status: number | undefined;
  /** The answer had begun when it failed. */
  readonly midStream: boolean;
  readonly headers: Readonly<Record<string, string>>;
  /** The provider's own words for the case: error type, code, body. */
  readonly words: string;
  /** The body as it came. */
  readonly answer: string;
  /** The system's name for a broken connection, such as ECONNREFUSED. */
  readonly networkCode: string | undefined;
  readonly retryable: boolean | undefined;
}

const errorShape = z.object({
  message: z.string().catch(""),
  name: z.string().catch(""),
  statusCode: z.number().optional().catch(undefined),
  isRetryable: z.boolean().optional().catch(undefined),
  responseHeaders: z.record(z.string(), z.string()).catch({}),
  responseBody: z.string().catch(""),
  type: z.string().catch(""),
  code: z.union([z.string(), z.number()]).optional().catch(undefined),
});

function readFacts(error: unknown): Facts {
  const parsed = errorShape.safeParse(error);
  const shape = parsed.success ? parsed.data : errorShape.parse({ message: String(error) });
  const codeAsStatus = Number(shape.code);
  const status = shape.statusCode ?? (codeAsStatus >= 400 && codeAsStatus < 600 ? codeAsStatus : undefined);
  return {
    message: shape.message,
    name: shape.name,
    status: status !== undefined && status >= 300 ? status : undefined,
    midStream: status !== undefined && status < 300,
    headers: shape.responseHeaders,
    words: [shape.type, shape.code ?? "", shape.message, shape.responseBody].join(" ").slice(0, 10_000),
    answer: shape.responseBody,
    networkCode: findNetworkCode(error),
    retryable: shape.isRetryable,
  };
}

const untrusted = /^(CERT|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO|ERR_TLS)_/;
const networkCodes = new RegExp(`^E(?!RR_)[A-Z_]{3,}$|^UND_ERR_|${untrusted.source}`);

function findNetworkCode(error: unknown): string | undefined {
  for (const one of withCauses(error)) {
    if ("code" in one && typeof one.code === "string" && networkCodes.test(one.code)) return one.code;
  }
  return undefined;
}

function* withCauses(error: unknown): Generator<Error> {
  const seen = new Set<unknown>();
  for (let current = error; current instanceof Error && !seen.has(current); current = current.cause) {
    seen.add(current);
    yield current;
  }
}

interface Verdict {
  readonly kind: ModelErrorKind;
  readonly retryable: boolean;
}

const tooLong =
  /context.?(length|window|limit|size)|maximum (context|prompt)|(prompt|input) is too long|too many tokens|token count.{0,40}exceed|exceeds the \w+.{0,30}tokens/i;
const filtered = /content.?filter|content.{0,12}policy|prohibited_content|flagged as|safety (system|filter)/i;
const badKey = /api.?key.{0,20}(not valid|invalid|expired)|(invalid|incorrect).{0,10}api.?key|authentication|permission/i;
const spent = /insufficient.?quota|credit balance|billing/i;
const busy = /overloaded|server_error|api_error|internal|unavailable|timeout/i;

function classify(facts: Facts): Verdict {
  const { status, words } = facts;
  // Without a status, the packages call only a broken connection retryable.
  if (status === undefined && facts.name === "AI_APICallError" && facts.retryable === true) {
    return { kind: "network", retryable: !untrusted.test(facts.networkCode ?? "") };
  }
  if (facts.midStream || /^AI_(InvalidResponseData|JSONParse|TypeValidation)Error$/.test(facts.name))
    return { kind: "incomplete", retryable: true };
  if (status === 401 || status === 403) return { kind: "auth", retryable: false };
  if (status === 402) return { kind: "rate_limit", retryable: false };
  if (status === 404) return { kind: "unusable", retryable: false };
  if (status === 413) return { kind: "context_length", retryable: false };
  if (status === 429) return { kind: "rate_limit", retryable: askedDelayMs(facts.answer) !== undefined || !spent.test(words) };
  if (status === 408 || status === 409 || status === 425 || (status !== undefined && status >= 500))
    return { kind: "overloaded", retryable: true };
  return classifyByWords(facts);
}

/** 400 says nothing by itself, and an error inside a stream may have no status at all. */
function classifyByWords({ status, words, retryable }: Facts): Verdict {
  if (tooLong.test(words)) return { kind: "context_length", retryable: false };
  if (filtered.test(words)) return { kind: "refused", retryable: false };
  if (badKey.test(words)) return { kind: "auth", retryable: false };
  if (status === undefined && /rate.?limit/i.test(words)) return { kind: "rate_limit", retryable: true };
  if (status === undefined && busy.test(words)) return { kind: "overloaded", retryable: true };
  return { kind: "unknown", retryable: retryable ?? false };
}

function describe(kind: ModelErrorKind, facts: Facts, { provider, baseUrl, keyPlace }: ProviderAccess, model: string): string {
  const said = facts.message === "" ? "" : `: ${cut(facts.message)}`;
  const http = facts.status === undefined ? "" : ` (HTTP ${facts.status})`;
  const code = facts.networkCode === undefined ? "" : ` (${facts.networkCode})`;
  if (kind === "network" && facts.midStream) return `${provider}: the connection broke in the middle of the reply${code}`;
  if (kind === "network")
    return `${provider}: ${baseUrl} cannot be reached${code}; check that it runs, and models.providers.${provider}.baseUrl`;
  if (kind === "incomplete") return `${provider}: the reply was not complete${said}`;
  if (kind === "auth") return `${provider} refused the key${http}${said}; check ${keyPlace}`;
  if (kind === "unusable")
    return `${provider} does not know the model "${model}" at ${baseUrl}${http}${said}; check the model's name and the base URL`;
  if (facts.status !== undefined && facts.status < 400)
    return `${provider} answered with a redirect${http}, which is not followed; set models.providers.${provider}.baseUrl to where it leads`;
  return `${provider} answered with an error${http}${said}`;
}

/** Of a body, in the log. */
const mostOfAnswer = 2_000;

/** Only ever after `redact`: half a key is still half a key. */
function cut(text: string, mostChars = 400): string {
  const line = text.replaceAll(/\s+/g, " ").trim();
  return line.length > mostChars ? `${line.slice(0, mostChars).toWellFormed()}…` : line;
}

/** Servers quote the key they refuse. A placeholder of a few characters is no secret, and would tear the text apart. */
function redact(text: string, access: ProviderAccess): string {
  const key = access.apiKey?.reveal() ?? "";
  const written = new Set([key, JSON.stringify(key).slice(1, -1), encodeURIComponent(key)]);
  return key.length < 4 ? text : [...written].reduce((rest, form) => rest.replaceAll(form, "[secret]"), text);
}

/** Whatever a provider says, it stays a number that can be kept. */
const mostRetryAfterMs = 365 * 86_400_000;

function readRetryAfter({ headers, answer }: Facts, nowMs: number): number | undefined {
  const asked = parseRetryAfter(headers, nowMs) ?? askedDelayMs(answer);
  return asked === undefined ? undefined : Math.min(mostRetryAfterMs, asked);
}

/** Milliseconds from `retry-after-ms`, or `retry-after` as seconds or as an HTTP date. */
function parseRetryAfter(headers: Readonly<Record<string, string>>, nowMs: number): number | undefined {
  const exactMs = parseAmount(headers["retry-after-ms"]);
  if (exactMs !== undefined) return Math.ceil(exactMs);
  const text = headers["retry-after"];
  const seconds = parseAmount(text);
  if (seconds !== undefined) return Math.ceil(seconds * 1_000);
  const atMs = Date.parse(text ?? "");
  return Number.isNaN(atMs) ? undefined : Math.max(0, atMs - nowMs);
}

/** Gemini speaks of billing whichever quota it is, and of a delay even when it is the one of a day. */
function askedDelayMs(answer: string): number | undefined {
  const seconds = /"retryDelay":\s*"(\d+(?:\.\d+)?)s"/.exec(answer)?.[1];
  return seconds === undefined || /PerDay/.test(answer) ? undefined : Math.ceil(Number(seconds) * 1_000);
}

function parseAmount(text: string | undefined): number | undefined {
  return text !== undefined && /^\s*\d+(\.\d+)?\s*$/.test(text) ? Number(text) : undefined;
}
