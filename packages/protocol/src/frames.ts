/** Frames: one JSON object per WebSocket text message. Parsing is pure and never throws. */
import type { ErrorBody } from "./errors.ts";
import { limits } from "./limits.ts";

export interface RequestFrame {
  readonly type: "req";
  readonly id: string;
  readonly method: string;
  readonly params: unknown;
}

export interface ResponseFrame {
  readonly type: "res";
  readonly id: string;
  readonly ok: boolean;
  readonly payload?: unknown;
  readonly error?: ErrorBody;
}

export interface EventFrame {
  readonly type: "event";
  readonly event: string;
  readonly payload?: unknown;
  readonly seq?: number;
  readonly stateVersion?: { readonly presence: number; readonly health: number };
}

export type ParsedFrame<F> =
  | { readonly kind: "frame"; readonly frame: F }
  /** JSON, but no frame of this kind: answered under `id` ("invalid" when the frame named none, or one too long). */
  | { readonly kind: "invalid"; readonly id: string; readonly message: string }
  | { readonly kind: "not-json" };

// `traceparent` and `expectedProfileId` belong to version 4; both versions may send them here, neither is acted on.
const requestKeys = new Set(["type", "id", "method", "params", "traceparent", "expectedProfileId"]);

/** What a client sent: a request, or why it is none. Absent `params` become `{}`. */
export function parseFrame(text: string): ParsedFrame<RequestFrame> {
  const json = parseJson(text);
  if (json === undefined) return { kind: "not-json" };
  if (!isRecord(json)) return invalidFrame("invalid", "must be object");
  const id = isRequestId(json["id"]) ? json["id"] : undefined;
  const refuse = (why: string): ParsedFrame<RequestFrame> => invalidFrame(id ?? "invalid", why);

  if (json["type"] !== "req") return refuse('at /type: must be equal to constant "req"');
  if (id === undefined) return refuse(`at /id: must be a string of 1 to ${limits.requestIdChars} characters`);
  const method = json["method"];
  if (typeof method !== "string" || method === "") return refuse("at /method: must be a non-empty string");
  for (const key of ["traceparent", "expectedProfileId"]) {
    const value = json[key];
    if (value !== undefined && (typeof value !== "string" || value.length > 128))
      return refuse(`at /${key}: must be a string of at most 128 characters`);
  }
  const extra = Object.keys(json).find((key) => !requestKeys.has(key));
  if (extra !== undefined) return refuse(`at root: unexpected property '${extra}'`);

  return { kind: "frame", frame: { type: "req", id, method, params: json["params"] ?? {} } };
}

/** What a gateway sent: a response or an event, or why it is neither. Unknown keys are ignored: additions are legal. */
export function parseServerFrame(text: string): ParsedFrame<ResponseFrame | EventFrame> {
  const json = parseJson(text);
  if (json === undefined) return { kind: "not-json" };
  if (!isRecord(json)) return invalidFrame("invalid", "must be object");
  if (json["type"] === "event" && typeof json["event"] === "string") {
    const seq = json["seq"];
    return {
      kind: "frame",
      frame: { type: "event", event: json["event"], payload: json["payload"], ...(typeof seq === "number" ? { seq } : {}) },
    };
  }
  if (json["type"] === "res" && typeof json["id"] === "string" && typeof json["ok"] === "boolean") {
    const error = toError(json["error"]);
    return {
      kind: "frame",
      frame: { type: "res", id: json["id"], ok: json["ok"], payload: json["payload"], ...(error === undefined ? {} : { error }) },
    };
  }
  return invalidFrame("invalid", "must be a response or an event");
}

function isRequestId(value: unknown): value is string {
  return typeof value === "string" && value !== "" && value.length <= limits.requestIdChars;
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function invalidFrame(id: string, why: string): { kind: "invalid"; id: string; message: string } {
  return { kind: "invalid", id, message: `invalid request frame: ${why}` };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function toError(value: unknown): ErrorBody | undefined {
  if (!isRecord(value)) return undefined;
  const { code, message, details, retryable, retryAfterMs } = value;
  return {
    code: typeof code === "string" ? code : "UNAVAILABLE",
    message: typeof message === "string" ? message : "unknown error",
    ...(details === undefined ? {} : { details }),
    ...(typeof retryable === "boolean" ? { retryable } : {}),
    ...(typeof retryAfterMs === "number" ? { retryAfterMs } : {}),
  };
}
