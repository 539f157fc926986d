/**
 * Plays actions in a world and judges every outcome from the outside: what was asked, what was approved by whom, and what
 * came of it. It knows nothing of how the world decides.
 */
import assert from "node:assert/strict";
import { coversAll, limits, methods, normaliseScopes } from "@portreeve/protocol";
import {
  authorityOf,
  permits,
  type Principal,
  type RunAuthority,
  type RunPrincipal,
} from "../../packages/gateway/src/principal/principal.ts";
import { covers } from "../../packages/gateway/src/principal/lattice.ts";
import { type Action, type ConnectAsk, type Kind, toAction } from "./actions.ts";

export interface Request {
  readonly requestId: string;
  readonly device: number;
  readonly roles: readonly string[];
  readonly scopes: readonly string[];
}

export type Verdict =
  | { readonly kind: "admitted"; readonly principal: Principal }
  | { readonly kind: "pending"; readonly request: Request }
  | { readonly kind: "refused" };

export interface StartedRun {
  readonly principal: RunPrincipal;
  readonly authority: RunAuthority;
}

type Answer<T> = T | Promise<T>;

export interface World {
  connect(ask: ConnectAsk): Answer<Verdict>;
  approve(requestId: string, by: Principal): Answer<boolean>;
  reject(requestId: string, by: Principal): Answer<boolean>;
  /** In the session of `inSessionOf`, which may be a child's, else in a new one. Undefined: refused. */
  start(by: Principal, inSessionOf: RunPrincipal | undefined): Answer<StartedRun | undefined>;
  spawn(by: RunPrincipal): Answer<StartedRun | undefined>;
  restart(): Answer<void>;
  configure(autoApproveLocal: boolean): Answer<void>;
  wait(ms: number): Answer<void>;
  /** What stands written: of every paired device its roles with their scopes. */
  grants(): Answer<readonly { readonly device: number; readonly role: string; readonly scopes: readonly string[] }[]>;
}

/** How often each thing came to pass: a run of the test in which something never did has shown nothing of it. */
export type Tally = Map<string, number>;

/** Answers what came to pass, and what devices hold at the end. */
export async function play(world: World, codes: readonly number[], tally: Tally): Promise<readonly string[]> {
  const judge = new Judge(world, tally);
  for (const code of codes) await judge.step(toAction(code));
  return judge.story;
}

class Judge {
  readonly #world: World;
  readonly #tally: Tally;
  readonly #admitted: Principal[] = [];
  readonly #runs: StartedRun[] = [];
  readonly #requests: Request[] = [];
  readonly #approved = new Set<string>();
  /** By `device role`: everything that somebody who held it gave, or a first silent pairing. */
  readonly #given = new Map<string, readonly string[]>();
  /** Devices that were given something or rejected: never silent again. */
  readonly #known = new Set<number>();
  /** Until when a device's request waits, which no local attempt launders. */
  readonly #waitsUntil = new Map<number, number>();
  #nowMs = 0;
  #written = "[]";
  readonly #happened: string[] = [];
  #autoApproveLocal = true;

  constructor(world: World, tally: Tally) {
    this.#world = world;
    this.#tally = tally;
  }

