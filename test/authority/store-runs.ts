/** Runs in the real store, as the handlers and the worker have them: admitted, at once claimed, steered, ended by deadlines. */
import { type MethodName, methods, ProtocolError } from "@portreeve/protocol";
import { Bus } from "../../packages/gateway/src/bus.ts";
import type { HandlerDeps } from "../../packages/gateway/src/handlers/deps.ts";
import { messageHandlers } from "../../packages/gateway/src/handlers/messages.ts";
import { SessionOrder } from "../../packages/gateway/src/handlers/session-order.ts";
import { subagentHandlers } from "../../packages/gateway/src/handlers/subagents.ts";
import {
  authorityToStart,
  permits,
  type Principal,
  type RunPrincipal,
  runPrincipal,
} from "../../packages/gateway/src/principal/principal.ts";
import type { Ending, RunRecord, Store } from "../../packages/gateway/src/store/store.ts";
import { createToolsOf, type ToolsOf } from "../../packages/gateway/src/tools/agent-tools.ts";
import { createTools } from "../../packages/gateway/src/tools/all.ts";
import { attachmentsOff, noAttachments } from "../support/no-attachments.ts";
import type { Settings } from "./actions.ts";
import { maxDepth, toolNames } from "./model-runs.ts";
import type { StartedRun, Steered, World } from "./world.ts";

interface Options {
  readonly now: () => number;
  readonly settings: () => Settings;
}

const model = "scripted/echo";
const tools = createTools().filter(({ name }) => toolNames.includes(name));
const claimer = {
  owner: "w",
  leaseMs: 1,
  limit: 100,
  maxConcurrentChildren: 100,
  quote: () => "",
  maxTakeovers: Infinity,
  takesSuspect: true,
  carries: () => false,
  letGo: [],
};
const late: Ending = { outcome: "timed_out", text: "", error: undefined, stopReason: "deadline" };

export class StoreRuns {
  readonly #store: Store;
  readonly #options: Options;
  readonly #epochs = new Map<string, number>();
  #made = 0;

  constructor(store: Store, options: Options) {
    this.#store = store;
    this.#options = options;
  }

