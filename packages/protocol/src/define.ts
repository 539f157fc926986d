/** The two shapes everything else in this package is made of: a method and an event. */
import type { z } from "zod";
import type { ProtocolVersion } from "./errors.ts";

/** Who may ask at all. Scopes are checked after this; `run` is an agent's own run, which no socket can claim to be. */
export type CallerRole = "operator" | "node" | "run";

/** `control-write`: one caller may call it 30 times in a minute. */
export type RateClass = "unlimited" | "control-write";

/** A required scope that depends on the parameters. `malformed` decides while they do not parse. */
export interface ScopeByParams<P> {
  readonly byParams: (params: P) => string;
  readonly malformed: string;
  /** Every scope `byParams` can answer, for tables and documentation. */
  readonly oneOf: readonly string[];
}

export interface MethodDefinition<
  P extends z.ZodType = z.ZodType,
  R extends z.ZodType = z.ZodType,
  A extends z.ZodType | undefined = z.ZodType | undefined,
> {
  readonly summary: string;
  /** `none`: every connected caller of the right role. */
  readonly scope: string | "none" | ScopeByParams<z.output<P>>;
  /** A command changes something; a query never does. */
  readonly kind: "query" | "command";
  readonly params: P;
  readonly result: R;
  /** The first of two answers under one request id; the result is then the second. */
  readonly accepted: A;
  readonly callers: readonly CallerRole[];
  readonly rate: RateClass;
  /** Not listed in hello. */
  readonly hidden: boolean;
  /** The protocol versions that have it; for a connection of another one it is an unknown method. */
  readonly versions: readonly ProtocolVersion[];
  /** Fields of the reference's schema without effect on authority, delivery, cost or model: accepted, dropped. */
  readonly ignored: readonly string[];
  /** Fields of the reference's schema that would have such an effect: refused unless empty (`false`, `""`, `[]`, `null`). */
  readonly unsupported: readonly string[];
  /** Fields that are the gateway's to decide: refused by name, whatever they hold. */
  readonly refused: readonly string[];
}

/** Shapes are built when somebody first asks for them: a gateway that idles holds none of those that nobody has used. */
interface Shapes<P extends z.ZodType, R extends z.ZodType, A extends z.ZodType | undefined> {
  readonly params: () => P;
  readonly result: () => R;
  readonly accepted?: () => A;
}

type MethodInput<P extends z.ZodType, R extends z.ZodType, A extends z.ZodType | undefined> = Pick<
  MethodDefinition<P, R, A>,
  "summary" | "scope" | "kind"
> &
  Shapes<P, R, A> &
  Partial<Pick<MethodDefinition<P, R, A>, "callers" | "rate" | "hidden" | "versions" | "ignored" | "unsupported" | "refused">>;

/** Defines a method; what is left out gets the default that permits least or shows most. */
export function method<P extends z.ZodType, R extends z.ZodType, A extends z.ZodType | undefined = undefined>({
  params,
  result,
  accepted,
  ...facts
}: MethodInput<P, R, A>): MethodDefinition<P, R, A> {
  const [paramsOf, resultOf, acceptedOf] = [once(params), once(result), once(() => accepted?.() as A)];
  return {
    callers: ["operator", "run"],
    rate: "unlimited",
    hidden: false,
    versions: [3, 4],
    ignored: [],
    unsupported: [],
    refused: [],
    ...facts,
    get params() {
      return paramsOf();
    },
    get result() {
      return resultOf();
    },
    get accepted() {
      return acceptedOf();
    },
  };
}

export interface EventDefinition<P extends z.ZodType = z.ZodType> {
  readonly summary: string;
  /** Who hears it; `everyone` includes connections without a scope, `addressee` is sent to one connection and told to no other. */
  readonly scope: string | "everyone" | "addressee";
  /** Skipped for a connection that reads too slowly, instead of closing it. */
  readonly droppable: boolean;
  readonly payload: P;
}

type EventInput<P extends z.ZodType> = Omit<EventDefinition<P>, "payload"> & { readonly payload: () => P };

export function event<P extends z.ZodType>({ payload, ...facts }: EventInput<P>): EventDefinition<P> {
  const payloadOf = once(payload);
  return {
    ...facts,
    get payload() {
      return payloadOf();
    },
  };
}

/** What `make` answers; it is asked once, when somebody first wants to know. */
function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => (made ??= { value: make() }).value;
}
