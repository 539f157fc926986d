/**
 * Who acts, and with what. The only module that can make a Principal: every other one receives it.
 * Authority only ever shrinks on the way: the lattice's `attenuate` is the one function that derives one from another.
 */
import {
  agentOfSessionKey,
  covers,
  meet as meetScopes,
  normaliseScopes,
  type CallerRole,
  type MethodDefinition,
} from "@portreeve/protocol";
import {
  attenuate,
  covers as coversAuthority,
  type Authority,
  coversLimits,
  type Limits,
  meetLimits,
  nothing,
  unlimited,
} from "./lattice.ts";

declare const brand: unique symbol;
type Branded<T> = T & { readonly [brand]: true };

/** A paired device's connection. `role` node holds no operator scopes. */
export type DevicePrincipal = Branded<{
  readonly kind: "device";
  readonly id: string;
  readonly deviceId: string;
  readonly role: "operator" | "node";
  readonly scopes: readonly string[];
  /** Its own token let it in, not the gateway's secret: without admin it manages no device but itself. */
  readonly viaDeviceToken: boolean;
}>;
/** Whoever holds the shared secret, without a device. */
export type SecretPrincipal = Branded<{ readonly kind: "secret"; readonly id: string; readonly scopes: readonly string[] }>;
/** A run acting through its tools. */
export type RunPrincipal = Branded<
  { readonly kind: "run"; readonly id: string } & RunAuthority & {
      readonly runId: string;
      readonly sessionKey: string;
      readonly rootSessionKey: string;
    }
>;
/** One child session's bookkeeping: a capability for named methods on that key, not a set of scopes. */
export type LifecyclePrincipal = Branded<{
  readonly kind: "lifecycle";
  readonly id: string;
  readonly sessionKey: string;
  readonly methods: readonly string[];
  readonly scopes: readonly [];
}>;

export type Principal = DevicePrincipal | SecretPrincipal | RunPrincipal | LifecyclePrincipal;

/** What a run may do; stored with it, read back after a restart. */
export interface RunAuthority extends StoredLimits {
  readonly scopes: readonly string[];
  /** Whether a person with `operator.admin` started the run directly: opens owner-only tools. Never true below depth 0. */
  readonly owner: boolean;
  readonly depth: number;
}

/** What limits a run or a session further; left out where nothing does. */
export interface StoredLimits {
  readonly limits?: Limits;
  /** Agents whose tool policies hold for it beside its own agent's: those of the runs above it. */
  readonly policyOf?: readonly string[];
}

/** The least a run needs: its tools call methods of this scope and below, and no more, whoever started it. */
export const runScopes: readonly string[] = ["operator.write"];

export function devicePrincipal(device: {
  deviceId: string;
  role: "operator" | "node";
  scopes: readonly string[];
  viaDeviceToken?: boolean;
}): DevicePrincipal {
  return seal({
    kind: "device",
    id: `device:${device.deviceId}`,
    deviceId: device.deviceId,
    role: device.role,
    scopes: normaliseScopes(device.scopes),
    viaDeviceToken: device.viaDeviceToken ?? true,
  });
}

export function secretPrincipal(scopes: readonly string[]): SecretPrincipal {
  return seal({ kind: "secret", id: "secret:local", scopes: normaliseScopes(scopes) });
}

/** The principal of an admitted run, from its stored authority. */
export function runPrincipal(run: { runId: string; sessionKey: string; rootSessionKey: string; authority: RunAuthority }): RunPrincipal {
  const { scopes, owner, depth, ...limits } = run.authority;
  return seal({
    kind: "run",
    id: `run:${run.runId}`,
    runId: run.runId,
    sessionKey: run.sessionKey,
    rootSessionKey: run.rootSessionKey,
    scopes,
    owner: owner && depth === 0,
    depth,
    ...limits,
  });
}

/** The run behind a principal's id, or undefined when it is no run's. */
export function runIdOf(principalId: string): string | undefined {
  return principalId.startsWith("run:") ? principalId.slice("run:".length) : undefined;
}

