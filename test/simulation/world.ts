/** A world made from one seed: a database, processes that come and go over it, callers, and somebody who watches it all. */
import { z } from "zod";
import { sleepUntil } from "../../packages/gateway/src/kit/clock.ts";
import type { Ids } from "../../packages/gateway/src/kit/ids.ts";
import { createStore } from "../../packages/gateway/src/store/sqlite.ts";
import type { Store } from "../../packages/gateway/src/store/store.ts";
import { createTools } from "../../packages/gateway/src/tools/all.ts";
import { defineTool, type Tool } from "../../packages/gateway/src/tools/tool.ts";
import { Callers } from "./callers.ts";
import type { CrashPoint, FaultyDatabase } from "./faulty-database.ts";
import { Judge } from "./judge.ts";
import { Life, type Limits, type StoreAsk, type Surroundings, Words } from "./life.ts";
import { createRandom, type Random } from "./random.ts";
import { Machine } from "./machine.ts";
import { Timeline } from "./timeline.ts";

/** Real tools that touch no file: what a file says is not the seed's to decide. */
const realTools = createTools().filter((tool) => /^(?:sessions_|subagents)/.test(tool.name));
const effectParameters = z.strictObject({ token: z.string(), waitMs: z.number().int() });
const effectSchema = z.toJSONSchema(effectParameters, { io: "input" });

const mainRoom = "agent:main:main";

/** What the program does is the machine's to count: it begins or does not, whatever becomes of the call. */
const launchTool = defineTool({
  name: "launch",
  description: "launch",
  parameters: effectParameters,
  repeat: "ask",
  execute: async ({ token, waitMs }, { runProgram }) => {
    const { exitCode } = await runProgram({ file: "program", args: [token, String(waitMs)] });
    return { text: `ended with ${exitCode ?? "a signal"}` };
  },
});

export class World {
  readonly random: Random;
  readonly timeline = new Timeline();
  readonly database: FaultyDatabase;
  readonly judge: Judge;
  readonly machine: Machine;
  readonly callers: Callers;
  /** What came to pass, for whoever has to find out why. */
  readonly story: string[] = [];
  life: Life | undefined;
  /** Frozen processes and woken ones that a successor has replaced. */
  readonly zombies = new Set<Life>();
  limits: Limits;
  readonly #surroundings: Surroundings;
  readonly #calm = Promise.withResolvers<void>();
  readonly #interjections: { readonly name: RegExp; readonly act: (call: StoreAsk) => void }[] = [];
  #isCalm = false;
  #isDeaf = false;
  #store: Store;

