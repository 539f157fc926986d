/** What clients of OpenAI's API are answered: their errors, their counts of tokens, what was ignored. Pure. */
import { type ErrorCode, errorRules, ProtocolError, type Result, type Usage } from "@portreeve/protocol";
import { toAnswer, type WholeAnswer } from "./answer.ts";

/** A refusal or a failure, in the shape that these clients read. They repeat what failed by themselves, unless told not to. */
export function toOpenAiAnswer(error: ProtocolError): WholeAnswer {
  const { status, body } = toAnswer(error);
  const { error: said } = body as { readonly error: object };
  const headers = errorRules[error.code].retryable ? {} : { "x-should-retry": "false" };
  return { status, headers, body: { error: { ...said, ...toOpenAiError(error) } } };
}

export function toOpenAiError({ code, message, details }: ProtocolError): object {
  const param = details["param"];
  const isUnknown = code === "UNKNOWN_AGENT_ID";
  return { message, type: typeOf(code), param: typeof param === "string" ? param : null, code: isUnknown ? "model_not_found" : code };
}

function typeOf(code: ErrorCode): string {
  if (code === "WRONG_CALLER" || errorRules[code].wire === "FORBIDDEN") return "forbidden";
  return errorRules[code].wire === "INVALID_REQUEST" ? "invalid_request_error" : "api_error";
}

/** What of a request had no effect. */
export function saidIgnored(ignored: readonly string[]): Readonly<Record<string, string>> {
  return ignored.length === 0 ? {} : { "x-portreeve-ignored": ignored.join(", ") };
}

/** The session of the answer, to go on in; left out where a header cannot carry it. */
export function saidSession(sessionKey: string): Readonly<Record<string, string>> {
  return /^[\x21-\x7e]+$/.test(sessionKey) ? { "x-openclaw-session-key": sessionKey } : {};
}

/** All that went into the model, cached or not, is its prompt. */
export function countTokens({ input, output, cacheRead = 0, cacheWrite = 0 }: Usage) {
  const prompt = input + cacheRead + cacheWrite;
  return { prompt, cached: cacheRead, completion: output, total: prompt + output };
}

/** @throws ProtocolError RUN_FAILED for a run that was stopped before it could answer */
export function assertAnswered({ runId, status, summary, result }: Result<"agent">): void {
  if (status === "ok") return;
  const why = result.meta.aborted
    ? "the run was cancelled"
    : status === "timeout"
      ? "the run reached its deadline"
      : `the run ended as ${summary}`;
  throw new ProtocolError("RUN_FAILED", why, { details: { runId, outcome: summary } });
}
