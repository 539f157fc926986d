/** Runs by the rules alone: who may start, spawn, steer and stop them, what ends them, and what goes with whom. */
import { methods } from "@portreeve/protocol";
import { type Limits, unlimited } from "../../packages/gateway/src/principal/lattice.ts";
import {
  authorityOfChild,
  authorityToStart,
  permits,
  type Principal,
  type RunAuthority,
  type RunPrincipal,
  runPrincipal,
  type StoredLimits,
  withinSession,
} from "../../packages/gateway/src/principal/principal.ts";
import type { Settings } from "./actions.ts";
import type { StartedRun, Steered, World } from "./world.ts";

/** Of sub-agents: low, so that plays reach it. */
export const maxDepth = 2;

/** All there are. */
export const toolNames: readonly string[] = ["ls", "read"];

interface Run {
  readonly runId: string;
  readonly sessionKey: string;
  readonly parent: Run | undefined;
  /** The principal, no run, that it goes back to. */
  readonly starter: string;
  readonly authority: RunAuthority;
  readonly isSteering: boolean;
  readonly createdAtMs: number;
  readonly timeoutMs: number | undefined;
  startedAtMs: number | undefined;
  deadlineAtMs: number | undefined;
  state: "queued" | "running" | "over";
}

interface Session {
  readonly key: string;
  readonly parent: Session | undefined;
  readonly rootKey: string;
  readonly depth: number;
  readonly limits: StoredLimits;
}

/** What a run may be started with, beside who it is. */
type Beginning = Pick<Run, "parent" | "starter" | "authority" | "timeoutMs" | "deadlineAtMs"> & { readonly isSteering?: boolean };

export class ModelRuns {
  readonly #now: () => number;
  readonly #settings: () => Settings;
  readonly #runs: Run[] = [];
  readonly #sessions = new Map<string, Session>();

  constructor(now: () => number, settings: () => Settings) {
    this.#now = now;
    this.#settings = settings;
  }