/** The capability to delete one finished child's session. */
export function lifecyclePrincipal(sessionKey: string): LifecyclePrincipal {
  return seal({ kind: "lifecycle", id: `lifecycle:${sessionKey}`, sessionKey, methods: ["sessions.delete"], scopes: [] });
}

/** All that a principal may do or hand on. */
export function authorityOf(principal: Principal): Authority {
  if (principal.kind === "lifecycle") return nothing;
  const { scopes } = principal;
  if (principal.kind === "run") return toAuthority(principal);
  if (roleOf(principal) === "node") return { ...unlimited, scopes, roles: ["node"], owner: false, depth: 0 };
  return { ...unlimited, scopes, roles: ["operator", "run"], owner: covers(scopes, "operator.admin"), depth: 0 };
}

/** The authority of a run that `starter` starts: at most `runScopes`, and owner only for a person with admin. */
export function authorityToStart(starter: Principal): RunAuthority {
  // A run of the owner's acts for them, but is no person: what it starts was not started by one directly.
  const authority = attenuate(authorityOf(starter), { ...launch, owner: starter.kind !== "run", depth: depthOf(starter) });
  return toRun(authority, policyOf(starter));
}

/** What a job of `creator` may do when its time comes, never as the owner: nobody starts it directly. `tools` narrows it. */
export function authorityOfJob(creator: Principal, tools: Limits["tools"] = "all"): RunAuthority {
  const authority = attenuate(authorityOf(creator), { ...launch, tools, owner: false, depth: depthOf(creator) });
  return toRun(authority, policyOf(creator));
}

/** A run's authority within what whoever it acts for holds at this moment. */
export function withinScopes(run: RunAuthority, held: readonly string[]): RunAuthority {
  return { ...run, scopes: meetScopes(run.scopes, held) };
}

/**
 * The authority of a child of `parent`, one level below: the launch is least privilege, whatever the parent holds. `ask`
 * narrows it further; what it leaves out is as the parent's. `agents`: whose policies hold beside those of the parent.
 */
export function authorityOfChild(parent: Principal, ask: Partial<Limits> = {}, agents: readonly string[] = []): RunAuthority {
  return toRun(attenuate(authorityOf(parent), { ...launch, ...ask, depth: depthOf(parent) + 1 }), [...policyOf(parent), ...agents]);
}

/** A run's authority within what its session is limited to: whoever starts it, a session that was narrowed stays so. */
export function withinSession<R extends StoredLimits>(run: R, session: StoredLimits): Omit<R, keyof StoredLimits> & StoredLimits {
  const { limits = unlimited, policyOf: agents = [], ...rest } = run;
  return { ...rest, ...toStored(meetLimits(limits, session.limits ?? unlimited), [...agents, ...(session.policyOf ?? [])]) };
}

/** Whether a run with `have` may do all that one with `need` may: then its message may be taken into that one's turn. */
export function mayActAs(have: RunAuthority, need: RunAuthority): boolean {
  // Each policy narrows: whoever is under one that the other is not under may less.
  const isUnderNoOther = (have.policyOf ?? []).every((agent) => need.policyOf?.includes(agent));
  return isUnderNoOther && coversAuthority(toAuthority(have), toAuthority(need));
}

/** The scopes of `ask` that `principal` can hand on: to a device, an invitation, one call of its own. */
export function attenuateScopes(principal: Principal, ask: readonly string[]): readonly string[] {
  return attenuate(authorityOf(principal), { scopes: ask }).scopes;
}

/** The same principal, narrowed to exactly `scopes` for one call. */
export function narrowed<P extends Principal>(principal: P, scopes: readonly string[]): P {
  return principal.kind === "lifecycle" ? principal : { ...principal, scopes: attenuateScopes(principal, scopes) };
}

export type Permission =
  | { readonly kind: "permitted" }
  | { readonly kind: "wrong-caller"; readonly role: string }
  | { readonly kind: "missing-scope"; readonly scope: string };

