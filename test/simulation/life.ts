/**
 * One process's life: the real core (dispatch, handlers, worker, clean-up, store) over the simulation's database. It may be
 * frozen and thawed, and it may die: then nothing after it happens, and what it held in memory is gone.
 */
import assert from "node:assert/strict";
import { type Caller, ProtocolError } from "@portreeve/protocol";
import { createToolsOf, type ToolsOf } from "../../packages/gateway/src/tools/agent-tools.ts";
import { type Scheduler, startScheduler } from "../../packages/gateway/src/cron/scheduler.ts";
import { createCaller } from "../../packages/gateway/src/dispatch/caller.ts";
import { createDispatch } from "../../packages/gateway/src/dispatch/dispatch.ts";
import type { Dispatch, Handlers } from "../../packages/gateway/src/dispatch/types.ts";
import { agentHandlers } from "../../packages/gateway/src/handlers/agents.ts";
import { chatHandlers } from "../../packages/gateway/src/handlers/chat.ts";
import { createCommands } from "../../packages/gateway/src/handlers/commands.ts";
import { cronHandlers } from "../../packages/gateway/src/handlers/cron.ts";
import type { HandlerDeps } from "../../packages/gateway/src/handlers/deps.ts";
import { messageHandlers } from "../../packages/gateway/src/handlers/messages.ts";
import { runHandlers } from "../../packages/gateway/src/handlers/runs.ts";
import { SessionOrder } from "../../packages/gateway/src/handlers/session-order.ts";
import { sessionHandlers } from "../../packages/gateway/src/handlers/sessions.ts";
import { subagentHandlers } from "../../packages/gateway/src/handlers/subagents.ts";
import type { Ids } from "../../packages/gateway/src/kit/ids.ts";
import type { Log } from "../../packages/gateway/src/kit/log.ts";
import { createPace } from "../../packages/gateway/src/kit/pace.ts";
import type { Principal } from "../../packages/gateway/src/principal/principal.ts";
import type { ModelMessage, ToolCall } from "../../packages/gateway/src/models/model.ts";
import { createCooldowns } from "../../packages/gateway/src/runs/cooldowns.ts";
import { startWorker, type Worker } from "../../packages/gateway/src/runs/worker.ts";
import type { Store } from "../../packages/gateway/src/store/store.ts";
import { startCleanUp } from "../../packages/gateway/src/subagents/clean-up.ts";
import type { Tool } from "../../packages/gateway/src/tools/tool.ts";
import { attachmentsOff, noAttachments } from "../support/no-attachments.ts";
import { type BusWatcher, LossyBus } from "./lossy-bus.ts";
import type { Machine } from "./machine.ts";
import type { Random } from "./random.ts";
import { createSeededModels } from "./seeded-model.ts";
import type { ProcessClock, Timeline } from "./timeline.ts";

/** As the configuration of a process has them. */
export interface Limits {
  readonly maxSpawnDepth: number;
  readonly maxChildrenPerAgent: number;
  readonly maxConcurrent: number;
  readonly forkMaxBytes: number;
  readonly stallMs: number | undefined;
  readonly contextWindow: number;
  readonly fallbacks: readonly string[];
  /** Of each agent. */
  readonly turnsPerDay: number | undefined;
  readonly maxConcurrentJobs: number;
}

export interface StoreAsk {
  /** `runs.append` */
  readonly name: string;
  readonly args: readonly unknown[];
}

export interface StoreCall extends StoreAsk {
  readonly result: unknown;
}

/** Texts of which each is said once: whoever finds one twice knows that something happened twice. */
export class Words {
  modelCalls = 0;
  #count = 0;

  /** `kind` and a number, with a mark at its end: no word is the beginning of another. */
  next(kind: "asked" | "said"): string {
    this.#count += 1;
    return `${kind}${this.#count}.`;
  }
}

/** What a process finds in the world, and who watches it. */
export interface Surroundings {
  readonly random: Random;
  readonly timeline: Timeline;
  readonly ids: Ids;
  readonly tools: (life: Life) => readonly Tool[];
  readonly watcher: BusWatcher & {
    /** A store call came back to a process that still lives. */
    returned(life: Life, call: StoreCall): void;
    /** What a model is sent. */
    asked(messages: readonly ModelMessage[]): void;
    logged(message: string, facts: object): void;
  };
  readonly words: Words;
  readonly machine: Machine;
  /** Some session that there is or was. */
  anySession(): string;
  /** A process is about to make this store call. */
  readonly calling: (call: StoreAsk) => void;
  /** Nothing hangs any more and models only speak. */
  readonly calm: Promise<void>;
  isCalm(): boolean;
  isDeaf(): boolean;
}

type HandlerParts = Pick<HandlerDeps, "store" | "bus"> & Pick<HandlerDeps["agents"], "problemWithModel"> & { readonly toolsOf: ToolsOf };