  get story(): readonly string[] {
    return [...this.#happened, this.#written];
  }

  async step(action: Action): Promise<void> {
    const mayChange = await this.#act(action);
    const grants = await this.#world.grants();
    const written = JSON.stringify(grants);
    if (!mayChange) assert.equal(written, this.#written, `${action.kind} changed what devices hold`);
    if (written === this.#written) return;
    this.#written = written;
    for (const { device, role, scopes } of grants) {
      const given = this.#given.get(`${device} ${role}`);
      assert.ok(given !== undefined, `device ${device} has the role ${role}, which nobody gave it`);
      assert.ok(coversAll(given, scopes), `device ${device} holds ${scopes.join(" ")}; given was ${given.join(" ")}`);
    }
  }

  /** Answers whether what devices hold may be another now. */
  async #act(action: Action): Promise<boolean> {
    switch (action.kind) {
      case "connect":
        return this.#connect(action.ask);
      case "approve":
        return this.#approve(action);
      case "reject":
        return this.#reject(action);
      case "start":
        return this.#start(action);
      case "spawn":
        return this.#spawn(action.by);
      case "restart":
        await this.#world.restart();
        return this.#count("restart");
      case "configure":
        this.#autoApproveLocal = action.autoApproveLocal;
        await this.#world.configure(action.autoApproveLocal);
        return this.#count("configure");
      case "wait":
        this.#nowMs += action.ms;
        await this.#world.wait(action.ms);
        return this.#count("wait");
    }
  }

  async #connect(ask: ConnectAsk): Promise<boolean> {
    const { device, role, peer, credential } = ask;
    const isFirst = device !== undefined && !this.#known.has(device) && (this.#waitsUntil.get(device) ?? 0) <= this.#nowMs;
    const maySilently = isFirst && credential === "secret" && peer !== "remote" && this.#autoApproveLocal;
    const verdict = await this.#world.connect(ask);
    if (verdict.kind === "pending") {
      this.#waitsUntil.set(verdict.request.device, this.#nowMs + limits.pairingRequestTtlMs);
      assert.ok(credential !== "wrong", "without a credential nobody is heard");
      if (!this.#requests.some((request) => request.requestId === verdict.request.requestId)) this.#requests.push(verdict.request);
      return this.#count("connect: pending");
    }
    if (verdict.kind === "refused") return this.#count("connect: refused");

    const { principal } = verdict;
    assert.notEqual(credential, "wrong");
    const asked = normaliseScopes(ask.scopes);
    assert.ok(
      principal.scopes.every((scope) => asked.includes(scope)),
      "more was given than asked",
    );
    assert.deepEqual(authorityOf(principal).roles, role === "node" ? ["node"] : ["operator", "run"]);
    this.#admitted.push(principal);
    if (device === undefined) {
      assert.equal(principal.kind, "secret");
      assert.ok(principal.scopes.length === 0 || (peer === "local" && credential === "secret"), "scopes from afar without a device");
      return this.#count("connect: without a device");
    }
    const given = this.#given.get(`${device} ${role}`);
    if (given === undefined) {
      assert.ok(maySilently, `device ${device} was let in as ${role}, and nobody approved it`);
      this.#given.set(`${device} ${role}`, role === "node" ? [] : asked);
      this.#known.add(device);
      return !this.#count("connect: paired silently");
    }
    assert.ok(coversAll(given, principal.scopes), `device ${device} was let in with more than it was given`);
    return this.#count(`connect: by ${credential}`);
  }

  async #approve({ by, request: which }: Extract<Action, { kind: "approve" | "reject" }>): Promise<boolean> {
    const [approver, request] = [at(this.#admitted, by), at(this.#requests, which)];
    if (approver === undefined || request === undefined) return false;
    if (!(await this.#world.approve(request.requestId, approver))) return this.#count("approve: refused");
    // Asked again of what is approved, the answer is the same and nothing changes, whoever asks.
    if (this.#approved.has(request.requestId)) return this.#count("approve: again");
    this.#approved.add(request.requestId);
    assert.equal(permits(approver, "device.pair.approve", methods["device.pair.approve"], {}).kind, "permitted");
    const needs = request.roles.some((role) => role !== "operator") ? [...request.scopes, "operator.admin"] : request.scopes;
    assert.ok(coversAll(approver.scopes, needs), `${approver.scopes.join(" ")} approved ${needs.join(" ")}`);
    this.#known.add(request.device);
    for (const role of request.roles) {
      const key = `${request.device} ${role}`;
      this.#given.set(key, role === "operator" ? [...(this.#given.get(key) ?? []), ...request.scopes] : []);
    }
    return !this.#count("approve: approved");
  }

  async #reject({ by, request: which }: Extract<Action, { kind: "approve" | "reject" }>): Promise<boolean> {
    const [rejecter, request] = [at(this.#admitted, by), at(this.#requests, which)];
    if (rejecter === undefined || request === undefined) return false;
    const isRejected = await this.#world.reject(request.requestId, rejecter);
    if (isRejected) this.#known.add(request.device);
    if (isRejected) assert.equal(permits(rejecter, "device.pair.reject", methods["device.pair.reject"], {}).kind, "permitted");
    return this.#count(isRejected ? "reject: rejected" : "reject: refused");
  }

  async #start({ by, session }: Extract<Action, { kind: "start" }>): Promise<boolean> {
    const starter = at([...this.#admitted, ...this.#runs.map((run) => run.principal)], by);
    if (starter === undefined) return false;
    const inSessionOf = session % 2 === 0 ? undefined : at(this.#runs, session)?.principal;
    const started = await this.#world.start(starter, inSessionOf);
    if (started === undefined) return this.#count("start: refused");
    this.#admit(starter, started);
    assert.notEqual(starter.kind, "run", "the table lets no run start another");
    assert.ok(started.authority.depth >= (inSessionOf?.depth ?? 0), "a run stands above its session");
    const isPerson = coversAll(starter.scopes, ["operator.admin"]);
    assert.ok(!started.authority.owner || isPerson, "the owner bit without a person who holds admin");
    return this.#count(
      started.authority.owner ? "start: as owner" : inSessionOf === undefined ? "start: by a person" : "start: in a session",
    );
  }

  async #spawn(by: number): Promise<boolean> {
    const parent = at(this.#runs, by);
    if (parent === undefined) return false;
    const child = await this.#world.spawn(parent.principal);
    if (child === undefined) return this.#count("spawn: refused");
    this.#admit(parent.principal, child);
    assert.equal(child.authority.owner, false);
    assert.ok(child.authority.depth > parent.authority.depth, "a child stands no deeper than its parent");
    return this.#count("spawn: accepted");
  }

  /** Every run: within its starter's, within what a launch may carry, owner at depth 0 alone. */
  #admit(starter: Principal, run: StartedRun): void {
    assert.ok(covers({ ...authorityOf(starter), roles: "all" }, authorityOf(run.principal)), "a run holds more than its starter");
    assert.ok(coversAll(["operator.write"], run.authority.scopes), `a launch carries ${run.authority.scopes.join(" ")}`);
    assert.ok(!run.principal.owner || run.authority.depth === 0);
    this.#runs.push(run);
  }

  /** Always false, for a step that changes nothing that devices hold. */
  #count(what: `${Kind}${string}`): false {
    this.#happened.push(what);
    this.#tally.set(what, (this.#tally.get(what) ?? 0) + 1);
    return false;
  }
}

function at<T>(list: readonly T[], index: number): T | undefined {
  return list.length === 0 ? undefined : list[index % list.length];
}

/** Everything that a long enough play brings about. */
export const happenings = [
  "approve: approved",
  "approve: refused",
  "configure",
  "connect: by device token",
  "connect: by secret",
  "connect: paired silently",
  "connect: pending",
  "connect: refused",
  "connect: without a device",
  "reject: refused",
  "reject: rejected",
  "restart",
  "spawn: accepted",
  "start: as owner",
  "start: by a person",
  "start: in a session",
  "start: refused",
  "wait",
] as const;