/**
 * Whether `principal` may call the method: the one authorisation rule of every door.
 * `params` are the parsed parameters, or undefined when they did not parse (or were not looked at yet).
 */
export function permits(principal: Principal, name: string, definition: MethodDefinition, params: unknown): Permission {
  if (principal.kind === "lifecycle") {
    const isItsOwn = principal.methods.includes(name) && hasKey(params, principal.sessionKey);
    return isItsOwn ? { kind: "permitted" } : { kind: "wrong-caller", role: "lifecycle" };
  }
  const role = roleOf(principal);
  if (!definition.callers.includes(role)) return { kind: "wrong-caller", role };
  const { scope } = definition;
  if (scope === "none") return { kind: "permitted" };
  const needed = typeof scope === "string" ? scope : params === undefined ? scope.malformed : scope.byParams(params);
  return covers(principal.scopes, needed) ? { kind: "permitted" } : { kind: "missing-scope", scope: needed };
}

/** The session tree a principal's view is limited to; undefined: it sees every session. */
export function treeOf(principal: Principal): string | undefined {
  return principal.kind === "run" ? principal.rootSessionKey : undefined;
}

/** Which sessions agents see: their own, the part of their conversation's tree around it, their agent's, or every one. */
export type Visibility = "self" | "tree" | "agent" | "all";

/** The sessions that `principal` may see: every field that is set must fit. Operators see all. */
export interface SessionView {
  readonly key?: string | undefined;
  readonly rootKey?: string | undefined;
  /** That session, all below it, and what is above it as long as it is of the same agent. */
  readonly around?: string | undefined;
  readonly agentId?: string | undefined;
}

export function sessionViewOf(principal: Principal, visibility: Visibility): SessionView {
  if (principal.kind !== "run") return {};
  const { sessionKey: key, rootSessionKey: rootKey } = principal;
  const views: Readonly<Record<Visibility, SessionView>> = {
    self: { key },
    // What another agent said above is not for this one: it was told its task. At the top that is the whole tree.
    tree: key === rootKey ? { rootKey } : { around: key },
    agent: { agentId: agentOfSessionKey(key) ?? key },
    all: {},
  };
  return views[visibility];
}

function roleOf(principal: DevicePrincipal | SecretPrincipal | RunPrincipal): CallerRole {
  if (principal.kind === "run") return "run";
  return principal.kind === "device" ? principal.role : "operator";
}

function toAuthority({ scopes, owner, depth, limits = unlimited }: RunAuthority): Authority {
  return { ...limits, scopes, roles: ["run"], owner, depth };
}

/** What a launch asks for, whoever it is for. */
const launch = { ...unlimited, scopes: runScopes, roles: ["run"] } as const satisfies Partial<Authority>;

/** Whoever may not act as a run, as a node may not, starts one that holds nothing. */
function toRun({ scopes, roles, owner, depth, ...limits }: Authority, agents: readonly string[]): RunAuthority {
  return { scopes: roles.includes("run") ? scopes : [], owner, depth: depth === "none" ? 0 : depth, ...toStored(limits, agents) };
}

function toStored(limits: Limits, agents: readonly string[]): StoredLimits {
  return {
    ...(coversLimits(limits, unlimited) ? {} : { limits }),
    ...(agents.length === 0 ? {} : { policyOf: [...new Set(agents)].sort() }),
  };
}

function policyOf(principal: Principal): readonly string[] {
  return (principal.kind === "run" ? principal.policyOf : undefined) ?? [];
}

function depthOf(principal: Principal): number {
  return principal.kind === "run" ? principal.depth : 0;
}

function hasKey(params: unknown, key: string): boolean {
  return typeof params === "object" && params !== null && "key" in params && params.key === key;
}

function seal<P extends Principal>(principal: Omit<P, typeof brand>): P {
  // The brand exists in the type system alone: this module is the one place that may claim it.
  return Object.freeze(principal) as unknown as P;
}