  toolsOf({ authority }: Pick<StartedRun, "authority">): readonly string[] {
    return toolNames.filter((name) => hasTool(authority, name, this.#settings()));
  }

  start(by: Principal, { inSessionOf, seconds }: Parameters<World["start"]>[1]): StartedRun | undefined {
    if (!may(by, "agent")) return undefined;
    const session = this.#sessions.get(inSessionOf?.sessionKey ?? "") ?? this.#openSession(undefined, {});
    return this.#toStarted(this.#say(by, session, { timeoutMs: toMs(seconds) }));
  }

  spawn(by: RunPrincipal, { isNarrowed, seconds }: Parameters<World["spawn"]>[1]): StartedRun | undefined {
    const [parent, session] = [this.#find(by), this.#sessions.get(by.sessionKey)];
    if (!may(by, "subagents.spawn") || parent?.state !== "running" || session === undefined) return undefined;
    const held = runPrincipal({ ...parent, rootSessionKey: session.rootKey, authority: untilItsDeadline(parent) });
    const most = authorityOfChild(held, {}, ["main"]);
    if (most.depth > maxDepth || (isNarrowed && !this.toolsOf({ authority: most }).includes("read"))) return undefined;
    const children = this.#runs.filter((run) => run.state !== "over" && run.parent?.sessionKey === session.key);
    if (children.length >= this.#settings().maxChildren) return undefined;
    const authority = isNarrowed ? authorityOfChild(held, { tools: ["read"] }, ["main"]) : most;
    const { limits: { tools, deadline } = unlimited, policyOf = [] } = authority;
    const child = this.#openSession(session, { ...(tools === "all" ? {} : { limits: { ...unlimited, tools } }), policyOf });
    const deadlineAtMs = deadline === "unlimited" ? undefined : deadline;
    const run = this.#begin(child, { parent, starter: parent.starter, authority, timeoutMs: toMs(seconds), deadlineAtMs });
    return this.#toStarted(run);
  }

  steer(by: Principal, { sessionKey }: RunPrincipal): Steered | undefined {
    const session = this.#sessions.get(sessionKey);
    if (session === undefined || !may(by, by.kind === "run" ? "subagents.steer" : "sessions.steer")) return undefined;
    // A run speaks to what its session delegated, and only while it goes on.
    if (by.kind === "run" && (this.#find(by)?.state === "over" || !isBelow(session, by.sessionKey))) return undefined;
    const message = this.#toStarted(this.#say(by, session, { isSteering: true }));
    return { message, ...takeIn(this.#runs.filter((run) => run.sessionKey === sessionKey)) };
  }

  abort(by: Principal, { sessionKey }: RunPrincipal): number | undefined {
    return may(by, "chat.abort") ? end(inSessionAndBelow(this.#runs, sessionKey)).length : undefined;
  }

  /** Answers how many runs that cancels. */
  cancelOf(starter: string): number {
    return end(this.#runs.filter((run) => run.starter === starter)).length;
  }

  /** Ends what is due. */
  expire(): readonly string[] {
    return end(this.#runs.filter((run) => (run.deadlineAtMs ?? Infinity) <= this.#now())).map(({ runId }) => runId);
  }

  /** Of runs that have a deadline and go on: when each began, if it has, and ends. */
  timed(): readonly { readonly startedAtMs: number | undefined; readonly deadlineAtMs: number }[] {
    return this.#runs.flatMap(({ state, startedAtMs, deadlineAtMs }) =>
      state === "over" || deadlineAtMs === undefined ? [] : [{ startedAtMs, deadlineAtMs }],
    );
  }

  /** A message: its sender's authority within what the session is limited to, for no longer than a run that sends it. */
  #say(by: Principal, session: Session, more: Partial<Pick<Run, "timeoutMs" | "isSteering">>): Run {
    const [authority, sender] = [authorityToStart(by), this.#find(by)];
    const depth = Math.max(authority.depth, session.depth);
    const within = withinSession({ ...authority, depth, owner: authority.owner && depth === 0 }, session.limits);
    const { deadline = "unlimited" } = within.limits ?? {};
    const deadlineAtMs = least(sender?.deadlineAtMs, deadline === "unlimited" ? undefined : deadline);
    const starter = sender?.starter ?? by.id;
    return this.#begin(session, { parent: undefined, starter, authority: within, deadlineAtMs, timeoutMs: undefined, ...more });
  }

  #begin(session: Session, beginning: Beginning): Run {
    const id = { runId: `run_${this.#runs.length + 1}`, sessionKey: session.key };
    const added: Run = { isSteering: false, ...beginning, ...id, createdAtMs: this.#now(), startedAtMs: undefined, state: "queued" };
    this.#runs.push(added);
    claim(this.#runs, this.#now());
    return added;
  }

  #find(by: Principal): Run | undefined {
    return by.kind === "run" ? this.#runs.find(({ runId }) => runId === by.runId) : undefined;
  }

  #openSession(parent: Session | undefined, limits: StoredLimits): Session {
    const key = `session ${this.#sessions.size + 1}`;
    const session = { key, parent, rootKey: parent?.rootKey ?? key, depth: parent === undefined ? 0 : parent.depth + 1, limits };
    this.#sessions.set(key, session);
    return session;
  }

  #toStarted({ runId, sessionKey, authority }: Run): StartedRun {
    const rootSessionKey = this.#sessions.get(sessionKey)?.rootKey ?? "";
    return { authority, principal: runPrincipal({ runId, sessionKey, rootSessionKey, authority }) };
  }
}

/** The run that works takes in every message whose sender could have done all that it may do. */
function takeIn(inSession: readonly Run[]): Omit<Steered, "message"> {
  const working = inSession.find(({ state }) => state === "running");
  const heard = inSession.filter((run) => run.state === "queued" && run.isSteering && working !== undefined && maySteer(run, working));
  return { into: working?.runId, takenIn: end(heard).map(({ runId }) => runId) };
}

/** The rule of steering, written a second time. */
function maySteer({ authority: message }: Run, { authority: working }: Run): boolean {
  const [have, need]: readonly Limits[] = [message.limits ?? unlimited, working.limits ?? unlimited];
  if (have === undefined || need === undefined) return false;
  const hasScopes = working.scopes.every((scope) => message.scopes.includes(scope));
  const hasTools = have.tools === "all" || (need.tools !== "all" && need.tools.every((name) => have.tools.includes(name)));
  const lasts = have.deadline === "unlimited" || (need.deadline !== "unlimited" && have.deadline >= need.deadline);
  const isFree = (message.policyOf ?? []).every((agent) => working.policyOf?.includes(agent) === true);
  return hasScopes && (message.owner || !working.owner) && message.depth <= working.depth && hasTools && lasts && isFree;
}

/** The oldest of a session runs; those that came later wait for it, and spawn nothing. */
function claim(runs: readonly Run[], nowMs: number): void {
  for (const run of runs.toSorted((a, b) => a.createdAtMs - b.createdAtMs)) {
    const isFree = !runs.some(({ sessionKey, state }) => sessionKey === run.sessionKey && state === "running");
    if (run.state !== "queued" || !isFree) continue;
    const own = run.timeoutMs === undefined ? undefined : nowMs + run.timeoutMs;
    Object.assign(run, { state: "running", startedAtMs: nowMs, deadlineAtMs: least(run.deadlineAtMs, own) });
  }
}

/** Answers those that had not ended. */
function end(some: readonly Run[]): readonly Run[] {
  const open = some.filter(({ state }) => state !== "over");
  for (const run of open) run.state = "over";
  return open;
}

/** Everything in the session, what was spawned in it, and everything in the sessions of that. */
function inSessionAndBelow(runs: readonly Run[], sessionKey: string): readonly Run[] {
  const all = new Set(runs.filter((run) => run.sessionKey === sessionKey));
  for (let before = -1; before !== all.size;) {
    before = all.size;
    const keys = new Set([...all].map((run) => run.sessionKey));
    for (const run of runs) if (keys.has(run.sessionKey) || keys.has(run.parent?.sessionKey ?? "")) all.add(run);
  }
  return [...all];
}

function isBelow({ parent }: Session, topKey: string): boolean {
  return parent !== undefined && (parent.key === topKey || isBelow(parent, topKey));
}

function hasTool({ limits = unlimited }: RunAuthority, name: string, { deniesRead }: Settings): boolean {
  return (limits.tools === "all" || limits.tools.includes(name)) && !(deniesRead && name === "read");
}

function untilItsDeadline({ authority, deadlineAtMs }: Run): RunAuthority {
  return deadlineAtMs === undefined ? authority : { ...authority, limits: { ...(authority.limits ?? unlimited), deadline: deadlineAtMs } };
}

function least(...some: readonly (number | undefined)[]): number | undefined {
  const all = some.filter((one) => one !== undefined);
  return all.length === 0 ? undefined : Math.min(...all);
}

function toMs(seconds: number | undefined): number | undefined {
  return seconds === undefined ? undefined : seconds * 1_000;
}

type Asked = "agent" | "subagents.spawn" | "subagents.steer" | "sessions.steer" | "chat.abort";

function may(principal: Principal, name: Asked): boolean {
  return permits(principal, name, methods[name], {}).kind === "permitted";
}
