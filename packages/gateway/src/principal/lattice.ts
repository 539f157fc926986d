/**
 * Authority as a lattice: what may be done, ordered in every dimension at once. Pure and total. All authority that is
 * handed on goes through `attenuate`, which can only lose. Each dimension has a word for everything and one for nothing;
 * what an ask leaves out is nothing, never the parent's.
 *
 * `scopes`, `owner` and `depth` are stored with every run; `tools`, `sandbox`, `budget` and `deadline` with a run that is
 * limited in them (`Limits`).
 */
import { type CallerRole, coversAll, meet as meetScopes } from "@portreeve/protocol";

/** A set of names: every one, also those that come later, or exactly these. */
export type Names<N extends string = string> = "all" | readonly N[];

/** An upper bound: no bound at all, or at most this much. Whatever is no number from 0 on counts as 0. */
export type Bound = "unlimited" | number;

/** What may be spent: each counts down to 0. */
export interface Budget {
  readonly tokens: Bound;
  readonly usd: Bound;
  readonly turns: Bound;
  readonly wallMs: Bound;
}

export interface Authority {
  /** What the method table asks for. Empty: nothing but methods without a scope. */
  readonly scopes: readonly string[];
  /** As whom it may act. A person may act through a run of theirs; a run never as a person. */
  readonly roles: Names<CallerRole>;
  /** Opens owner-only tools. Holds at depth 0 alone. */
  readonly owner: boolean;
  readonly tools: Names;
  /** `confined`: only inside a sandbox. */
  readonly sandbox: "unconfined" | "confined";
  readonly budget: Budget;
  /** How far below the conversation it stands: deeper is less. `none` stands nowhere, and so can start nothing. */
  readonly depth: number | "none";
  /** When it ends, in milliseconds of the clock; 0: it has. */
  readonly deadline: Bound;
}

/** The dimensions in which a run may be limited, beside what it may ask of the gateway. */
export type Limits = Pick<Authority, "tools" | "sandbox" | "budget" | "deadline">;

/** The least authority. */
export const nothing: Authority = {
  scopes: [],
  roles: [],
  owner: false,
  tools: [],
  sandbox: "confined",
  budget: { tokens: 0, usd: 0, turns: 0, wallMs: 0 },
  depth: "none",
  deadline: 0,
};

/** No limit in any of those dimensions. */
export const unlimited: Limits = {
  tools: "all",
  sandbox: "unconfined",
  budget: { tokens: "unlimited", usd: "unlimited", turns: "unlimited", wallMs: "unlimited" },
  deadline: "unlimited",
};

/** Whether `have` permits all that `need` does. */
export function covers(have: Authority, need: Authority): boolean {
  return (
    coversAll(have.scopes, need.scopes) &&
    coversNames(have.roles, need.roles) &&
    (isOwner(have) || !isOwner(need)) &&
    toDepth(have.depth) <= toDepth(need.depth) &&
    coversLimits(have, need)
  );
}

/** Whether `have` limits no more than `need` does. */
export function coversLimits(have: Limits, need: Limits): boolean {
  return (
    coversNames(have.tools, need.tools) &&
    (have.sandbox === "unconfined" || need.sandbox === "confined") &&
    budgetKeys.every((key) => toNumber(have.budget[key]) >= toNumber(need.budget[key])) &&
    toNumber(have.deadline) >= toNumber(need.deadline)
  );
}

/** The most that both permit. */
export function meet(a: Authority, b: Authority): Authority {
  const depth = Math.max(toDepth(a.depth), toDepth(b.depth));
  return {
    scopes: meetScopes(a.scopes, b.scopes),
    roles: meetNames(a.roles, b.roles),
    owner: isOwner(a) && isOwner(b),
    depth: depth === Infinity ? "none" : depth,
    ...meetLimits(a, b),
  };
}

/** The most that both limits leave. */
export function meetLimits(a: Limits, b: Limits): Limits {
  return {
    tools: meetNames(a.tools, b.tools),
    sandbox: a.sandbox === "unconfined" && b.sandbox === "unconfined" ? "unconfined" : "confined",
    budget: {
      tokens: meetBounds(a.budget.tokens, b.budget.tokens),
      usd: meetBounds(a.budget.usd, b.budget.usd),
      turns: meetBounds(a.budget.turns, b.budget.turns),
      wallMs: meetBounds(a.budget.wallMs, b.budget.wallMs),
    },
    deadline: meetBounds(a.deadline, b.deadline),
  };
}

/** What `parent` hands on of `ask`: never more than either. A dimension that is not asked for is not given. */
export function attenuate(parent: Authority, ask: Partial<Authority>): Authority {
  return meet(parent, { ...nothing, ...ask });
}

const budgetKeys = ["tokens", "usd", "turns", "wallMs"] as const satisfies readonly (keyof Budget)[];

function isOwner({ owner, depth }: Authority): boolean {
  return owner && depth === 0;
}

function coversNames(have: Names, need: Names): boolean {
  return have === "all" || (need !== "all" && need.every((name) => have.includes(name)));
}

function meetNames<N extends string>(a: Names<N>, b: Names<N>): Names<N> {
  if (a === "all") return b === "all" ? "all" : sorted(b);
  return b === "all" ? sorted(a) : sorted(a.filter((name) => b.includes(name)));
}

function sorted<N extends string>(names: readonly N[]): readonly N[] {
  return [...new Set(names)].sort();
}

function toNumber(bound: Bound): number {
  if (bound === "unlimited") return Infinity;
  return bound >= 0 ? bound : 0;
}

function meetBounds(a: Bound, b: Bound): Bound {
  const least = Math.min(toNumber(a), toNumber(b));
  return least === Infinity ? "unlimited" : least;
}

/** Whatever is no depth stands nowhere. */
function toDepth(depth: number | "none"): number {
  return depth === "none" || !(depth >= 0) ? Infinity : depth;
}
