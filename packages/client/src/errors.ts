/** What goes wrong on a connection: the gateway's refusal (RemoteError), or no answer at all (ConnectionError). */
import { errorRules, isRecord, ProtocolError, type ErrorBody, type ErrorCode } from "@portreeve/protocol/wire";

export interface Close {
  readonly code: number;
  readonly reason: string;
}

/** The gateway answered with an error. `code` is ours; `wireCode` and `details` are as they came. */
export class RemoteError extends ProtocolError {
  readonly wireCode: string;
  readonly retryable: boolean;
  /** How the socket closed, when the refusal ended a handshake. */
  readonly close: Close | undefined;
  /** Of the handshake that was refused, for a person to compare with what the gateway shows for the request. */
  readonly words: string | undefined;

  constructor(body: ErrorBody, close?: Close, words?: string) {
    const details = isRecord(body.details) ? body.details : {};
    const remedy = details["remediationHint"];
    super(toErrorCode(body, details["code"]), body.message, {
      details,
      ...(typeof remedy === "string" ? { remedy } : {}),
      ...(body.retryAfterMs === undefined ? {} : { retryAfterMs: body.retryAfterMs }),
    });
    this.wireCode = body.code;
    this.retryable = body.retryable === true;
    this.close = close;
    this.words = words;
  }
}

/**
 * - `unreachable`: no WebSocket at the address
 * - `untrusted`: a certificate that this machine does not trust, and none is pinned; nothing was sent to it
 * - `timeout`: the gateway did not finish the handshake in time
 * - `closed`: the connection ended without an answer
 * - `unproved`: the gateway's proof of its key does not hold; nothing was sent to it
 * - `key-changed`: another key, or none, where one is pinned; nothing was sent to it
 */
export type ConnectionErrorKind = "unreachable" | "untrusted" | "timeout" | "closed" | "unproved" | "key-changed";

/** There was no answer. In phase `calling` the request may have taken effect; in phase `connecting` it was never sent. */
export class ConnectionError extends Error {
  override readonly name = "ConnectionError";
  readonly kind: ConnectionErrorKind;
  readonly phase: "connecting" | "calling";
  readonly url: string;
  readonly close: Close | undefined;

  constructor(
    kind: ConnectionErrorKind,
    message: string,
    at: { phase: "connecting" | "calling"; url: string; close?: Close | undefined; cause?: unknown },
  ) {
    super(message, at.cause === undefined ? undefined : { cause: at.cause });
    this.kind = kind;
    this.phase = at.phase;
    this.url = at.url;
    this.close = at.close;
  }
}

/** Whether trying the same connect again may help. A refusal of who we are or what we ask for is final. Pure. */
export function mayReconnectAfter(error: unknown): boolean {
  if (error instanceof RemoteError) return error.retryable || error.wireCode === "UNAVAILABLE";
  return error instanceof ConnectionError && !["untrusted", "unproved", "key-changed"].includes(error.kind);
}

/** Whether an open connection that ended so may be opened again: not after `device removed` or a protocol mismatch. Pure. */
export function mayReconnectAfterClose(close: Close): boolean {
  return close.code !== 4001 && close.code !== 1002;
}

/** Texts by which gateways without stable codes say what is wrong. */
const codeByMessage: readonly (readonly [RegExp, ErrorCode])[] = [
  [/^missing scope: /, "MISSING_SCOPE"],
  [/^unknown method: /, "UNKNOWN_METHOD"],
  [/^unauthorized role: /, "WRONG_CALLER"],
  [/^protocol mismatch/, "PROTOCOL_MISMATCH"],
  [/^unknown requestId/, "UNKNOWN_REQUEST"],
  [/^invalid request frame/, "INVALID_FRAME"],
];

/** When even the text says nothing: the closest meaning of the closed set of wire codes. */
const codeByWireCode: Readonly<Record<string, ErrorCode>> = {
  INVALID_REQUEST: "INVALID_PARAMS",
  NOT_PAIRED: "PAIRING_REQUIRED",
  FORBIDDEN: "WRONG_CALLER",
  UNAVAILABLE: "STORE_UNAVAILABLE",
};

function toErrorCode(body: ErrorBody, stated: unknown): ErrorCode {
  if (typeof stated === "string" && isErrorCode(stated)) return stated;
  const told = codeByMessage.find(([text]) => text.test(body.message))?.[1];
  return told ?? (Object.hasOwn(codeByWireCode, body.code) ? codeByWireCode[body.code] : undefined) ?? "INTERNAL";
}

function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(errorRules, code);
}
