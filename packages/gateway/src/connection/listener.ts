/** The gateway's one port: HTTP and WebSocket, guarded before anything is allocated, closed in order at the end. */
import type { RequestListener, Server } from "node:http";
import { createServer as createTlsServer, type Server as TlsServer } from "node:https";
import type { Health, HelloOk } from "@portreeve/protocol";
import { limits } from "@portreeve/protocol";
import type { Bus } from "../bus.ts";
import type { CountRefusal, Dispatch, PresenceBoard } from "../dispatch/types.ts";
import { createHttpDoor, serverOptions } from "../http/server.ts";
import type { Bearers } from "../identity/bearers.ts";
import type { ExpelDevice } from "../identity/device-management.ts";
import type { NodeLinks } from "../identity/node-link.ts";
import type { Pairing } from "../identity/pairing.ts";
import type { StateKeys } from "../identity/state-keys.ts";
import type { Clock } from "../kit/clock.ts";
import type { Config } from "../kit/config.ts";
import type { Ids } from "../kit/ids.ts";
import { background, type Log } from "../kit/log.ts";
import { createServer } from "../kit/node-http.ts";
import { Door } from "./door.ts";
import { createHealthFeed, createHello, type HealthFeed } from "./hello.ts";
import { describeSelf, Presence } from "./presence.ts";
import { Subscriptions, type SubscriptionsDeps } from "./subscriptions.ts";
import type { Principal } from "../principal/principal.ts";

export interface ListenerDeps {
  readonly config: Config["gateway"];
  readonly keys: Pick<StateKeys, "gatewayKey">;
  /** PEM; undefined serves plain text. */
  readonly tls?: { readonly key: string; readonly cert: string } | undefined;
  readonly pairing: Pick<Pairing, "authenticate">;
  readonly bearers: Pick<Bearers, "authenticate">;
  readonly dispatch: Dispatch;
  readonly bus: Bus;
  readonly clock: Clock;
  readonly ids: Ids;
  readonly log: Log;
  readonly countRefusal: CountRefusal;
  readonly nodes: NodeLinks;
  /** Of the gateway's package. */
  readonly version: string;
  readonly paths: { readonly configPath: string; readonly stateDir: string };
  readonly health: () => Promise<Health>;
  readonly sessionDefaults: () => Promise<HelloOk["snapshot"]["sessionDefaults"]>;
  readonly rowOf: SubscriptionsDeps["rowOf"];
  readonly messagesOf: SubscriptionsDeps["messagesOf"];
}

export interface Listener extends AsyncDisposable {
  /** For clients on this machine, or under the bind address. */
  readonly url: string;
  readonly port: number;
  /** Sockets that became WebSockets: all since the start, and those not closed yet. */
  counts(): { readonly accepted: number; readonly open: number };
  readonly presence: PresenceBoard;
  /** Ids of the devices with an open connection. */
  connectedDevices(): ReadonlySet<string>;
  /** Who is connected, each connection once. */
  connectedPrincipals(): readonly Principal[];
  /** The shared secret is another one: closes who stands on the old one alone (4001) and who is being judged by it (1012). */
  closeDeviceless(): void;
  /** Closes what is connected, or connecting, as the device: its authority is gone. */
  readonly expelDevice: ExpelDevice;
}

export type ListenCode = "PORT_IN_USE" | "PORT_NOT_PERMITTED" | "ADDRESS_NOT_AVAILABLE" | "LISTEN_FAILED";

/** The port cannot be had; the message is one line with the next step. */
export class ListenError extends Error {
  override readonly name = "ListenError";
  readonly code: ListenCode;

  constructor(code: ListenCode, message: string, cause: unknown) {
    super(message, { cause });
    this.code = code;
  }
}

const healthIntervalMs = 60_000;
const tlsOptions = { minVersion: "TLSv1.2", handshakeTimeout: 10_000, ALPNProtocols: ["http/1.1"] } as const;

