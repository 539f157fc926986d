/** Calls from inside: the public methods, with an explicit principal instead of a socket. */
import type { Accepted, Caller, MethodName, Result } from "@portreeve/protocol";
import { narrowed, type Principal } from "../principal/principal.ts";
import type { Dispatch } from "./types.ts";

/** A caller that acts as `principal`: through the same policy table as every door. `scopes` can only narrow it. */
export function createCaller(dispatch: Dispatch, principal: Principal): Caller {
  return {
    async call<N extends MethodName>(
      name: N,
      params: unknown,
      options: { scopes?: readonly string[]; signal?: AbortSignal; onAccepted?: (accepted: Accepted<N>) => void } = {},
    ) {
      const acting = options.scopes === undefined ? principal : narrowed(principal, options.scopes);
      // Dispatch answers with the result of the handler of this very method.
      const accept = options.onAccepted as ((accepted: unknown) => void) | undefined;
      return (await dispatch(acting, name, params, { signal: options.signal ?? new AbortController().signal, accept })) as Result<N>;
    },
  };
}
