/**
 * Plays actions in a world and judges every outcome from the outside: what was asked, what was approved by whom, and what
 * came of it. It knows nothing of how the world decides.
 */
import assert from "node:assert/strict";
import { coversAll, limits, methods, normaliseScopes } from "@portreeve/protocol";
import { authorityOf, permits, type Principal } from "../../packages/gateway/src/principal/principal.ts";
import { type Action, at, type ConnectAsk, firstSettings, openings, type Role, type Subject, toAction } from "./actions.ts";
import { RunJudge } from "./run-judge.ts";
import type { ManagingMethod, Request, Verdict, World } from "./world.ts";

/** How often each thing came to pass: a run of the test in which something never did has shown nothing of it. */
export type Tally = Map<string, number>;

/** Answers what came to pass, and what devices hold at the end. */
export async function play(world: World, codes: readonly number[], tally: Tally): Promise<readonly string[]> {
  const judge = new Judge(world, tally);
  for (const action of openings[(codes[0] ?? 0) % openings.length] ?? []) await judge.step(action);
  for (const code of codes) await judge.step(toAction(code));
  return judge.story;
}

/** A socket that was let in. It may be closed: what was in flight on it still asks, and the store must know better. */
interface Admitted {
  readonly principal: Principal;
  readonly subject: Subject | undefined;
  readonly endsAtMs: number;
  isOpen: boolean;
}

interface Invitation {
  /** Undefined: no device. */
  readonly by: Subject | undefined;
  readonly role: Role;
  readonly scopes: readonly string[];
  readonly expiresAtMs: number;
  boundTo: number | undefined;
  isUsed: boolean;
  /** Whoever issued it was turned out since. */
  isDropped: boolean;
}

class Judge {
  readonly #world: World;
  readonly #tally: Tally;
  readonly #admitted: Admitted[] = [];
  readonly #runs: RunJudge;
  readonly #invitations: Invitation[] = [];
  /** By `device role`: what was given for a time, and what a token was narrowed to. */
  readonly #lent = new Map<string, { readonly scopes: readonly string[]; readonly untilMs: number }>();
  readonly #narrowed = new Map<string, readonly string[]>();
  readonly #requests: Request[] = [];
  readonly #approved = new Set<string>();
  /** By `device role`: everything that somebody who held it gave, or a first silent pairing. */
  readonly #given = new Map<string, readonly string[]>();
  /** Devices that were given something or rejected: never silent again. */
  readonly #known = new Set<number>();
  /** Until when a device's request waits, which no local attempt launders. */
  readonly #waitsUntil = new Map<number, number>();
  /** That much time has passed at the least, for whoever holds something for a time. */
  #nowMs = 0;
  /** And at the most: what waits may be gone by then. */
  #latestMs = 0;
  #machineMs = 0;
  #written = "[]";
  readonly #happened: string[] = [];
  #settings = firstSettings;

