/**
 * The handshake of one connection as a pure machine: challenged → judging → open | closed. What arrives goes in as a
 * value, what is to be done comes out as values; whoever holds the socket does it.
 */
import {
  connectParams,
  describeIssues,
  isRecord,
  limits,
  parseFrame,
  ProtocolError,
  supportedProtocols,
  type ConnectParams,
  type ProtocolVersion,
} from "@portreeve/protocol";
import type { OriginVerdict } from "../http/guard.ts";
import { closeCodeOf } from "./close-reason.ts";

export type Handshake =
  | { readonly state: "challenged"; readonly origin: OriginVerdict }
  /** `queued`: frames that came before the answer, in order. */
  | { readonly state: "judging"; readonly requestId: string; readonly version: ProtocolVersion; readonly queued: readonly string[] }
  | { readonly state: "open" }
  | { readonly state: "closed" };

export type HandshakeInput =
  | { readonly kind: "frame"; readonly text: string }
  | { readonly kind: "timeout" }
  /** More bytes than a socket may send before its hello. */
  | { readonly kind: "oversized" }
  | { readonly kind: "admitted" }
  | { readonly kind: "refused"; readonly error: ProtocolError }
  /** The socket is gone. */
  | { readonly kind: "gone" };

export type HandshakeOutput =
  | { readonly kind: "authenticate"; readonly connect: ConnectParams; readonly role: "operator" | "node" }
  | { readonly kind: "welcome"; readonly requestId: string; readonly version: ProtocolVersion; readonly queued: readonly string[] }
  /** Answer with the error, then close with its reason. */
  | {
      readonly kind: "refuse";
      readonly requestId: string;
      readonly version: ProtocolVersion;
      readonly error: ProtocolError;
      readonly closeCode: number;
    }
  /** Close without an answer. */
  | { readonly kind: "close"; readonly code: number; readonly reason: string };

export interface HandshakeStep {
  readonly next: Handshake;
  readonly output: HandshakeOutput | undefined;
}

type InState<S extends Handshake["state"]> = Extract<Handshake, { state: S }>;
type OfKind<K extends HandshakeInput["kind"]> = Extract<HandshakeInput, { kind: K }>;
type Table = {
  readonly [S in Handshake["state"]]: { readonly [K in HandshakeInput["kind"]]: (state: InState<S>, input: OfKind<K>) => HandshakeStep };
};

const ignore = (state: Handshake): HandshakeStep => ({ next: state, output: undefined });
const end = (): HandshakeStep => ({ next: { state: "closed" }, output: undefined });
const timeOut = (): HandshakeStep => close(1000, "");
const refuseSize = (): HandshakeStep => close(1009, "preauth payload too large");

const table: Table = {
  challenged: { frame: readFirstFrame, timeout: timeOut, oversized: refuseSize, admitted: ignore, refused: ignore, gone: end },
  judging: {
    frame: queueFrame,
    timeout: timeOut,
    oversized: refuseSize,
    admitted: welcome,
    refused: (state, { error }) => refuse(state, error),
    gone: end,
  },
  open: { frame: ignore, timeout: ignore, oversized: ignore, admitted: ignore, refused: ignore, gone: end },
  closed: { frame: ignore, timeout: ignore, oversized: ignore, admitted: ignore, refused: ignore, gone: ignore },
};

export function stepHandshake(state: Handshake, input: HandshakeInput): HandshakeStep {
  // The table has a rule for every pair; the compiler does not see that the two lookups belong to these two values.
  const rule = table[state.state][input.kind] as (state: Handshake, input: HandshakeInput) => HandshakeStep;
  return rule(state, input);
}

