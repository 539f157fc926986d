/** One request that must present a bearer: judged, read within its bound, dispatched as what its bearer makes it. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { findMethod, type MethodName, methods, normaliseScopes, type ParamsInput, ProtocolError } from "@portreeve/protocol";
import type { CountRefusal } from "../dispatch/types.ts";
import type { Bearers, BearerVerdict } from "../identity/bearers.ts";
import type { Clock } from "../kit/clock.ts";
import type { Ids } from "../kit/ids.ts";
import { assertPermitted } from "../principal/permission.ts";
import { narrowed, permits, type Principal } from "../principal/principal.ts";
import { rateLimited, refused, toAnswer, unauthorized, type Answer, type WholeAnswer } from "./answer.ts";
import { sendEvents } from "./event-stream.ts";
import { startFollowedRun, type FollowedRunDeps } from "./followed-run.ts";
import type { Passage } from "./guard.ts";
import type { InFlight, InFlightRequest } from "./in-flight.ts";
import { toOpenAiAnswer } from "./openai-answer.ts";
import type { RouteAsk, RouteHandlers } from "./route-handler.ts";
import { isFeedPath, isRunPath, routes, type FoundRoute } from "./routes.ts";
import { openSessionFeed, type SessionFeed } from "./session-feed.ts";

export interface BearerRequestDeps extends FollowedRunDeps {
  readonly bearers: Pick<Bearers, "authenticate">;
  readonly countRefusal: CountRefusal;
  readonly handlers: RouteHandlers;
  readonly inFlight: InFlight;
  readonly clock: Clock;
  readonly ids: Pick<Ids, "uuid">;
  /** Headers of every answer. */
  readonly transport: Readonly<Record<string, string>>;
}

export interface BearerRequest {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly route: Extract<FoundRoute, { auth: "bearer" }>;
  readonly passage: Extract<Passage, { kind: "passed" }>;
}

/** Resolves when the answer is written; `respond` writes at once: nothing is written after that. */
export async function answerBearer(deps: BearerRequestDeps, asked: BearerRequest, respond: (answer: WholeAnswer) => void): Promise<void> {
  const { response } = asked;
  using work = deps.inFlight.begin();
  response.once("close", () => work.abandon());
  const answer = work.ended === undefined ? await judgeAndAnswer(deps, asked, work) : stopping;
  if (work.ended !== undefined) return respond(work.ended === "expelled" ? unauthorized() : stopping);
  if ("body" in answer) return respond(answer);
  const headers = { ...deps.transport, ...answer.headers };
  await sendEvents(response, { ...answer, headers }, { ...deps, signal: work.signal, ended: () => work.ended });
}

async function judgeAndAnswer(deps: BearerRequestDeps, asked: BearerRequest, work: InFlightRequest): Promise<Answer> {
  const { request, route, passage } = asked;
  const { calls, maxBodyBytes, words } = routes[route.path];
  if (passage.origin === "foreign") return refuse(deps, asked, foreignOrigin);
  const verdict = await deps.bearers.authenticate({
    authorization: request.headers.authorization,
    peer: { ...passage.peer, hasOrigin: passage.origin !== "none" },
    scopes: leastScopes(calls),
    signal: work.signal,
    onClaim: (claim) => void work.claims.push(claim),
  });
  if (verdict.kind !== "admitted") return refuse(deps, asked, toRefusal(verdict));
  if (verdict.endsInMs !== undefined) work.expelAfter(verdict.endsInMs);
  if (!deps.inFlight.admit(work, verdict.principal.id)) return refuse(deps, asked, tooMany);
  const principal = narrow(verdict.principal, request.headers["x-openclaw-scopes"]);
  try {
    assertMayCall(deps, principal, calls);
    const body = await readBody(request, maxBodyBytes);
    return body === undefined ? tooLarge : await handle(deps, asked, { principal, work, ask: toAsk(asked, body) });
  } catch (error) {
    if (error instanceof ProtocolError) return words === "openai" ? toOpenAiAnswer(error) : toAnswer(error);
    throw error;
  }
}

/** Whoever may not call the method, whatever the parameters, has no body read. */
function assertMayCall({ countRefusal }: BearerRequestDeps, principal: Principal, name: MethodName): void {
  try {
    assertPermitted(permits(principal, name, methods[name], undefined));
  } catch (error) {
    if (error instanceof ProtocolError) countRefusal({ principal: principal.id, method: name, rule: error.code });
    throw error;
  }
}

function toAsk({ request, route: { places } }: BearerRequest, body: Buffer): RouteAsk {
  const query = URL.parse(request.url ?? "", "http://gateway")?.searchParams ?? new URLSearchParams();
  const [repeatKey] = [request.headers["idempotency-key"] ?? []].flat();
  return { places, query, headers: request.headers, body, repeatKey };
}

interface Admitted {
  readonly principal: Principal;
  readonly work: InFlightRequest;
  readonly ask: RouteAsk;
}