  toolsOf({ authority }: StartedRun): readonly string[] {
    return createTestToolsOf(this.#options.settings())(authority, "main").map(({ name }) => name);
  }

  start(by: Principal, { inSessionOf, seconds }: Parameters<World["start"]>[1]): Promise<StartedRun | undefined> {
    return ask(by, "agent", async () => {
      const wireId = this.#nextKey();
      const session = { sessionKey: inSessionOf?.sessionKey ?? `agent:main:${wireId}`, agentId: "main", label: undefined };
      const message = { wireId, input: "go", paramsHash: "", queueMode: "followup", defaultModel: model } as const;
      const timeoutMs = seconds === undefined ? undefined : seconds * 1_000;
      const starter = { authority: authorityToStart(by), startedBy: by.id };
      const admission = await this.#store.runs.admit({ ...session, ...message, ...starter, timeoutMs }, this.#options.now());
      return admission.kind === "admitted" ? this.#begin(admission.run) : undefined;
    });
  }

  abort(by: Principal, { sessionKey }: RunPrincipal): Promise<number | undefined> {
    return ask(by, "chat.abort", async () => (await this.#store.runs.cancel({ sessionKey }, new Map(), this.#options.now())).length);
  }

  spawn(by: RunPrincipal, { isNarrowed, seconds }: Parameters<World["spawn"]>[1]): Promise<StartedRun | undefined> {
    return ask(by, "subagents.spawn", async () => {
      const times = seconds === undefined ? {} : { runTimeoutSeconds: seconds };
      const params = { task: "look", expectsCompletionMessage: false, idempotencyKey: this.#nextKey(), ...times };
      const handlers = subagentHandlers(createDeps(this.#store, this.#options));
      const { runId } = await handlers["subagents.spawn"](toCall(by), isNarrowed ? { ...params, tools: ["read"] } : params);
      return this.#begin(await this.#get(runId));
    });
  }

  async steer(by: Principal, { sessionKey, runId: subagent }: RunPrincipal): Promise<Steered | undefined> {
    const params = { message: "look there", idempotencyKey: this.#nextKey() };
    const deps = createDeps(this.#store, this.#options);
    const sent =
      by.kind === "run"
        ? await ask(by, "subagents.steer", () => subagentHandlers(deps)["subagents.steer"](toCall(by), { subagent, ...params }))
        : await ask(by, "sessions.steer", () => messageHandlers(deps)["sessions.steer"](toCall(by), { key: sessionKey, ...params }));
    if (sent === undefined) return undefined;
    const message = await this.#begin(await this.#get(params.idempotencyKey));
    return { message, ...(await this.#takeIn(sessionKey)) };
  }

  /** Ends what is due, as the worker ends what it holds. */
  async expire(): Promise<readonly string[]> {
    const { ended, running } = await this.#store.runs.expire(() => this.#options.now());
    for (const runId of running) await this.#store.runs.end(runId, this.#epochs.get(runId) ?? 0, late, [], this.#options.now());
    return [...ended.map(toId), ...running];
  }

  /** As a turn does between two steps. */
  async #takeIn(sessionKey: string): Promise<Omit<Steered, "message">> {
    for (const id of (await this.#store.sessions.find(sessionKey))?.activeRunIds ?? []) {
      const { runId, status } = await this.#get(id);
      if (status !== "running") continue;
      const held = { runId, sessionKey, epoch: this.#epochs.get(runId) ?? 0 };
      const absorbed = await this.#store.runs.absorb(held, this.#options.now());
      return { into: runId, takenIn: absorbed.kind === "absorbed" ? absorbed.runs.map(toId) : [] };
    }
    return { into: undefined, takenIn: [] };
  }

  async #begin(run: RunRecord): Promise<StartedRun> {
    const { claims } = await this.#store.runs.claim(claimer, () => this.#options.now());
    for (const claim of claims) this.#epochs.set(claim.run.runId, claim.epoch);
    return { authority: run.authority, principal: runPrincipal(run) };
  }

  async #get(wireId: string): Promise<RunRecord> {
    const run = await this.#store.runs.findByWireId(wireId, {});
    if (run === undefined) throw new Error(`there is no run ${wireId}`);
    return run;
  }

  #nextKey(): string {
    this.#made += 1;
    return `k${this.#made}`;
  }
}

/** As dispatch does it; undefined: refused. */
async function ask<T>(by: Principal, name: MethodName, handle: () => Promise<T>): Promise<T | undefined> {
  return permits(by, name, methods[name], {}).kind === "permitted" ? handle().catch(toRefusal) : undefined;
}

function toCall(principal: Principal) {
  return { principal, connection: undefined, signal: new AbortController().signal, accept: () => undefined };
}

function createTestToolsOf({ deniesRead }: Settings): ToolsOf {
  const agents = { main: deniesRead ? { tools: { deny: ["read"] } } : {} };
  return createToolsOf({ tools, agents, maxSpawnDepth: maxDepth, source: "settings" });
}

function createDeps(store: Store, { now, settings }: Options): HandlerDeps {
  const unasked = () => Promise.reject(new Error("no play asks for this"));
  const times = { runTimeoutSeconds: 0, runTimeoutMinSeconds: 0, runTimeoutMaxSeconds: 0 };
  return {
    store,
    bus: new Bus(),
    now,
    clock: { now, schedule: () => ({ [Symbol.dispose]: () => undefined }) },
    agents: {
      defaultAgentId: "main",
      ids: ["main"],
      modelOf: () => model,
      modelToStart: () => model,
      fallbacksOf: () => [],
      workspaceOf: () => "",
      isPriced: () => true,
      problemWithModel: () => undefined,
      problemWithThinking: () => Promise.resolve(undefined),
    },
    version: "",
    admitRun: (run) => store.runs.admit(run, now()),
    spawnRun: (child) => store.runs.spawn(child, now()),
    order: new SessionOrder(),
    cancelRuns: unasked,
    compactSession: unasked,
    connections: () => ({ accepted: 0, open: 0 }),
    spawnLimits: {
      maxSpawnDepth: maxDepth,
      maxChildrenPerAgent: settings().maxChildren,
      ...times,
      forkMaxBytes: 0,
      attachments: attachmentsOff,
    },
    attachments: noAttachments,
    sessionRules: { visibility: "tree", maxHops: Infinity },
    callerFor: () => ({ call: unasked }),
    toolNamesOf: (authority, agentId) => createTestToolsOf(settings())(authority, agentId).map(({ name }) => name),
  };
}

function toId({ runId }: Pick<RunRecord, "runId">): string {
  return runId;
}

/** Nothing but what a caller may be told is a refusal. */
export function toRefusal(error: unknown): undefined {
  if (!(error instanceof ProtocolError)) throw error;
}
