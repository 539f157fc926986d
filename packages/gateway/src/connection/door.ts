/** Where sockets come in: every upgrade is judged and counted before anything is allocated for it. */
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { limits } from "@portreeve/protocol";
import { WebSocketServer } from "ws";
import { guard, toArrival, type DoorConfig, type Peer } from "../http/guard.ts";
import { toNetwork } from "../identity/attempts.ts";
import type { ExpelDevice } from "../identity/device-management.ts";
import { STATUS_CODES } from "../kit/node-http.ts";
import type { Principal } from "../principal/principal.ts";
import { Connection, type ConnectionDeps } from "./connection.ts";
import { DeviceSockets } from "./device-sockets.ts";
import { atDoor } from "./handshake-refusal.ts";
import { JoinedWrites } from "./joined-writes.ts";
import { Places } from "./places.ts";
import type { Presence } from "./presence.ts";
import type { Subscriptions } from "./subscriptions.ts";

export interface DoorDeps {
  readonly config: DoorConfig;
  readonly connection: ConnectionDeps;
  readonly subscriptions: Subscriptions;
  readonly presence: Pick<Presence, "arrive" | "leave">;
}

/** What Node gives with an upgrade request. */
export interface Upgrade {
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  readonly head: Buffer;
}

/** How long a peer may take to close its half before it is cut off. */
const closeTimeoutMs = 2_000;

export class Door {
  readonly #deps: DoorDeps;
  readonly #server: WebSocketServer;
  /** Every socket that is a WebSocket and not closed yet. */
  readonly #connections = new Set<Connection>();
  /** Of the sockets without a hello. */
  readonly #places = new Places();
  readonly #deviceSockets = new DeviceSockets();
  readonly #writtenRequests = new WeakMap<AbortSignal, PromiseWithResolvers<void>>();
  #accepted = 0;
  #isClosing = false;

  constructor(deps: DoorDeps) {
    this.#deps = deps;
    const options = {
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: limits.maxPayloadBytes,
      autoPong: false,
      closeTimeout: closeTimeoutMs,
    };
    this.#server = new WebSocketServer(options);
  }

  get isClosing(): boolean {
    return this.#isClosing;
  }