function handle(deps: BearerRequestDeps, { route: { path } }: BearerRequest, { principal, work, ask }: Admitted): Promise<Answer> {
  const { signal } = work;
  if (isRunPath(path)) {
    // What a program starts for others to read is nobody's own: the least that the method needs, whatever the bearer holds.
    const asker = narrowed(principal, leastScopes(routes[path].calls));
    const takesRunAlong = (): boolean => ask.repeatKey === undefined && work.ended !== "stopping";
    return deps.handlers[path](ask, {
      nowMs: deps.clock.now(),
      newId: () => deps.ids.uuid(),
      async startRun(params) {
        assertLeast(params);
        return await startFollowedRun(deps, { principal: asker, signal, takesRunAlong }, params);
      },
    });
  }
  const call = (params: unknown): Promise<unknown> => deps.dispatch(principal, routes[path].calls, params, { signal });
  const follow = (sessionKey: string): SessionFeed => openSessionFeed(deps.bus, sessionKey, signal);
  // The row names the method whose parameters and result its handler knows: right by construction, but not to the type system.
  const handler = deps.handlers[path] as (ask: RouteAsk, door: unknown) => Promise<Answer>;
  return handler(ask, isFeedPath(path) ? { call, follow } : call);
}

/** What needs more than the least is not asked for here by anybody: no bearer would help. */
function assertLeast(params: ParamsInput<"agent">): void {
  const { scope } = methods.agent;
  if (typeof scope === "string" || scope.byParams(params) === scope.malformed) return;
  throw new ProtocolError("NOT_SUPPORTED", `not supported: ${params.message.split(/\s/, 1)[0] ?? ""}`, {
    remedy: "to begin anew, name another session in the header x-openclaw-session-key",
  });
}

/** What the route's method asks of a caller whose parameters are not known yet. */
function leastScopes(name: string): readonly string[] {
  const scope = findMethod(name)?.scope ?? "none";
  if (scope === "none") return [];
  return [typeof scope === "string" ? scope : scope.malformed];
}

/** What a caller says of its scopes takes from what it holds, and adds nothing; said to be empty, it leaves nothing. */
function narrow(principal: Principal, header: string | readonly string[] | undefined): Principal {
  return header === undefined ? principal : narrowed(principal, normaliseScopes([header].flat().join(",").split(",")));
}

/** Undefined when there is more of it than may be, of which nothing is kept, or when it broke off and nobody hears the answer. */
async function readBody(request: IncomingMessage, maxBytes: number): Promise<Buffer | undefined> {
  if (Number(request.headers["content-length"] ?? 0) > maxBytes) return undefined;
  const chunks: Buffer[] = [];
  let size = 0;
  // The socket has to stay, for the answer.
  try {
    for await (const chunk of request.iterator({ destroyOnReturn: false })) {
      const bytes = Buffer.isBuffer(chunk) ? chunk : Buffer.from(String(chunk));
      size += bytes.length;
      if (size > maxBytes) return undefined;
      chunks.push(bytes);
    }
  } catch (error) {
    if (request.destroyed) return undefined;
    throw error;
  }
  return Buffer.concat(chunks);
}

function refuse({ countRefusal }: BearerRequestDeps, { route, passage }: BearerRequest, refusal: WholeAnswer): WholeAnswer {
  const { error } = refusal.body as { readonly error: { readonly type: string } };
  countRefusal({ principal: `peer:${passage.peer.address}`, method: `HTTP ${route.path}`, rule: error.type });
  return refusal;
}

function toRefusal(verdict: Exclude<BearerVerdict, { kind: "admitted" }>): WholeAnswer {
  switch (verdict.kind) {
    case "unauthorized":
      return unauthorized(verdict.error);
    case "locked":
      return rateLimited(verdict.error);
    case "plaintext":
      return plaintext;
    case "busy":
      return busy;
  }
}

const foreignOrigin = refused(
  403,
  "origin_not_allowed",
  "The page's origin is not allowed.",
  "Add the page's origin to gateway.allowedOrigins, or open the page under the gateway's own URL.",
);

const plaintext = refused(
  403,
  "tls_required",
  "A device's token is taken over TLS or on the gateway's own machine alone; this one could be read on the way.",
  "Take it as stolen: ./portreeve devices rotate DEVICE. Then use https (gateway.tls.mode), or a trusted proxy that sends X-Forwarded-Proto.",
);

const busy = refused(
  503,
  "too_many_attempts",
  "Too many requests of this peer wait to be authenticated.",
  "Wait until some of them are answered. A device's token does not wait: ./portreeve devices token NAME",
);

const tooMany: WholeAnswer = {
  ...refused(429, "too_many_requests", "This bearer has as many requests under way as it may.", "Wait until some of them are answered."),
  headers: { "retry-after": "1" },
};

const stopping = refused(503, "stopping", "The gateway is stopping.", "Ask again when it runs.");

const tooLarge: WholeAnswer = {
  ...refused(413, "body_too_large", "The request's body is larger than this path takes.", "Send a smaller body, or none with GET."),
  headers: { connection: "close" },
};