function readFirstFrame({ origin }: InState<"challenged">, { text }: OfKind<"frame">): HandshakeStep {
  const parsed = parseFrame(text);
  if (parsed.kind === "not-json") return close(1000, "");
  if (parsed.kind === "invalid") return close(1008, "invalid request frame");
  const { id, method, params } = parsed.frame;
  const refuseAs = (version: ProtocolVersion, error: ProtocolError): HandshakeStep => refuse({ requestId: id, version }, error);

  if (method !== "connect")
    return refuseAs(
      4,
      invalidHandshake(
        "invalid handshake: first request must be connect",
        "Send a connect request first; other requests after its answer.",
      ),
    );
  const range = readRange(params);
  const version = range === undefined ? 4 : chooseVersion(range);
  if (version === undefined) return refuseAs(4, protocolMismatch(range));
  const connect = connectParams.safeParse(params, { reportInput: true });
  if (!connect.success)
    return refuseAs(
      version,
      invalidHandshake(
        `invalid connect params: ${describeIssues(connect.error)}`,
        "Send the connect parameters of protocol 3 or 4 and no others.",
      ),
    );
  const { client, role = "operator" } = connect.data;
  if (role === "worker" || client.mode === "worker" || client.id === "openclaw-worker") return close(1008, "invalid-handshake");
  if (role !== "operator" && role !== "node")
    return refuseAs(version, invalidHandshake("invalid role", "Connect with the role operator or node."));
  if (origin === "foreign") return refuseAs(version, foreignOrigin());

  return { next: { state: "judging", requestId: id, version, queued: [] }, output: { kind: "authenticate", connect: connect.data, role } };
}

function queueFrame(state: InState<"judging">, { text }: OfKind<"frame">): HandshakeStep {
  if (state.queued.length >= limits.pendingHandshakeFrames) return close(1008, "too many pending handshake frames");
  return { next: { ...state, queued: [...state.queued, text] }, output: undefined };
}

function welcome({ requestId, version, queued }: InState<"judging">): HandshakeStep {
  return { next: { state: "open" }, output: { kind: "welcome", requestId, version, queued } };
}

function refuse({ requestId, version }: { requestId: string; version: ProtocolVersion }, error: ProtocolError): HandshakeStep {
  return { next: { state: "closed" }, output: { kind: "refuse", requestId, version, error, closeCode: closeCodeOf(error.code) } };
}

function close(code: number, reason: string): HandshakeStep {
  return { next: { state: "closed" }, output: { kind: "close", code, reason } };
}

interface Range {
  readonly min: number;
  readonly max: number;
}

/** Read before the rest is checked: a client of a later version may send what the schema does not know. */
function readRange(params: unknown): Range | undefined {
  if (!isRecord(params)) return undefined;
  const { minProtocol: min, maxProtocol: max } = params;
  return typeof min === "number" && typeof max === "number" && Number.isInteger(min) && Number.isInteger(max) ? { min, max } : undefined;
}

/** The highest version that both sides speak. */
function chooseVersion({ min, max }: Range): ProtocolVersion | undefined {
  return supportedProtocols.findLast((version) => version >= min && version <= max);
}

function protocolMismatch(range: Range | undefined): ProtocolError {
  return new ProtocolError("PROTOCOL_MISMATCH", "protocol mismatch", {
    details: { clientMinProtocol: range?.min, clientMaxProtocol: range?.max, expectedProtocol: 4, minimumProbeProtocol: 3 },
    remedy: "Use a client that speaks protocol 3 or 4.",
  });
}

function invalidHandshake(message: string, remedy: string): ProtocolError {
  return new ProtocolError("INVALID_HANDSHAKE", message, { remedy });
}

function foreignOrigin(): ProtocolError {
  return new ProtocolError(
    "CONTROL_UI_ORIGIN_NOT_ALLOWED",
    "origin not allowed (open the Control UI from the gateway host or allow it in gateway.controlUi.allowedOrigins)",
    {
      details: { reason: "origin not allowed" },
      remedy: "Add the page's origin to gateway.allowedOrigins, or open the page under the gateway's own URL.",
    },
  );
}
