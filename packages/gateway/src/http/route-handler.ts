/** What a route is: a request read into parameters of the one method its row names, and that method's result as an answer. */
import type { ParamsInput, Result } from "@portreeve/protocol";
import type { Answer } from "./answer.ts";
import type { BearerPath, CalledBy } from "./routes.ts";

export interface RouteAsk {
  /** What stands in the places of the path, decoded. */
  readonly places: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  /** Within the row's bound, not parsed. */
  readonly body: Buffer;
}

/** `call` goes through dispatch as the request's principal; it rejects with a ProtocolError, which is answered for the handler. */
export type RouteHandler<P extends BearerPath> = (
  ask: RouteAsk,
  call: (params: ParamsInput<CalledBy<P>>) => Promise<Result<CalledBy<P>>>,
) => Promise<Answer>;

/** Exactly one handler a row: a missing or extra one does not compile. */
export type RouteHandlers = { readonly [P in BearerPath]: RouteHandler<P> };
