/** Judges what runs do, from the outside: who started each, what it may hold, who may speak into it and when it is over. */
import assert from "node:assert/strict";
import { coversAll } from "@portreeve/protocol";
import { covers } from "../../packages/gateway/src/principal/lattice.ts";
import { authorityOf, type Principal } from "../../packages/gateway/src/principal/principal.ts";
import { type Action, at, type Settings } from "./actions.ts";
import type { StartedRun, World } from "./world.ts";

interface Play {
  /** Whoever has an open connection. */
  readonly reachable: () => readonly Principal[];
  readonly now: () => number;
  readonly settings: () => Settings;
  /** Notes what came to pass; always false, since no run changes what devices hold. */
  readonly count: (what: string) => false;
}

interface Judged extends StartedRun {
  readonly by: Principal;
  /** Whom, through every run in between, it goes back to. */
  readonly starter: string;
  /** Of a child: the run that spawned it. */
  readonly parent: Judged | undefined;
  /** By then it is over, if that is known; later never. */
  readonly endsByMs: number;
  isOver: boolean;
}

type Ask<K extends Action["kind"]> = Extract<Action, { readonly kind: K }>;

export class RunJudge {
  readonly #world: World;
  readonly #play: Play;
  readonly #runs: Judged[] = [];

  constructor(world: World, play: Play) {
    this.#world = world;
    this.#play = play;
  }