  upgrade({ request, socket, head }: Upgrade): void {
    const arrival = toArrival(request);
    const passage = guard(arrival, this.#deps.config, false);
    if (passage.kind === "refused") {
      this.#deps.connection.countRefusal({ ...atDoor(arrival.remoteAddress ?? "unknown"), rule: passage.error.type });
      return refuseUpgrade(socket, passage.status, JSON.stringify({ error: passage.error }));
    }
    if (this.#isClosing) return refuseUpgrade(socket, 503, "The gateway is stopping");
    const verdict = this.#places.clear(placeKey(passage.peer));
    if (verdict !== "free") {
      this.#deps.connection.countRefusal({ ...atDoor(passage.peer.address), rule: fullness[verdict].rule });
      return refuseUpgrade(socket, 503, fullness[verdict].body, { "Retry-After": retryAfterSeconds });
    }
    this.#accept({ request, socket, head }, passage);
  }

  #accept({ request, socket, head }: Upgrade, { peer, origin }: Extract<ReturnType<typeof guard>, { kind: "passed" }>): void {
    const budget = new ByteBudget(socket, limits.preauthBytes);
    const writes = new JoinedWrites(socket);
    writes.holdAnswer();
    this.#server.handleUpgrade(request, socket, head, (webSocket) => {
      this.#accepted += 1;
      const arrival = { peer, origin, writes };
      const leave = (): void => freePlace();
      let free = (): void => undefined;
      const connection: Connection = new Connection(webSocket, arrival, this.#deps.connection, {
        problemWith: (principal) => this.#deviceSockets.problemWith(principal),
        onOpen: (opened) => {
          budget.lift();
          leave();
          this.#deps.subscriptions.add(opened);
          const { connId, principal, client } = opened;
          if (principal !== undefined) free = this.#deviceSockets.take(principal);
          if (principal !== undefined && client !== undefined) this.#deps.presence.arrive({ connId, principal, client });
        },
        onClosed: (closed) => {
          leave();
          free();
          this.#connections.delete(closed);
          this.#deps.subscriptions.remove(closed);
          this.#deps.presence.leave(closed.connId);
        },
      });
      const freePlace = this.#places.take(placeKey(peer), {
        evict: () => {
          freePlace();
          connection.evict();
        },
      });
      this.#connections.add(connection);
      budget.onExceeded = () => connection.refuseOversized();
    });
  }

  counts(): { readonly accepted: number; readonly open: number } {
    return { accepted: this.#accepted, open: this.#connections.size };
  }

  connectedDevices(): ReadonlySet<string> {
    const principals = [...this.#connections].map((connection) => connection.principal);
    return new Set(principals.flatMap((principal) => (principal?.kind === "device" ? [principal.deviceId] : [])));
  }

  connectedPrincipals(): readonly Principal[] {
    return [...this.#connections].flatMap(({ principal }) => principal ?? []);
  }

  closeDeviceless(): void {
    for (const connection of this.#connections) connection.secretChanged();
  }

  /** Resolves when nothing the device asked for can be written any more. */
  async expelDevice({ deviceId, role }: Parameters<ExpelDevice>[0], lastAnswer: Parameters<ExpelDevice>[1]): Promise<void> {
    // Whoever asks has written what it had to: two devices that remove each other must not wait for each other.
    if (lastAnswer !== undefined) this.#written(lastAnswer.signal).resolve();
    const unsettled: Promise<void>[] = [];
    for (const connection of this.#connections) {
      const { claim } = connection;
      if (claim?.deviceId !== deviceId || (role !== undefined && claim.role !== role)) continue;
      connection.expel("device removed", connection.connId === lastAnswer?.connId ? lastAnswer.signal : undefined);
      for (const [signal, settled] of connection.unsettled) unsettled.push(Promise.race([settled, this.#written(signal).promise]));
    }
    await Promise.all(unsettled);
  }

  pingAll(): void {
    for (const connection of this.#connections) connection.ping();
  }

  /** Says goodbye to every connection; resolves when the last socket is closed. */
  async close(): Promise<void> {
    this.#isClosing = true;
    this.#deps.subscriptions.tell("shutdown", { reason: "gateway stopping", restartExpectedMs: null });
    const connections = [...this.#connections];
    for (const connection of connections) connection.close(1012, "service restart");
    await Promise.all(connections.map((connection) => connection.closed));
  }

  /** Resolves when the request with this signal has written all that it will write. */
  #written(signal: AbortSignal): PromiseWithResolvers<void> {
    const known = this.#writtenRequests.get(signal) ?? Promise.withResolvers<void>();
    this.#writtenRequests.set(signal, known);
    return known;
  }
}

/** What a client may match on; the first is the wire's own text. */
const fullness = {
  "peer-full": { rule: "too_many_sockets", body: "Too many unauthenticated sockets" },
  full: { rule: "too_many_sockets_in_all", body: "Too many unauthenticated sockets of all peers" },
} as const;

/** Handshakes take milliseconds; whoever holds places longer loses them with the handshake's time. */
const retryAfterSeconds = 5;

/** All programs on this machine are one peer, whatever address of it they take. */
function placeKey({ address, directLoopback }: Peer): string {
  return directLoopback ? "loopback" : toNetwork(address);
}

/** Counts what a socket sends, before anything parses it, until the count is lifted or exceeded. */
class ByteBudget {
  readonly #socket: Duplex;
  readonly #maxBytes: number;
  #received = 0;
  onExceeded: () => void = () => undefined;

  constructor(socket: Duplex, maxBytes: number) {
    this.#socket = socket;
    this.#maxBytes = maxBytes;
    socket.on("data", this.#count);
  }

  lift(): void {
    this.#socket.off("data", this.#count);
  }

  readonly #count = (chunk: Buffer): void => {
    this.#received += chunk.length;
    if (this.#received <= this.#maxBytes) return;
    this.onExceeded();
    // What still comes is thrown away unparsed; the peer gets our close and then the end of the stream.
    this.#socket.removeAllListeners("data");
    this.#socket.resume();
    this.#socket.end();
  };
}

function refuseUpgrade(socket: Duplex, status: number, body: string, headers: Readonly<Record<string, string | number>> = {}): void {
  const type = body.startsWith("{") ? "application/json" : "text/plain";
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}`,
    "Connection: close",
    `Content-Type: ${type}; charset=utf-8`,
    `Content-Length: ${Buffer.byteLength(body)}`,
    "X-Content-Type-Options: nosniff",
    "Cache-Control: no-store",
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
  ];
  socket.on("error", () => socket.destroy());
  socket.once("finish", () => socket.destroy());
  socket.end(`${head.join("\r\n")}\r\n\r\n${body}`);
}
