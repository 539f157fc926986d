/** The other end of a WebSocket for client tests: speaks frames as a gateway does, answers as the test says, and remembers. */
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { createDeviceKey, type DeviceKey } from "@portreeve/client";
import { parseFrame, type ConnectParams, type ErrorBody, type RequestFrame } from "@portreeve/protocol";
import { WebSocketServer, type WebSocket } from "ws";

export interface Refusal {
  readonly error: ErrorBody;
  readonly close?: { readonly code: number; readonly reason: string };
}

/** How the peer answers a `connect`. */
export type ConnectOutcome = Refusal | { readonly deviceToken?: string; readonly scopes?: readonly string[]; readonly error?: undefined };

/** What the peer is told of one request after the hello, and how it may answer. */
export interface PeerRequest {
  readonly method: string;
  readonly params: unknown;
  readonly scopes: readonly string[];
  /** How many sockets were connected before this one. */
  readonly connection: number;
  answer(payload: unknown): void;
  refuse(error: ErrorBody): void;
  event(name: string, payload: unknown, seq?: number): void;
  close(code: number, reason: string): void;
}

export interface PeerOptions {
  /** `none`: like the reference, without a proof. `tampered`: a proof that does not fit. */
  readonly key?: DeviceKey | "none" | "tampered";
  readonly protocol?: 3 | 4;
  readonly port?: number;
  readonly tickIntervalMs?: number;
  /** The hello's device token, or a refusal; default: hello without a token. */
  readonly onConnect?: (params: ConnectParams, connection: number) => ConnectOutcome;
  readonly onRequest?: (request: PeerRequest) => void;
}

export interface Peer extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  readonly key: DeviceKey;
  /** The params of every `connect`, in order. */
  readonly connects: readonly ConnectParams[];
  /** `method [scopes]` of every request, in order. */
  readonly calls: readonly string[];
  /** Every close frame the peer received. */
  readonly closes: readonly { readonly code: number; readonly reason: string }[];
  readonly sockets: number;
  /** Resolves at the next close of a socket, from either side. */
  nextClose(): Promise<unknown>;
  /** Drops every socket without a close frame. */
  terminate(): void;
}

export async function startPeer(options: PeerOptions = {}): Promise<Peer> {
  const server = new WebSocketServer({ host: "127.0.0.1", port: options.port ?? 0 });
  await once(server, "listening");
  const { port } = server.address() as AddressInfo; // A TCP server's address is never text.
  const key = typeof options.key === "object" ? options.key : createDeviceKey();
  const connects: ConnectParams[] = [];
  const calls: string[] = [];
  const closes: { code: number; reason: string }[] = [];
  let sockets = 0;
  let closed = Promise.withResolvers<unknown>();
  server.on("connection", (socket) => {
    const connection = sockets;
    sockets += 1;
    socket.on("close", (code, reason) => {
      closes.push({ code, reason: String(reason) });
      closed.resolve(undefined);
      closed = Promise.withResolvers();
    });
    send(socket, challenge(key, options.key));
    socket.on("message", (data: Buffer) => {
      const parsed = parseFrame(data.toString("utf8"));
      if (parsed.kind !== "frame") return socket.close(1008, "invalid request frame");
      if (parsed.frame.method !== "connect")
        return answerRequest(socket, parsed.frame, { options, connection, connect: connects.at(connection), calls });
      const params = parsed.frame.params as ConnectParams; // The client under test wrote it; tests look at its fields.
      connects[connection] = params;
      answerConnect(socket, parsed.frame.id, options, options.onConnect?.(params, connection) ?? {});
    });
  });
  return {
    url: `ws://127.0.0.1:${port}`,
    port,
    key,
    connects,
    calls,
    closes,
    get sockets() {
      return sockets;
    },
    nextClose: () => closed.promise,
    terminate: () => server.clients.forEach((socket) => socket.terminate()),
    async [Symbol.asyncDispose]() {
      for (const socket of server.clients) socket.terminate();
      server.close();
      await once(server, "close");
    },
  };
}

function challenge(key: DeviceKey, kind: PeerOptions["key"]): object {
  const nonce = crypto.randomUUID();
  const ts = Date.now();
  const signed = `portreeve-gateway|${kind === "tampered" ? `${nonce}x` : nonce}|${ts}`;
  const gateway = kind === "none" ? {} : { gateway: { publicKey: key.publicKey, signature: key.sign(signed) } };
  return { type: "event", event: "connect.challenge", payload: { nonce, ts, ...gateway } };
}

function answerConnect(socket: WebSocket, id: string, options: PeerOptions, outcome: ConnectOutcome): void {
  if (outcome.error !== undefined) {
    send(socket, { type: "res", id, ok: false, error: outcome.error });
    socket.close(outcome.close?.code ?? 1008, outcome.close?.reason ?? "refused");
    return;
  }
  const { protocol = 4, tickIntervalMs } = options;
  const policy = tickIntervalMs === undefined ? {} : { policy: { tickIntervalMs } };
  send(socket, { type: "res", id, ok: true, payload: { type: "hello-ok", protocol, auth: outcome, ...policy } });
}

interface Received {
  readonly options: PeerOptions;
  readonly connection: number;
  readonly connect: ConnectParams | undefined;
  readonly calls: string[];
}

function answerRequest(socket: WebSocket, { id, method, params }: RequestFrame, { options, connection, connect, calls }: Received): void {
  const scopes = connect?.scopes ?? [];
  calls.push(`${method} [${scopes.join(",")}]`);
  options.onRequest?.({
    method,
    params,
    scopes,
    connection,
    answer: (payload) => send(socket, { type: "res", id, ok: true, payload }),
    refuse: (error) => send(socket, { type: "res", id, ok: false, error }),
    event: (event, payload, seq) => send(socket, { type: "event", event, payload, ...(seq === undefined ? {} : { seq }) }),
    close: (code, reason) => socket.close(code, reason),
  });
}

function send(socket: WebSocket, frame: object): void {
  socket.send(JSON.stringify(frame));
}