  constructor(world: World, tally: Tally) {
    this.#world = world;
    this.#tally = tally;
    const reachable = () => this.#reachable().map(({ principal }) => principal);
    this.#runs = new RunJudge(world, {
      reachable,
      now: () => this.#nowMs,
      settings: () => this.#settings,
      count: (what) => this.#count(what),
    });
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
        return this.#runs.start(action);
      case "spawn":
        return this.#runs.spawn(action);
      case "steer":
        return this.#runs.steer(action);
      case "abort":
        return this.#runs.abort(action);
      case "rotate":
        return this.#rotate(action);
      case "revoke":
        return this.#turnOut(action, "revoke", [action.subject.role]);
      case "remove":
        return this.#turnOut({ by: action.by, subject: { device: action.device, role: "operator" } }, "remove", ["operator", "node"]);
      case "invite":
        return this.#invite(action);
      case "present":
        return this.#present(action);
      case "restart":
        await this.#world.restart();
        return this.#count("restart");
      case "configure":
        this.#settings = action.settings;
        await this.#world.configure(action.settings);
        this.#runs.checkTools();
        return this.#count("configure");
      case "wait":
        this.#move({ ms: action.ms, passedMs: action.ms });
        this.#runs.endDue(await this.#world.wait(action.ms));
        return this.#count("wait");
      case "clock":
        this.#move({ ms: action.byMs, passedMs: 0 });
        this.#runs.endDue(await this.#world.setClock(action.byMs));
        return this.#count(action.byMs < 0 ? "clock: back" : "clock: forward");
    }
  }

  /** A clock that is set forward may count for time that passed; one that is set back takes none away. */
  #move({ ms, passedMs }: { readonly ms: number; readonly passedMs: number }): void {
    this.#machineMs += ms;
    this.#nowMs = Math.max(this.#machineMs, this.#nowMs + passedMs);
    this.#latestMs += Math.max(ms, 0);
  }

  async #connect(ask: ConnectAsk): Promise<boolean> {
    const { device, role, peer, credential } = ask;
    const isFirst = device !== undefined && !this.#known.has(device) && (this.#waitsUntil.get(device) ?? 0) <= this.#latestMs;
    const { authMode, autoApproveLocal } = this.#settings;
    // Where nothing is asked for, a page is not silently believed.
    const isOwner = authMode === "token" ? credential === "secret" && peer !== "remote" : peer === "local";
    const maySilently = isFirst && isOwner && autoApproveLocal;
    const verdict = await this.#world.connect(ask);
    if (verdict.kind === "pending") {
      this.#waitsUntil.set(verdict.request.device, this.#latestMs + limits.pairingRequestTtlMs);
      assert.ok(credential !== "wrong" || authMode === "none", "without a credential nobody is heard");
      if (!this.#requests.some((request) => request.requestId === verdict.request.requestId)) this.#requests.push(verdict.request);
      return this.#count("connect: pending");
    }
    if (verdict.kind === "refused") return this.#count("connect: refused");

    const { principal } = verdict;
    assert.ok(credential !== "wrong" || authMode === "none", "a wrong credential lets in");
    const asked = normaliseScopes(ask.scopes);
    assert.ok(
      principal.scopes.every((scope) => asked.includes(scope)),
      "more was given than asked",
    );
    assert.deepEqual(authorityOf(principal).roles, role === "node" ? ["node"] : ["operator", "run"]);
    this.#let(verdict, device === undefined ? undefined : { device, role });
    if (device === undefined) {
      assert.equal(principal.kind, "secret");
      const mayHold = authMode === "token" && peer === "local" && credential === "secret";
      assert.ok(principal.scopes.length === 0 || mayHold, "scopes without a device, from afar or for nothing");
      return this.#count("connect: without a device");
    }
    const given = this.#given.get(`${device} ${role}`);
    if (given === undefined) {
      assert.ok(maySilently, `device ${device} was let in as ${role}, and nobody approved it`);
      this.#given.set(`${device} ${role}`, role === "node" ? [] : asked);
      this.#known.add(device);
      return !this.#count("connect: paired silently");
    }
    const lent = this.#lentTo(`${device} ${role}`);
    assert.ok(coversAll([...given, ...lent.scopes], principal.scopes), `device ${device} was let in with more than it was given`);
    const token = credential === "device token" && authMode === "token" ? this.#narrowed.get(`${device} ${role}`) : undefined;
    assert.ok(
      token === undefined || coversAll([...token, ...lent.scopes], principal.scopes),
      "a token covers more than it was narrowed to",
    );
    if (coversAll(given, principal.scopes)) return this.#count(`connect: by ${credential}`);
    assert.ok((verdict.endsInMs ?? Infinity) <= lent.untilMs - this.#nowMs, "what is lent lasts longer than it was lent for");
    return this.#count("connect: for a time");
  }

  async #approve({ by, request: which, minutes }: Extract<Action, { kind: "approve" }>): Promise<boolean> {
    const [approver, request] = [at(this.#admitted, by), at(this.#requests, which)];
    if (approver === undefined || request === undefined) return false;
    const { principal } = approver;
    if (!(await this.#world.approve(request.requestId, principal, minutes))) return this.#count("approve: refused");
    this.#assertMay(approver, "device.pair.approve", request.device);
    const needs = request.roles.some((role) => role !== "operator") ? [...request.scopes, "operator.admin"] : request.scopes;
    assert.ok(coversAll(principal.scopes, needs), `${principal.scopes.join(" ")} approved ${needs.join(" ")}`);
    // Asked again of what is approved, the answer is the same and nothing changes.
    if (this.#approved.has(request.requestId)) return this.#count("approve: again");
    this.#approved.add(request.requestId);
    for (const role of request.roles as readonly Role[]) this.#give({ device: request.device, role }, request.scopes, minutes);
    return !this.#count(minutes === undefined ? "approve: approved" : "approve: for a time");
  }

  async #rotate({ by, subject, scopes }: Extract<Action, { kind: "rotate" }>): Promise<boolean> {
    const rotator = at(this.#admitted, by);
    if (rotator === undefined) return false;
    const covered = await this.#world.rotate(subject, scopes, rotator.principal);
    if (covered === undefined) return this.#count("rotate: refused");
    this.#assertMay(rotator, "device.token.rotate", subject.device);
    const key = `${subject.device} ${subject.role}`;
    assert.ok(coversAll(this.#given.get(key) ?? [], covered) && coversAll(rotator.principal.scopes, covered), "a token was widened");
    this.#lent.delete(key);
    this.#narrowed.set(key, covered);
    this.#close(subject.device, [subject.role]);
    return this.#count("rotate: rotated");
  }

  /** Its sockets are closed, what it held is gone, and its runs with all below them. */
  async #turnOut({ by, subject }: { by: number; subject: Subject }, how: "revoke" | "remove", roles: readonly Role[]): Promise<boolean> {
    const actor = at(this.#admitted, by);
    if (actor === undefined) return false;
    const { device } = subject;
    const ids = new Set(this.#admitted.flatMap((one) => (one.subject?.device === device ? [one.principal.id] : [])));
    const cancelled = await (how === "remove" ? this.#world.remove(device, actor.principal) : this.#world.revoke(subject, actor.principal));
    if (cancelled === undefined) return this.#count(`${how}: refused`);
    this.#assertMay(actor, how === "remove" ? "device.pair.remove" : "device.token.revoke", device);
    assert.equal(cancelled, roles.includes("operator") ? this.#runs.endOf(ids) : 0, "runs of a device that was turned out go on");
    for (const role of roles) for (const held of [this.#given, this.#lent, this.#narrowed]) held.delete(`${device} ${role}`);
    this.#known.add(device);
    this.#close(device, roles);
    if (roles.includes("operator")) for (const one of this.#invitations) one.isDropped ||= one.by?.device === device;
    this.#count(cancelled > 0 ? `${how}: with its runs` : `${how}: done`);
    return true;
  }

  async #invite({ by, role, scopes }: Extract<Action, { kind: "invite" }>): Promise<boolean> {
    const issuer = at(this.#reachable(), by);
    if (issuer === undefined) return false;
    const granted = await this.#world.invite({ role, scopes }, issuer.principal);
    if (granted === undefined) return this.#count("invite: refused");
    this.#assertMay(issuer, "device.pair.setupCode", undefined);
    assert.ok(coversAll(issuer.principal.scopes, granted), "a code holds more than its issuer");
    const { principal, subject } = issuer;
    const forGood = principal.kind === "device" ? (this.#given.get(`${subject?.device} operator`) ?? []) : principal.scopes;
    const needed = role === "node" ? ["operator.admin"] : granted;
    assert.ok(coversAll(forGood, needed), "a code gives for good what its issuer holds for a time");
    const expiresAtMs = this.#nowMs + limits.setupCodeTtlMs;
    this.#invitations.push({ by: subject, role, scopes: granted, expiresAtMs, boundTo: undefined, isUsed: false, isDropped: false });
    return this.#count("invite: issued");
  }

  async #present({ code: which, subject, scopes }: Extract<Action, { kind: "present" }>): Promise<boolean> {
    const code = this.#invitations.length === 0 ? -1 : which % this.#invitations.length;
    const invitation = this.#invitations[code];
    const verdict = await this.#world.present(code, subject, scopes);
    const isOpen = invitation !== undefined && !invitation.isUsed && invitation.expiresAtMs > this.#nowMs;
    const isGood = isOpen && !invitation.isDropped;
    const isTheirs = isGood && (invitation.boundTo ?? subject.device) === subject.device;
    if (isTheirs) invitation.boundTo = subject.device;
    if (verdict.kind !== "admitted") return this.#count(this.#whyNotIn({ isOpen, isGood, isTheirs }));
    assert.ok(isGood || !isOpen, "a code outlived the authority of whoever issued it");
    assert.ok(isTheirs, "a code was good twice, too late, or for another key");
    assert.ok(
      subject.role === invitation.role && coversAll(invitation.scopes, verdict.principal.scopes),
      "a code gave what it does not say",
    );
    invitation.isUsed = true;
    this.#give(subject, invitation.scopes, undefined);
    this.#let(verdict, subject);
    return !this.#count("present: paired");
  }

  #whyNotIn({ isOpen, isGood, isTheirs }: Readonly<Record<"isOpen" | "isGood" | "isTheirs", boolean>>): string {
    if (isTheirs) return "present: beyond";
    return isGood ? "present: of another key" : isOpen ? "present: of who was turned out" : "present: refused";
  }

  #let({ principal, endsInMs }: Extract<Verdict, { kind: "admitted" }>, subject: Subject | undefined): void {
    this.#admitted.push({ principal, subject, endsAtMs: this.#nowMs + (endsInMs ?? Infinity), isOpen: true });
  }

  #close(device: number, roles: readonly Role[]): void {
    for (const one of this.#admitted) if (one.subject?.device === device && roles.includes(one.subject.role)) one.isOpen = false;
  }

  #reachable(): readonly Admitted[] {
    return this.#admitted.filter(({ isOpen, endsAtMs }) => isOpen && endsAtMs > this.#nowMs);
  }

  #lentTo(key: string): { readonly scopes: readonly string[]; readonly untilMs: number } {
    const lent = this.#lent.get(key);
    return lent !== undefined && lent.untilMs > this.#nowMs ? lent : { scopes: [], untilMs: this.#nowMs };
  }

  #give({ device, role }: Subject, scopes: readonly string[], minutes: number | undefined): void {
    const key = `${device} ${role}`;
    const before = this.#given.get(key) ?? [];
    this.#given.set(key, role === "operator" && minutes === undefined ? [...before, ...scopes] : before);
    if (minutes !== undefined) this.#lent.set(key, { scopes, untilMs: this.#nowMs + minutes * 60_000 });
    this.#narrowed.delete(key);
    this.#known.add(device);
  }

  /** By the table, not about others without leave, and not as a device that was turned out. */
  #assertMay({ principal, subject }: Admitted, method: ManagingMethod, device: number | undefined): void {
    assert.equal(permits(principal, method, methods[method], {}).kind, "permitted");
    if (subject === undefined || principal.kind !== "device") return;
    assert.ok(this.#given.has(`${subject.device} operator`), "a device that was turned out manages");
    const isOwn = device === undefined || device === subject.device;
    assert.ok(
      isOwn || !principal.viaDeviceToken || coversAll(principal.scopes, ["operator.admin"]),
      "its own token manages another device",
    );
  }

  async #reject({ by, request: which }: Extract<Action, { kind: "reject" }>): Promise<boolean> {
    const [rejecter, request] = [at(this.#admitted, by), at(this.#requests, which)];
    if (rejecter === undefined || request === undefined) return false;
    const isRejected = await this.#world.reject(request.requestId, rejecter.principal);
    if (isRejected) this.#known.add(request.device);
    if (isRejected) this.#assertMay(rejecter, "device.pair.reject", request.device);
    return this.#count(isRejected ? "reject: rejected" : "reject: refused");
  }

  /** Always false, for a step that changes nothing that devices hold. */
  #count(what: string): false {
    this.#happened.push(what);
    this.#tally.set(what, (this.#tally.get(what) ?? 0) + 1);
    return false;
  }
}
