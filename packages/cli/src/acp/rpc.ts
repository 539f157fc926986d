/** JSON-RPC over lines, the side that is asked: requests are answered in the order they end, notifications heard, nothing else said. */
import { isRecord } from "@portreeve/protocol/wire";

/** A refusal that the other side is told. */
export class RpcError extends Error {
  override readonly name = "RpcError";
  readonly code: number;
  readonly data: unknown;

  constructor(code: number, message: string, data?: unknown) {
    super(message);
    this.code = code;
    this.data = data;
  }
}

export const rpcCodes = {
  parse: -32_700,
  invalidRequest: -32_600,
  unknownMethod: -32_601,
  invalidParams: -32_602,
  internal: -32_603,
  notFound: -32_002,
} as const;

export interface RpcHandler {
  /** What it rejects with that is no RpcError is told as `toError` says. */
  request(method: string, params: Readonly<Record<string, unknown>>): Promise<object>;
  /** Must not throw. */
  notified(method: string, params: Readonly<Record<string, unknown>>): void;
  readonly toError: (error: unknown) => RpcError;
}

/** One line of the protocol. */
export type Write = (line: string) => void;

/** Resolves when there are no more lines. */
export async function serveRpc(lines: AsyncIterable<string>, handler: RpcHandler, write: Write): Promise<void> {
  for await (const line of lines) {
    if (line.trim() !== "") receive(line, handler, write);
  }
}

export function notify(write: Write, method: string, params: object): void {
  write(JSON.stringify({ jsonrpc: "2.0", method, params }));
}

function receive(line: string, handler: RpcHandler, write: Write): void {
  let message: unknown;
  try {
    message = JSON.parse(line);
  } catch {
    return refuse(write, null, new RpcError(rpcCodes.parse, "The line is not JSON."));
  }
  if (!isRecord(message)) return refuse(write, null, new RpcError(rpcCodes.invalidRequest, "The line is not one JSON-RPC message."));
  const { id, method, params = {} } = message;
  // An answer to nothing that was asked.
  if (method === undefined && id !== undefined && ("result" in message || "error" in message)) return;
  const isId = typeof id === "string" || typeof id === "number";
  if (typeof method !== "string" || !isRecord(params) || (id !== undefined && !isId))
    return refuse(
      write,
      isId ? id : null,
      new RpcError(rpcCodes.invalidRequest, "The line is no request: method, id or params are not right."),
    );
  if (!isId) return handler.notified(method, params);
  handler.request(method, params).then(
    (result) => write(JSON.stringify({ jsonrpc: "2.0", id, result })),
    (error: unknown) => refuse(write, id, error instanceof RpcError ? error : handler.toError(error)),
  );
}

function refuse(write: Write, id: string | number | null, { code, message, data }: RpcError): void {
  write(JSON.stringify({ jsonrpc: "2.0", id, error: { code, message, ...(data === undefined ? {} : { data }) } }));
}
