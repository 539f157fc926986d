/** What a method's answer, and its refusal, look like to a model. */
import { createHash } from "node:crypto";
import { errorRules, ProtocolError, type ErrorCode } from "@portreeve/protocol";
import type { ToolContext, ToolResult } from "./tool.ts";

/** A failed call, as a model reads it. `forbidden`: no other arguments help; `error`: others, or a later call, may. */
export interface FailedCall {
  readonly status: "forbidden" | "error";
  readonly code: ErrorCode;
  readonly message: string;
  /** Whether the same call may succeed later without anything being changed. */
  readonly retryable: boolean;
  readonly remedy?: string;
}

/** Refusals that come from a limit or from what the run may do. */
const forbiddenCodes: readonly ErrorCode[] = [
  "SPAWN_DEPTH",
  "SPAWN_CHILDREN",
  "SANDBOX_UNAVAILABLE",
  "BUDGET_SPENT",
  "MISSING_SCOPE",
  "WRONG_CALLER",
  "NOT_ALLOWED",
  "NOT_DESCENDANT",
  "MESSAGE_HOPS",
];

/** Hashed: a call key holds a session key and a provider's id, which may be longer than an idempotency key. */
export function toIdempotencyKey(what: string, { callKey }: Pick<ToolContext, "callKey">): string {
  return `${what}:${createHash("sha256").update(callKey).digest("base64url")}`;
}

/** `value` as JSON for the model, and as it is for whoever watches. */
export function toToolResult(value: object): ToolResult {
  return { text: JSON.stringify(value), details: value };
}

/**
 * The result for a call that rejected. What is not a ProtocolError is told as INTERNAL without its message, which may
 * hold what a model must not read. Throws the signal's reason when the run itself was stopped: no model waits any more.
 */
export function toFailedResult(error: unknown, signal: AbortSignal): ToolResult {
  signal.throwIfAborted();
  return { ...toToolResult(toFailedCall(error)), isError: true };
}

function toFailedCall(error: unknown): FailedCall {
  if (!(error instanceof ProtocolError)) {
    return {
      status: "error",
      code: "INTERNAL",
      message: "The gateway failed unexpectedly.",
      retryable: errorRules.INTERNAL.retryable,
      remedy: "Go on without this call and say that it failed.",
    };
  }
  const { code, message, remedy } = error;
  return {
    status: forbiddenCodes.includes(code) ? "forbidden" : "error",
    code,
    message,
    retryable: errorRules[code].retryable,
    ...(remedy === undefined ? {} : { remedy }),
  };
}
