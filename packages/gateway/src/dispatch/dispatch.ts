/** The one way a request takes, whatever door it came through: found, parsed, authorised, handled. */
import {
  type ErrorCode,
  findMethod,
  isMethodName,
  limits,
  type MethodDefinition,
  type MethodName,
  parseParams,
  ProtocolError,
} from "@portreeve/protocol";
import type { Clock } from "../kit/clock.ts";
import type { Ids } from "../kit/ids.ts";
import type { Log } from "../kit/log.ts";
import { assertPermitted } from "../principal/permission.ts";
import { permits, type Principal } from "../principal/principal.ts";
import { CallRates } from "./call-rates.ts";
import type { Context, CountRefusal, Dispatch, Handlers } from "./types.ts";

export interface DispatchDeps {
  readonly handlers: Handlers;
  readonly log: Log;
  readonly ids: Ids;
  readonly countRefusal: CountRefusal;
  readonly clock: Pick<Clock, "now">;
  /** Checks every result against its definition: in tests and development. */
  readonly checkResults: boolean;
}

/** What is refused because of who asks, not because the question is wrong. */
const refusals: ReadonlySet<ErrorCode> = new Set([
  "UNKNOWN_METHOD",
  "MISSING_SCOPE",
  "RATE_LIMITED",
  "WRONG_CALLER",
  "NOT_ALLOWED",
  "SPAWN_DEPTH",
  "SPAWN_CHILDREN",
  "NOT_DESCENDANT",
  "MESSAGE_HOPS",
  "APPROVAL_OWN_REQUEST",
  "APPROVAL_UNUSABLE",
]);

export function createDispatch(deps: DispatchDeps): Dispatch {
  const dispatch = createDispatchUncounted(deps);
  return async (principal, name, params, options) => {
    try {
      return await dispatch(principal, name, params, options);
    } catch (error) {
      if (error instanceof ProtocolError && refusals.has(error.code)) {
        deps.countRefusal({ principal: principal.id, method: isMethodName(name) ? name : "(unknown)", rule: error.code });
      }
      throw error;
    }
  };
}

function createDispatchUncounted(deps: DispatchDeps): Dispatch {
  const controlWrites = new CallRates({ calls: limits.controlWrites, windowMs: limits.controlWriteWindowMs });
  return async (principal, name, params, options) => {
    const definition = findMethod(name, options.version);
    if (definition === undefined || !isMethodName(name)) throw new ProtocolError("UNKNOWN_METHOD", `unknown method: ${name.slice(0, 200)}`);
    const parsed = authorise(principal, name, definition, params);
    if (definition.rate === "control-write") assertSeldom(name, controlWrites.take(`${name} ${principal.id}`, deps.clock.now()));
    const context: Context = { principal, connection: options.connection, signal: options.signal, accept: options.accept ?? ignore };
    try {
      const result = await handle(deps.handlers, name, context, parsed);
      if (deps.checkResults) definition.result.parse(result);
      return result;
    } catch (error) {
      throw toProtocolError(error, deps, { principal, name });
    }
  };
}

/** Parsed parameters, or the refusal: a scope that does not depend on them is checked first, so that it is answered first. */
function authorise(principal: Principal, name: MethodName, definition: MethodDefinition, params: unknown): unknown {
  const isKnownByParams = typeof definition.scope === "object" || principal.kind === "lifecycle";
  if (!isKnownByParams) assertPermitted(permits(principal, name, definition, undefined));
  const parsed = parseParams(name, definition, params);
  if (isKnownByParams) assertPermitted(permits(principal, name, definition, parsed.ok ? parsed.params : undefined));
  if (!parsed.ok) throw new ProtocolError(parsed.code, parsed.message);
  return parsed.params;
}

function assertSeldom(name: MethodName, waitMs: number | undefined): void {
  if (waitMs === undefined) return;
  const [calls, windowSeconds] = [limits.controlWrites, limits.controlWriteWindowMs / 1_000];
  throw new ProtocolError("RATE_LIMITED", `rate limit exceeded for ${name}; retry after ${Math.ceil(waitMs / 1_000)}s`, {
    details: { method: name, limit: `${calls} per ${windowSeconds}s` },
    retryAfterMs: waitMs,
  });
}

function handle(handlers: Handlers, name: MethodName, context: Context, params: unknown): Promise<unknown> {
  // The parameters were parsed with this method's own schema: the pair is right by construction, but not to the type system.
  const handler = handlers[name] as (context: Context, params: unknown) => Promise<unknown>;
  return handler(context, params);
}

function toProtocolError(error: unknown, deps: DispatchDeps, call: { principal: Principal; name: string }): ProtocolError {
  if (error instanceof ProtocolError) return error;
  const errorId = deps.ids.next("err");
  deps.log.error({ err: error, errorId, method: call.name, principal: call.principal.id }, "request failed unexpectedly");
  return new ProtocolError("INTERNAL", `internal error ${errorId}`, {
    details: { errorId },
    remedy: "look for the error id in the gateway's log",
    cause: error,
  });
}

function ignore(): void {}
