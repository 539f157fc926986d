/** What HTTP answers: results, and refusals in the words that clients of the reference's HTTP know. Pure, but for `send`. */
import type { ServerResponse } from "node:http";
import { errorRules, toErrorBody, toWireCode, type ProtocolError } from "@portreeve/protocol";
import type { EventsAnswer } from "./event-stream.ts";

export interface WholeAnswer {
  readonly status: number;
  readonly body: object | string;
  readonly headers?: Readonly<Record<string, string>>;
}

export type Answer = WholeAnswer | EventsAnswer;

export function unauthorized(error?: ProtocolError): WholeAnswer {
  const hint = error?.remedy === undefined ? {} : { remediationHint: error.remedy };
  return {
    status: 401,
    body: { error: { message: "Unauthorized", type: "unauthorized", ...hint } },
    headers: { "www-authenticate": 'Bearer realm="portreeve"' },
  };
}

export function rateLimited({ message, remedy, retryAfterMs = 0 }: ProtocolError): WholeAnswer {
  return {
    status: 429,
    body: { error: { message, type: "rate_limited", retryAfterMs, remediationHint: remedy } },
    headers: { "retry-after": String(Math.ceil(retryAfterMs / 1_000)) },
  };
}

export function refused(status: number, type: string, message: string, remediationHint: string): WholeAnswer {
  return { status, body: { error: { type, message, remediationHint } } };
}

/** What dispatch said no with. */
export function toAnswer(error: ProtocolError): WholeAnswer {
  const { details, message } = toErrorBody(error, 4);
  const missing = error.code === "MISSING_SCOPE" ? error.details["missingScope"] : undefined;
  const hint =
    missing === undefined
      ? {}
      : {
          remediationHint: `On the gateway's machine make a bearer that has it: ./portreeve devices token NAME --scopes ${String(missing)}`,
        };
  const { status, type } = kindOf(error);
  return { status, body: { ok: false, error: { type, message, details: { ...(details as object), ...hint } } } };
}

function kindOf({ code }: ProtocolError): { readonly status: number; readonly type: string } {
  if (code === "UNKNOWN_AGENT_ID" || code === "UNKNOWN_SESSION" || code === "UNKNOWN_RUN" || code === "UNKNOWN_TOOL")
    return { status: 404, type: "not_found" };
  if (code === "WRONG_CALLER") return { status: 403, type: "forbidden" };
  switch (toWireCode(code, 4)) {
    case "FORBIDDEN":
    case "NOT_PAIRED":
      return { status: 403, type: "forbidden" };
    case "INVALID_REQUEST":
      return { status: 400, type: "invalid_request_error" };
    case "UNAVAILABLE":
      return { status: errorRules[code].retryable ? 503 : 500, type: "api_error" };
  }
}

export function send(response: ServerResponse, { status, body, headers }: WholeAnswer): void {
  const bytes = Buffer.from(typeof body === "string" ? body : JSON.stringify(body), "utf8");
  response.writeHead(status, {
    "content-type": typeof body === "string" ? "text/plain; charset=utf-8" : "application/json; charset=utf-8",
    "content-length": bytes.length,
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    ...headers,
  });
  response.end(bytes);
}
