/** Plain HTTP on the gateway's port: the probes, and the doors to methods for whoever bears a credential. */
import type { IncomingMessage, RequestListener, ServerOptions, ServerResponse } from "node:http";
import type { Dispatch, CountRefusal } from "../dispatch/types.ts";
import type { Bearers } from "../identity/bearers.ts";
import type { ExpelDevice } from "../identity/device-management.ts";
import type { Bus } from "../bus.ts";
import type { Clock } from "../kit/clock.ts";
import type { Ids } from "../kit/ids.ts";
import type { Log } from "../kit/log.ts";
import { send, type WholeAnswer } from "./answer.ts";
import { answerBearer } from "./bearer-request.ts";
import { chatCompletions } from "./chat-completions.ts";
import { guard, toArrival, type DoorConfig, type Peer } from "./guard.ts";
import { InFlight } from "./in-flight.ts";
import { getModel, getPrefixedModel, listModels } from "./models.ts";
import type { RouteHandlers } from "./route-handler.ts";
import { assertListed, findRoute, routes, type ProbePath } from "./routes.ts";
import { responses } from "./responses.ts";
import { sessionHistory } from "./session-history.ts";
import { toolsInvoke } from "./tools-invoke.ts";

export const serverOptions = {
  maxHeaderSize: 16_384,
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  keepAliveTimeout: 5_000,
  connectionsCheckingInterval: 5_000,
  // Another protocol's upgrade (h2c) is served as the plain request that it is too.
  shouldUpgradeCallback: (request: IncomingMessage) => request.headers.upgrade?.toLowerCase() === "websocket",
} satisfies ServerOptions;

export interface HttpDoorDeps {
  readonly config: DoorConfig;
  readonly clock: Clock;
  readonly log: Log;
  /** Names of what is not ready; empty when requests are served. Must not reject. */
  readonly failing: () => Promise<readonly string[]>;
  readonly bearers: Pick<Bearers, "authenticate">;
  readonly dispatch: Dispatch;
  readonly bus: Pick<Bus, "subscribe">;
  readonly ids: Pick<Ids, "uuid">;
  readonly countRefusal: CountRefusal;
  readonly version: string;
}

export interface HttpDoor {
  readonly listener: RequestListener;
  /** Resolves when nothing that was asked for as the device can be answered any more. */
  expelDevice(target: Parameters<ExpelDevice>[0]): Promise<void>;
  secretChanged(): void;
  /** Resolves when no request is being handled any more; each is answered that the gateway stops. */
  close(): Promise<void>;
}

/** Exactly one answer a probe: a missing or extra one does not compile. */
export type Probes = Readonly<Record<ProbePath, (peer: Peer) => Promise<WholeAnswer>>>;

const handlers: RouteHandlers = {
  "/sessions/{key}/history": sessionHistory,
  "/tools/invoke": toolsInvoke,
  "/v1/chat/completions": chatCompletions,
  "/v1/responses": responses,
  "/v1/models": listModels,
  "/v1/models/{id}": getModel,
  "/v1/models/{prefix}/{id}": getPrefixedModel,
};

export function createHttpDoor(deps: HttpDoorDeps): HttpDoor {
  const probes = createProbes(deps);
  assertListed([...Object.keys(probes), ...Object.keys(handlers)]);
  const inFlight = new InFlight(deps.clock);
  const transport = deps.config.tls.mode === "off" ? {} : { "strict-transport-security": "max-age=31536000" };

  const answer = async (request: IncomingMessage, response: ServerResponse, respond: (answer: WholeAnswer) => void): Promise<void> => {
    const route = findRoute(request.url);
    const passage = guard(toArrival(request), deps.config, route?.auth === "none");
    if (passage.kind === "refused") return respond({ status: passage.status, body: { error: passage.error } });
    if (route === undefined) return respond({ status: 404, body: "Not Found" });
    const { methods } = routes[route.path];
    if (!methods.some((method) => method === request.method))
      return respond({ status: 405, body: "Method Not Allowed", headers: { allow: methods.join(", ") } });
    if (route.auth === "none") return respond(await probes[route.path](passage.peer));
    return answerBearer({ ...deps, handlers, inFlight, transport }, { request, response, route, passage }, respond);
  };

  return {
    listener: (request, response) => {
      const respond = (reply: WholeAnswer): void => send(response, { ...reply, headers: { ...transport, ...reply.headers } });
      answer(request, response, respond).catch((error: unknown) => {
        deps.log.error({ err: error }, "a request over HTTP failed unexpectedly");
        respond({ status: 500, body: "Internal Server Error" });
      });
    },
    expelDevice: (target) => inFlight.expelDevice(target),
    secretChanged: () => inFlight.secretChanged(),
    close: () => inFlight.close(),
  };
}

function createProbes({ clock, version, failing: findFailing }: HttpDoorDeps): Probes {
  const startedAtMs = clock.now();
  const live = (): Promise<WholeAnswer> => Promise.resolve({ status: 200, body: { ok: true, status: "live" } });
  const ready = async (peer: Peer): Promise<WholeAnswer> => {
    const failing = await findFailing();
    const details = peer.directLoopback ? { failing, uptimeMs: clock.now() - startedAtMs } : {};
    return { status: failing.length === 0 ? 200 : 503, body: { ready: failing.length === 0, ...details } };
  };
  // Nothing is listened to before all is open: whoever is answered has been started.
  const started = ({ directLoopback }: Peer): Promise<WholeAnswer> => {
    const details = directLoopback ? { version, uptimeMs: clock.now() - startedAtMs } : {};
    return Promise.resolve({ status: 200, body: { ok: true, status: "started", ...details } });
  };
  return { "/health": live, "/healthz": live, "/ready": ready, "/readyz": ready, "/startup": started, "/startupz": started };
}