  constructor(seed: number, database: FaultyDatabase) {
    this.random = createRandom(seed);
    this.database = database;
    database.empty();
    const ids = createCountedIds();
    this.#store = this.#openStore(ids);
    this.judge = new Judge(this);
    this.limits = this.drawLimits();
    this.machine = new Machine(this.timeline, this.random, (token) => this.judge.effect("launch", "ask", token));
    this.#surroundings = {
      random: this.random,
      timeline: this.timeline,
      ids,
      words: new Words(),
      machine: this.machine,
      anySession: () => this.#anySession(),
      tools: (life) => [...realTools, launchTool, this.#effectTool("charge", "ask", life), this.#effectTool("look", "safe", life)],
      watcher: this.judge,
      calling: (call) => this.#calling(call),
      calm: this.#calm.promise,
      isCalm: () => this.#isCalm,
      isDeaf: () => this.#isDeaf,
    };
    this.callers = new Callers(this, this.#surroundings.words);
  }

  get lives(): readonly Life[] {
    return [...(this.life === undefined ? [] : [this.life]), ...this.zombies];
  }

  tell(what: string): void {
    this.story.push(`${this.timeline.nowMs - 1_795_435_000_000} ms: ${what}`);
  }

  drawLimits(): Limits {
    const { random } = this;
    return {
      maxSpawnDepth: 1 + random.int(3),
      maxChildrenPerAgent: 1 + random.int(4),
      maxConcurrent: 1 + random.int(4),
      forkMaxBytes: random.pick([0, 2_000, 100_000]),
      stallMs: random.pick([undefined, 20_000, 70_000]),
      contextWindow: random.pick([1_000_000, 6_000]),
      fallbacks: random.pick([[], ["seeded/two"]]),
      turnsPerDay: random.pick([undefined, undefined, 5, 40]),
      maxConcurrentJobs: random.pick([8, 1]),
    };
  }

  // ---- processes

  /** A process on the database, when there is none. */
  start(): void {
    if (this.life?.isDead === false) return;
    const life = new Life(this.#surroundings, this.#store, this.limits);
    this.life = life;
    life.started.catch((error: unknown) => this.tell(`could not start: ${String(error)}`));
  }

  /** SIGKILL for all of them; what a store call had not committed is gone. */
  crash(): void {
    for (const life of this.lives) life.die();
    this.zombies.clear();
    this.life = undefined;
    this.database.die();
    this.#store = this.#openStore(this.#surroundings.ids);
  }

  crashSoon(point: CrashPoint): void {
    this.database.crashAt(point, () => {
      this.tell(`crashed ${point.when} a statement like ${point.matching.source}`);
      this.crash();
    });
  }

  /** Does `act` just before a process makes the next store call like that. */
  interject(name: RegExp, act: (call: StoreAsk) => void): void {
    this.#interjections.push({ name, act });
  }

  #calling(call: StoreAsk): void {
    if (call.name === "cron.fire") this.judge.firing(call.args);
    const at = this.#interjections.findIndex(({ name }) => name.test(call.name));
    const [found] = at < 0 ? [] : this.#interjections.splice(at, 1);
    if (found === undefined) return;
    this.tell(`before ${call.name}:`);
    found.act(call);
  }

  /** SIGTERM; unless something kills it meanwhile it ends by itself. */
  async stop(): Promise<void> {
    const { life } = this;
    if (life === undefined || life.isDead || !life.isReady || life.isFrozen) return;
    let isDone = false;
    life.stop().then(
      () => (isDone = true),
      (error: unknown) => this.judge.found(`a process could not stop: ${String(error)}`),
    );
    for (let rounds = 0; !isDone && !life.isDead; rounds += 1) {
      if (rounds > 100) return this.judge.found("a process does not stop");
      await this.settle();
      if (!isDone) await this.advance(1_000);
    }
  }

  // ---- time

  /** Lets everything happen that does not wait for time. */
  async settle(): Promise<void> {
    for (let ticks = 0; ; ticks += 1) {
      await this.tick();
      if (this.lives.every((life) => life.isDead || life.isFrozen || life.inFlight === 0)) return;
      if (ticks > 20_000) throw new Error("the store's work does not end");
    }
  }

  async tick(): Promise<void> {
    await new Promise(setImmediate);
    this.judge.look();
  }

  async advance(byMs: number): Promise<void> {
    await this.timeline.advance(byMs, () => this.settle());
    await this.settle();
  }

  /** From here on every hint is lost. */
  deafen(): void {
    this.#isDeaf = true;
  }

  /** No more faults, no more hanging: from here on everything must come to its end. */
  async calmDown(): Promise<void> {
    this.#isCalm = true;
    this.#interjections.length = 0;
    this.database.heal();
    for (const zombie of this.lives) zombie.thaw();
    this.#calm.resolve();
    await this.settle();
  }

  #openStore(ids: Ids): Store {
    return createStore(this.database.open(), ids, { elapsedMs: () => 0 });
  }

  #anySession(): string {
    return this.random.pick([mainRoom, ...this.judge.childSessions()]);
  }

  /** Counts its effects by the token the model gave it. */
  #effectTool(name: string, repeat: "ask" | "safe", life: Life): Tool {
    const tool = defineTool({
      name,
      description: name,
      parameters: effectParameters,
      repeat,
      execute: async ({ token, waitMs }, { signal }) => {
        this.judge.effect(name, repeat, token);
        if (waitMs > 0) await sleepUntil(life.clock, life.clock.now() + waitMs, signal);
        return { text: `${name} done` };
      },
    });
    return { ...tool, schema: () => effectSchema };
  }
}

/** Sorted by when they were made, as the gateway's own; the same for the same seed. */
function createCountedIds(): Ids {
  let count = 0;
  const next = (): string => (count += 1).toString(16).padStart(12, "0");
  const uuid = (): string => `00000000-0000-7000-8000-${next()}`;
  return { next: (prefix) => `${prefix}_${next()}`, uuid, orderedUuid: uuid };
}