export class Life {
  readonly limits: Limits;
  readonly clock: ProcessClock;
  /** Resolves when the process would listen; rejects when it could not start. */
  readonly started: Promise<void>;
  /** Store calls that have not come back, and turns that wait for their next step. */
  inFlight = 0;
  readonly #paced = createPace(this.#countSteps());
  isReady = false;
  isDead = false;
  /** A store call of it was refused. */
  hasFailed = false;
  readonly #surroundings: Surroundings;
  readonly #dispatch: Dispatch;
  readonly #owned = new AsyncDisposableStack();
  #worker: Worker | undefined;
  #scheduler: Scheduler | undefined;
  #lastStarted = Promise.resolve();
  #frozen: PromiseWithResolvers<void> | undefined;

  constructor(surroundings: Surroundings, store: Store, limits: Limits) {
    this.#surroundings = surroundings;
    this.limits = limits;
    this.clock = surroundings.timeline.createClock();
    const bus = new LossyBus(surroundings.random, this, surroundings.watcher);
    const fenced = this.#fence(store);
    const { ids } = surroundings;
    const log = this.#log();
    const models = createSeededModels(surroundings, this);
    const { clock } = this;
    const agentTools = { tools: surroundings.tools(this), agents: { main: {}, helper: {} }, maxSpawnDepth: limits.maxSpawnDepth };
    const toolsOf = createToolsOf({ ...agentTools, source: "simulation" });
    const handlers = this.#handlers({ store: fenced, bus, toolsOf, problemWithModel: (id) => models.problemWith(id) });
    this.#dispatch = createDispatch({ handlers, log, ids, clock, countRefusal: () => undefined, checkResults: true });
    const callerFor = (principal: Principal): Caller => createCaller(this.#dispatch, principal);
    const turns = {
      store: fenced,
      bus,
      clock,
      ids,
      log,
      models,
      toolsOf,
      workspaceOf: () => "/nowhere",
      attachmentsOf: () => "/nowhere",
      redact: ({ arguments: args }: ToolCall) => args,
      callerFor,
      priceOf: () => ({ input: 1, output: 2 }),
      contextWindowOf: () => limits.contextWindow,
      compactAtShare: 0.8,
      fallbacksOf: () => limits.fallbacks,
      budgetPerDay: () => ({ turns: limits.turnsPerDay }),
      cooldowns: createCooldowns(),
      pace: () => this.#pace(),
      stallMs: limits.stallMs,
      programEnv: {},
      programs: surroundings.machine.seenBy(this),
      drainMs: 1_000,
    };
    this.started = this.#start(async () => {
      this.#worker = this.#owned.use(await startWorker({ ...turns, maxConcurrentChildren: limits.maxConcurrent }));
      const cron = { store: fenced.cron, bus, clock, log, agents: this.#agents((id) => models.problemWith(id)) };
      const times = { enabled: true, maxConcurrentRuns: limits.maxConcurrentJobs, localTimeZone: () => "UTC" };
      this.#scheduler = this.#owned.use(await startScheduler({ ...cron, ...times }));
      this.#owned.use(
        startCleanUp({ sessions: fenced.sessions, attachments: noAttachments, bus, clock, log, callerFor, archiveAfterMs: 60 * 60_000 }),
      );
    });
  }

  /** No hint comes through any more. */
  isDeaf(): boolean {
    return this.#surroundings.isDeaf();
  }

  get isFrozen(): boolean {
    return this.#frozen !== undefined;
  }

  callerAs(principal: Principal): Caller {
    return createCaller(this.#dispatch, principal);
  }

  /** SIGSTOP. */
  freeze(): void {
    this.#frozen ??= Promise.withResolvers();
    this.clock.isStopped = true;
  }

  /** SIGCONT. */
  thaw(): void {
    this.#frozen?.resolve();
    this.#frozen = undefined;
    this.clock.isStopped = false;
  }

  /** SIGKILL: whatever it waits for never comes. */
  die(): void {
    this.isDead = true;
    this.isReady = false;
    this.inFlight = 0;
    this.#surroundings.machine.died(this);
    this.#surroundings.timeline.remove(this.clock);
  }

  /** SIGTERM: resolves when it has stopped by itself. */
  async stop(): Promise<void> {
    this.isReady = false;
    await this.#owned.disposeAsync();
    this.die();
  }

  async #start(open: () => Promise<void>): Promise<void> {
    try {
      await open();
      this.isReady = true;
    } catch (error) {
      this.die();
      throw error;
    }
  }

  #handlers({ store, bus, toolsOf, problemWithModel }: HandlerParts) {
    const deps: HandlerDeps = {
      store,
      bus,
      version: "0.0.0-simulation",
      now: () => this.clock.now(),
      clock: this.clock,
      agents: this.#agents(problemWithModel),
      admitRun: (run) => this.#worker?.admit(run) ?? store.runs.admit(run, this.clock.now()),
      spawnRun: (child) => this.#worker?.spawn(child) ?? store.runs.spawn(child, this.clock.now()),
      callerFor: (principal) => this.callerAs(principal),
      sessionRules: { visibility: "tree", maxHops: 5 },
      order: new SessionOrder(),
      cancelRuns: async (select) => {
        const { runs, failed } = (await this.#worker?.cancel(select)) ?? { runs: [], failed: [] };
        if (failed.length > 0) throw new ProtocolError("STOP_INCOMPLETE", "something goes on");
        return runs;
      },
      compactSession: (ask) => this.#worker?.compact(ask) ?? Promise.reject(new Error("no worker has started")),
      connections: () => ({ accepted: 0, open: 0 }),
      spawnLimits: {
        ...this.limits,
        runTimeoutSeconds: 0,
        runTimeoutMinSeconds: 0,
        runTimeoutMaxSeconds: 0,
        attachments: attachmentsOff,
      },
      attachments: noAttachments,
      toolNamesOf: (authority, agentId) => toolsOf(authority, agentId).map((tool) => tool.name),
    };
    const scheduler = (): Scheduler => this.#scheduler ?? assert.fail("no scheduler has started");
    const commands = createCommands(deps);
    // The methods of runs, sessions and jobs; nobody calls another.
    return {
      ...agentHandlers(deps, commands),
      ...chatHandlers(deps, commands),
      ...sessionHandlers(deps),
      ...subagentHandlers(deps),
      ...messageHandlers(deps),
      ...runHandlers(deps),
      ...cronHandlers({ ...deps, scheduler, processInstanceId: "simulation" }),
    } as Handlers;
  }

  #agents(problemWithModel: HandlerDeps["agents"]["problemWithModel"]): HandlerDeps["agents"] {
    return {
      defaultAgentId: "main",
      ids: ["main", "helper"],
      modelOf: () => "seeded/one",
      modelToStart: () => "seeded/one",
      fallbacksOf: () => [],
      workspaceOf: () => "/nowhere",
      problemWithModel,
      isPriced: () => true,
      problemWithThinking: () => Promise.resolve(undefined),
    };
  }

  #log(): Log {
    const ignore = (): void => undefined;
    const log = (facts: object, message: string): void => this.#surroundings.watcher.logged(message, facts);
    return { debug: ignore, info: ignore, warn: log, error: log };
  }

  /** The store as this process sees it: a dead process's calls never come back, a frozen one's wait. */
  #fence(store: Store): Store {
    const fencedPart = <T extends object>(part: T, prefix: string): T =>
      new Proxy(part, {
        get: (target, name) => {
          const method: unknown = Reflect.get(target, name);
          if (typeof method !== "function") return method;
          return (...args: unknown[]) =>
            this.#call(`${prefix}.${String(name)}`, args, () => method.apply(target, args) as Promise<unknown>);
        },
      });
    return {
      ...store,
      runs: fencedPart(store.runs, "runs"),
      sessions: fencedPart(store.sessions, "sessions"),
      budgets: fencedPart(store.budgets, "budgets"),
      processes: fencedPart(store.processes, "processes"),
      runViews: fencedPart(store.runViews, "runViews"),
      cron: fencedPart(store.cron, "cron"),
    };
  }

  /** Two steps go on in one turn of the event loop: how long they take here is nobody's to rely on. */
  #countSteps(): () => number {
    let count = 0;
    return () => (count += 0.4);
  }

  async #pace(): Promise<void> {
    this.inFlight += 1;
    await this.#paced();
    await this.pass();
    if (!this.isDead) this.inFlight -= 1;
  }

  async #call(name: string, args: readonly unknown[], run: () => Promise<unknown>): Promise<unknown> {
    const { random, watcher, calling } = this.#surroundings;
    await this.pass();
    this.inFlight += 1;
    try {
      const result = await this.#inOrder(async () => {
        // How much time passes before is nobody's to rely on.
        for (let ticks = random.int(8) - 5; ticks > 0; ticks -= 1) await new Promise(setImmediate);
        await this.pass();
        calling({ name, args });
        await this.pass();
        return { work: run() };
      });
      if (!this.isDead) watcher.returned(this, { name, args, result });
      await this.pass();
      return result;
    } catch (error) {
      this.hasFailed = true;
      await this.pass();
      throw error;
    } finally {
      if (!this.isDead) this.inFlight -= 1;
    }
  }

  /** Calls of one process reach the store in the order in which they were made, as its queue has it. */
  async #inOrder(start: () => Promise<{ readonly work: Promise<unknown> }>): Promise<unknown> {
    const before = this.#lastStarted;
    const started = Promise.withResolvers<void>();
    this.#lastStarted = started.promise;
    await before;
    try {
      const { work } = await start();
      started.resolve();
      return await work;
    } finally {
      started.resolve();
    }
  }

  /** Comes back when the process is not frozen, and never when it is dead. */
  async pass(): Promise<void> {
    while (this.#frozen !== undefined) await this.#frozen.promise;
    if (this.isDead) await new Promise(() => undefined);
  }
}