  async start({ by, session, seconds }: Ask<"start">): Promise<false> {
    const starter = at(this.#callers(), by);
    if (starter === undefined) return false;
    const inSessionOf = session % 2 === 0 ? undefined : at(this.#runs, session)?.principal;
    const started = await this.#world.start(starter, { inSessionOf, seconds });
    if (started === undefined) return this.#play.count("start: refused");
    // In a session of its own it begins at once.
    this.#admit(started, { by: starter, parent: undefined, seconds: inSessionOf === undefined ? seconds : undefined });
    assert.notEqual(starter.kind, "run", "the table lets no run start another");
    assert.ok(started.authority.depth >= (inSessionOf?.depth ?? 0), "a run stands above its session");
    const isPerson = coversAll(starter.scopes, ["operator.admin"]);
    assert.ok(!started.authority.owner || isPerson, "the owner bit without a person who holds admin");
    const how = started.authority.owner ? "as owner" : inSessionOf === undefined ? "by a person" : "in a session";
    return this.#play.count(`start: ${how}`);
  }

  async spawn({ by, isNarrowed, seconds }: Ask<"spawn">): Promise<false> {
    const parent = at(this.#runs, by);
    if (parent === undefined) return false;
    const child = await this.#world.spawn(parent.principal, { isNarrowed, seconds });
    if (child === undefined) return this.#play.count("spawn: refused");
    assert.ok(!parent.isOver, "a run that was stopped spawns");
    this.#admit(child, { by: parent.principal, parent, seconds });
    assert.equal(child.authority.owner, false);
    assert.ok(child.authority.depth > parent.authority.depth, "a child stands no deeper than its parent");
    assert.ok(!isNarrowed || !this.#play.settings().deniesRead, "a child is given a tool that is denied");
    this.checkTools();
    return this.#play.count(isNarrowed ? "spawn: narrowed" : "spawn: accepted");
  }

  async steer({ by, run: which }: Ask<"steer">): Promise<false> {
    const [sender, run] = [at(this.#callers(), by), at(this.#runs, which)];
    if (sender === undefined || run === undefined) return false;
    const steered = await this.#world.steer(sender, run.principal);
    if (steered === undefined) return this.#play.count("steer: refused");
    assert.ok(coversAll(sender.scopes, ["operator.write"]), "who may not write speaks");
    const message = this.#admit(steered.message, { by: sender, parent: undefined, seconds: undefined });
    if (sender.kind === "run") this.#checkSender(sender.runId, run);
    const working = this.#runs.find(({ principal }) => principal.runId === steered.into);
    for (const one of this.#named(steered.takenIn)) {
      assert.ok(working !== undefined && !working.isOver, "a run that is over takes something in");
      this.#checkSteering(one.by, working);
      one.isOver = true;
    }
    const isOwn = steered.into === message.principal.runId;
    return this.#play.count(`steer: ${message.isOver ? "taken in" : isOwn ? "a run of its own" : "waits"}`);
  }

  async abort({ by, run: which }: Ask<"abort">): Promise<false> {
    const [caller, run] = [at(this.#callers(), by), at(this.#runs, which)];
    if (caller === undefined || run === undefined) return false;
    const cancelled = await this.#world.abort(caller, run.principal);
    if (cancelled === undefined) return this.#play.count("abort: refused");
    assert.ok(caller.kind !== "run" && coversAll(caller.scopes, ["operator.write"]), "who may not write stopped a run");
    for (const one of this.#inSessionsBelow(run.principal.sessionKey)) one.isOver = true;
    return this.#play.count(cancelled > 0 ? "abort: stopped" : "abort: nothing");
  }

  /** Answers how many runs of these principals went on until now. */
  endOf(starters: ReadonlySet<string>): number {
    const theirs = this.#runs.filter(({ starter, isOver }) => starters.has(starter) && !isOver);
    for (const one of theirs) one.isOver = true;
    return theirs.length;
  }

  /** Time has passed, and these ended by it. */
  endDue(runIds: readonly string[]): void {
    for (const one of this.#named(runIds)) one.isOver = true;
    const late = this.#runs.filter(({ isOver, endsByMs }) => !isOver && endsByMs <= this.#play.now());
    assert.deepEqual(
      late.map(({ principal }) => principal.runId),
      [],
      "a run goes on beyond its deadline",
    );
    if (runIds.length > 0) this.#play.count("time: ended runs");
  }

  /** A child has no tool that its parent has not, and nobody has one that is denied now. */
  checkTools(): void {
    for (const run of this.#runs.filter(({ isOver }) => !isOver)) {
      const names = this.#world.toolsOf(run);
      const ofParent = run.parent === undefined ? names : this.#world.toolsOf(run.parent);
      assert.ok(
        names.every((name) => ofParent.includes(name)),
        "a child has a tool that its parent has not",
      );
      assert.ok(!this.#play.settings().deniesRead || !names.includes("read"), "a run has a tool that is denied");
    }
  }

  /** Every run: within its starter's, within what a launch may carry, owner at depth 0 alone, no longer than who asked for it. */
  #admit(run: StartedRun, { by, parent, seconds }: Pick<Judged, "by" | "parent"> & { readonly seconds: number | undefined }): Judged {
    const { principal, authority } = run;
    assert.ok(covers({ ...authorityOf(by), roles: "all" }, authorityOf(principal)), "a run holds more than its starter");
    assert.ok(coversAll(["operator.write"], authority.scopes), `a launch carries ${authority.scopes.join(" ")}`);
    assert.ok(!principal.owner || authority.depth === 0);
    const sender = by.kind === "run" ? this.#runs.find((one) => one.principal.runId === by.runId) : undefined;
    const endsByMs = Math.min(sender?.endsByMs ?? Infinity, this.#play.now() + (seconds ?? Infinity) * 1_000);
    const judged: Judged = { ...run, by, parent, endsByMs, starter: sender?.starter ?? by.id, isOver: false };
    this.#runs.push(judged);
    return judged;
  }

  /** A run speaks while it goes on, to what was delegated below its own session. */
  #checkSender(runId: string, to: Judged): void {
    const sender = this.#runs.find(({ principal }) => principal.runId === runId);
    assert.ok(sender?.isOver === false, "a run that was stopped speaks");
    const { sessionKey } = sender.principal;
    assert.notEqual(to.principal.sessionKey, sessionKey, "a run speaks to itself");
    const below = this.#inSessionsBelow(sessionKey).map(({ principal }) => principal.sessionKey);
    assert.ok(below.includes(to.principal.sessionKey), "a run speaks to what is not below it");
  }

  /** Who speaks into a run could have done all that it may do: as a person, from no deeper, with its tools, for as long. */
  #checkSteering(sender: Principal, { authority, endsByMs }: Judged): void {
    assert.ok(coversAll(sender.scopes, authority.scopes), "who holds less steers");
    assert.ok(!authority.owner || (sender.kind !== "run" && coversAll(sender.scopes, ["operator.admin"])), "the owner's run is steered");
    if (sender.kind !== "run") return;
    assert.ok(sender.depth <= authority.depth, "a run is steered from below");
    const { tools = "all", deadline = "unlimited" } = sender.limits ?? {};
    assert.ok(tools === "all" || !(authority.limits === undefined || authority.limits.tools === "all"), "who has fewer tools steers");
    assert.ok(deadline === "unlimited" || endsByMs < Infinity, "who has less time steers");
  }

  #inSessionsBelow(sessionKey: string): readonly Judged[] {
    const [all, sessions] = [new Set<Judged>(), new Set([sessionKey])];
    for (let before = -1; before !== all.size;) {
      before = all.size;
      for (const run of this.#runs) {
        if (!sessions.has(run.principal.sessionKey) && !sessions.has(run.parent?.principal.sessionKey ?? "")) continue;
        all.add(run);
        sessions.add(run.principal.sessionKey);
      }
    }
    return [...all];
  }

  #named(runIds: readonly string[]): readonly Judged[] {
    return this.#runs.filter(({ principal }) => runIds.includes(principal.runId));
  }

  #callers(): readonly Principal[] {
    return [...this.#play.reachable(), ...this.#runs.map(({ principal }) => principal)];
  }
}
