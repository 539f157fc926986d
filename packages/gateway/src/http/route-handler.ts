/** What a route is: a request read into parameters of the one method its row names, and that method's result as an answer. */
import type { IncomingHttpHeaders } from "node:http";
import type { ParamsInput, Result } from "@portreeve/protocol";
import type { Answer, WholeAnswer } from "./answer.ts";
import type { FollowedRun } from "./followed-run.ts";
import type { BearerPath, CalledBy, FeedPath, RunPath } from "./routes.ts";
import type { SessionFeed } from "./session-feed.ts";

export interface RouteAsk {
  /** What stands in the places of the path, decoded. */
  readonly places: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  /** Within the row's bound, not parsed. */
  readonly body: Buffer;
  /** The caller's own key for this request: the same again is the same command. */
  readonly repeatKey: string | undefined;
}

/** `call` goes through dispatch as the request's principal; it rejects with a ProtocolError, which is answered for the handler. */
export type RouteHandler<P extends BearerPath> = (
  ask: RouteAsk,
  call: (params: ParamsInput<CalledBy<P>>) => Promise<Result<CalledBy<P>>>,
) => Promise<WholeAnswer>;

export interface FeedDoor<P extends FeedPath> {
  readonly call: Parameters<RouteHandler<P>>[1];
  /** Says that there is something to read; what it is, only `call` tells. */
  follow(sessionKey: string): SessionFeed;
}

export type FeedRouteHandler<P extends FeedPath> = (ask: RouteAsk, door: FeedDoor<P>) => Promise<Answer>;

export interface RunDoor {
  readonly nowMs: number;
  readonly newId: () => string;
  /** Resolves when the run is durable. Without a key to repeat the request with, it is stopped when whoever asked goes away. */
  startRun(params: ParamsInput<"agent">): Promise<FollowedRun>;
}

export type RunRouteHandler = (ask: RouteAsk, door: RunDoor) => Promise<Answer>;

/** Exactly one handler a row: a missing or extra one does not compile. */
export type RouteHandlers = {
  readonly [P in BearerPath]: P extends RunPath ? RunRouteHandler : P extends FeedPath ? FeedRouteHandler<P> : RouteHandler<P>;
};
