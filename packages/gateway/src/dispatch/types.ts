/** What passes between a door, the dispatcher and a handler. */
import type { Accepted, MethodName, Params, PresenceEntry, ProtocolVersion, Result } from "@portreeve/protocol";
import type { Principal } from "../principal/principal.ts";

/** The connection a request came over, as far as a handler may know it. */
export interface ConnectionHandle {
  readonly connId: string;
  /** Declared capabilities such as `tool-events`: they choose what is sent, never what is allowed. */
  readonly caps: readonly string[];
  /** Hear `sessions.changed` from now on, or no more. */
  setSessionsSubscription(on: boolean): void;
  /** Hear `session.message` of this session from now on, or no more. Answers false when it hears as many as it may. */
  setMessagesSubscription(sessionKey: string, on: boolean): boolean;
  /** This connection started the run: tool events of it come here. */
  followRun(wireId: string): void;
}

export interface Context<A = unknown> {
  readonly principal: Principal;
  /** Undefined for calls from inside. */
  readonly connection: ConnectionHandle | undefined;
  /** Aborts when nobody waits for the answer any more. Work that was acknowledged goes on. */
  readonly signal: AbortSignal;
  /** Sends the first of two answers. */
  readonly accept: (accepted: A) => void;
}

/** What a caller says of itself in presence. */
export type PresenceNote = Params<"system-event">;

/** Who is here, as methods see it. */
export interface PresenceBoard {
  list(): readonly PresenceEntry[];
  say(principal: Principal, note: PresenceNote): void;
}

/** Somebody was told no. None of the three is text that a caller chose freely. */
export interface Refusal {
  readonly principal: string;
  readonly method: string;
  /** The error code, or it and its reason. */
  readonly rule: string;
}

/** Counts a refusal. Returns at once, never throws: whoever refuses does not wait for the count. */
export type CountRefusal = (refusal: Refusal) => void;

/** Every method has exactly one handler; a missing or extra one does not compile. */
export type Handlers = { readonly [N in MethodName]: (context: Context<Accepted<N>>, params: Params<N>) => Promise<Result<N>> };

/** One request through the policy table: finds, parses, authorises, handles. Rejects with a ProtocolError only. */
export interface Dispatch {
  (
    principal: Principal,
    name: string,
    params: unknown,
    options: {
      /** Of the connection; whoever calls from inside or over HTTP speaks the newest. */
      readonly version?: ProtocolVersion | undefined;
      readonly connection?: ConnectionHandle | undefined;
      readonly signal: AbortSignal;
      readonly accept?: ((accepted: unknown) => void) | undefined;
    },
  ): Promise<unknown>;
}
