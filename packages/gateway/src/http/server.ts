/** Plain HTTP on the gateway's port: the probes. One table says which paths there are, with which methods and which authority. */
import type { IncomingMessage, RequestListener, ServerOptions, ServerResponse } from "node:http";
import type { Clock } from "../kit/clock.ts";
import { guard, type DoorConfig, type Peer } from "./guard.ts";

interface Route {
  readonly methods: readonly string[];
  /** What a caller must present. */
  readonly auth: "none";
  /** Load balancers may ask through proxies nobody listed. */
  readonly isProbe: boolean;
}

const probe = { methods: ["GET", "HEAD"], auth: "none", isProbe: true } as const satisfies Route;

/** The policy table: a path that is not here is not served, and a path here without an answer does not compile. */
export const routes = { "/health": probe, "/healthz": probe, "/ready": probe, "/readyz": probe } as const satisfies Record<string, Route>;

export const serverOptions = {
  maxHeaderSize: 16_384,
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  keepAliveTimeout: 5_000,
  connectionsCheckingInterval: 5_000,
  // Another protocol's upgrade (h2c) is served as the plain request that it is too.
  shouldUpgradeCallback: (request: IncomingMessage) => request.headers.upgrade?.toLowerCase() === "websocket",
} satisfies ServerOptions;

export interface RequestHandlerDeps {
  readonly config: DoorConfig;
  readonly clock: Clock;
  /** Names of what is not ready; empty when requests are served. Must not reject. */
  readonly failing: () => Promise<readonly string[]>;
}

interface Answer {
  readonly status: number;
  readonly body: object | string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Exactly one answer a route: a missing or extra one does not compile. */
export type Answers = Readonly<Record<keyof typeof routes, (peer: Peer) => Promise<Answer>>>;

export function createRequestHandler(deps: RequestHandlerDeps): RequestListener {
  const startedAtMs = deps.clock.now();
  const live = (): Promise<Answer> => Promise.resolve({ status: 200, body: { ok: true, status: "live" } });
  const ready = async (peer: Peer): Promise<Answer> => {
    const failing = await deps.failing();
    const details = peer.directLoopback ? { failing, uptimeMs: deps.clock.now() - startedAtMs } : {};
    return { status: failing.length === 0 ? 200 : 503, body: { ready: failing.length === 0, ...details } };
  };
  const answers: Answers = {
    "/health": live,
    "/healthz": live,
    "/ready": ready,
    "/readyz": ready,
  };

  const answer = async (request: IncomingMessage): Promise<Answer> => {
    const path = findPath(request.url);
    const { remoteAddress, localAddress, localPort } = request.socket;
    const passage = guard(
      { remoteAddress, localAddress, localPort, headers: request.headers },
      deps.config,
      path !== undefined && routes[path].isProbe,
    );
    if (passage.kind === "refused") return { status: passage.status, body: { error: passage.error } };
    if (path === undefined) return { status: 404, body: "Not Found" };
    const { methods } = routes[path];
    if (!methods.some((method) => method === request.method))
      return { status: 405, body: "Method Not Allowed", headers: { allow: methods.join(", ") } };
    return answers[path](passage.peer);
  };

  const transport = deps.config.tls.mode === "off" ? {} : { "strict-transport-security": "max-age=31536000" };
  return (request, response) => {
    answer(request).then(
      (reply) => send(response, { ...reply, headers: { ...transport, ...reply.headers } }),
      () => send(response, { status: 500, body: "Internal Server Error" }),
    );
  };
}

function findPath(url: string | undefined): keyof typeof routes | undefined {
  const path = URL.parse(url ?? "", "http://gateway")?.pathname ?? "";
  // Own properties only, so that a key of the table is what was found.
  return Object.hasOwn(routes, path) ? (path as keyof typeof routes) : undefined;
}

function send(response: ServerResponse, { status, body, headers }: Answer): void {
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