/** Listens; resolves once connections are accepted. @throws ListenError */
export async function openListener(deps: ListenerDeps): Promise<Listener> {
  const { config, clock, bus, log, ids, countRefusal } = deps;
  const health = createHealthFeed(deps.health);
  const presence: Presence = new Presence({
    clock,
    self: describeSelf(deps.version),
    onChanged: () => tellPresence(subscriptions, { presence, health }),
  });
  const hello = createHello({ ...deps, health, presence, serverVersion: deps.version, bootId: ids.uuid(), authMode: config.auth.mode });
  const connection = {
    pairing: deps.pairing,
    dispatch: deps.dispatch,
    gatewayKey: deps.keys.gatewayKey,
    hello,
    clock,
    ids,
    log,
    countRefusal,
    nodes: deps.nodes,
  };
  const subscriptions = new Subscriptions({ bus, clock, log, rowOf: deps.rowOf, messagesOf: deps.messagesOf });
  const door = new Door({ config, connection, subscriptions, presence });
  const failing = async (): Promise<readonly string[]> => {
    if (door.isClosing) return ["stopping"];
    return deps.health().then(
      () => [],
      () => ["health"],
    );
  };
  const http = createHttpDoor({ ...deps, failing });
  const server = createPlainOrTlsServer(deps.tls, http.listener);
  server.on("upgrade", (request, socket, head) => door.upgrade({ request, socket, head }));
  await listen(server, config);

  const beats = startBeats(deps, { subscriptions, door, health, presence });

  return {
    url: urlOf(config, portOf(server), deps.tls === undefined ? "ws" : "wss"),
    port: portOf(server),
    counts: () => door.counts(),
    presence,
    connectedDevices: () => door.connectedDevices(),
    connectedPrincipals: () => door.connectedPrincipals(),
    closeDeviceless() {
      http.secretChanged();
      door.closeDeviceless();
    },
    async expelDevice(target, lastAnswer) {
      await Promise.all([door.expelDevice(target, lastAnswer), http.expelDevice(target)]);
    },
    async [Symbol.asyncDispose]() {
      beats[Symbol.dispose]();
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      await Promise.all([door.close(), http.close()]);
      subscriptions[Symbol.dispose]();
      server.closeAllConnections();
      await closed;
    },
  };
}

interface Feeds {
  readonly presence: Presence;
  readonly health: HealthFeed;
}

/** What is told and done again and again until the end. */
function startBeats(
  { clock, log }: ListenerDeps,
  parts: Feeds & { readonly subscriptions: Subscriptions; readonly door: Door },
): Disposable {
  const { subscriptions, door, health, presence } = parts;
  const beats = new DisposableStack();
  beats.use(presence);
  beats.use(repeat(clock, limits.tickIntervalMs, () => subscriptions.tell("tick", { ts: clock.now() })));
  beats.use(repeat(clock, limits.pingIntervalMs, () => door.pingAll()));
  const tellHealth = async (): Promise<void> => {
    const reading = await health.read();
    subscriptions.tell("health", reading.health, { stateVersion: { presence: presence.version, health: reading.healthVersion } });
  };
  beats.use(repeat(clock, healthIntervalMs, () => background(log, "tell health", tellHealth())));
  return beats;
}

function tellPresence(subscriptions: Subscriptions, { presence, health }: Feeds): void {
  const stateVersion = { presence: presence.version, health: health.version };
  subscriptions.tell("presence", { presence: [...presence.listForAll()] }, { stateVersion });
}

function createPlainOrTlsServer(tls: ListenerDeps["tls"], answer: RequestListener): Server | TlsServer {
  if (tls === undefined) return createServer(serverOptions, answer);
  return createTlsServer({ ...serverOptions, ...tlsOptions, ...tls }, answer);
}

function listen(server: Server | TlsServer, config: Config["gateway"]): Promise<void> {
  const { port, bind } = config;
  const host = bind === "loopback" ? "127.0.0.1" : bind === "lan" ? undefined : bind;
  return new Promise((resolve, reject) => {
    const onError = (error: NodeJS.ErrnoException): void => reject(toListenError(error, port, host ?? "all addresses"));
    server.once("error", onError);
    server.listen({ port, ...(host === undefined ? {} : { host }) }, () => {
      server.off("error", onError);
      resolve();
    });
  });
}

function toListenError(error: NodeJS.ErrnoException, port: number, where: string): ListenError {
  switch (error.code) {
    case "EADDRINUSE":
      return new ListenError(
        "PORT_IN_USE",
        `port ${port} on ${where} is in use: stop the program that has it, or choose another port with --port N or gateway.port`,
        error,
      );
    case "EACCES":
      return new ListenError(
        "PORT_NOT_PERMITTED",
        `port ${port} on ${where} needs more rights than this user has: choose one above 1023 with --port N or gateway.port`,
        error,
      );
    case "EADDRNOTAVAIL":
      return new ListenError(
        "ADDRESS_NOT_AVAILABLE",
        `${where} is no address of this machine: set gateway.bind to loopback, lan or one of its addresses`,
        error,
      );
    default:
      return new ListenError("LISTEN_FAILED", `cannot listen on port ${port} of ${where}: ${error.message}`, error);
  }
}

function portOf(server: Server | TlsServer): number {
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}

function urlOf({ bind }: Config["gateway"], port: number, scheme: "ws" | "wss"): string {
  const host = bind === "loopback" || bind === "lan" ? "127.0.0.1" : bind;
  return `${scheme}://${host.includes(":") ? `[${host}]` : host}:${port}`;
}

function repeat(clock: Clock, everyMs: number, task: () => void): Disposable {
  let timer: Disposable;
  const arm = (): void => {
    timer = clock.schedule(clock.now() + everyMs, () => {
      arm();
      task();
    });
  };
  arm();
  return { [Symbol.dispose]: () => timer[Symbol.dispose]() };
}
