/** The composition root: the only file that constructs implementations. Reads top to bottom. */
import { type Caller, mainKey, mainSessionKey } from "@portreeve/protocol";
import { Bus } from "./bus.ts";
import { openListener, type Listener } from "./connection/listener.ts";
import { createCaller } from "./dispatch/caller.ts";
import { createDispatch } from "./dispatch/dispatch.ts";
import type { Dispatch, Handlers } from "./dispatch/types.ts";
import { agentHandlers } from "./handlers/agents.ts";
import { chatHandlers } from "./handlers/chat.ts";
import { connectHandlers } from "./handlers/connect.ts";
import { type AgentFacts, type HandlerDeps, readSessionRow } from "./handlers/deps.ts";
import { type DeviceHandlerDeps, deviceHandlers } from "./handlers/devices.ts";
import { healthHandlers, readHealth } from "./handlers/health.ts";
import { nodeHandlers } from "./handlers/nodes.ts";
import { sessionHandlers } from "./handlers/sessions.ts";
import { subagentHandlers } from "./handlers/subagents.ts";
import { createCredentials } from "./identity/credentials.ts";
import { createDeviceManager, type ExpelDevice } from "./identity/device-management.ts";
import { startElevations } from "./identity/elevation.ts";
import { createNodePairing, type NodePairing } from "./identity/node-pairing.ts";
import { createPairing } from "./identity/pairing.ts";
import { createScopeUpgrades } from "./identity/scope-upgrade.ts";
import { openStateKeys, type StateKeys } from "./identity/state-keys.ts";
import type { Clock } from "./kit/clock.ts";
import type { Config } from "./kit/config.ts";
import { makePrivateFolder } from "./kit/home.ts";
import type { Ids } from "./kit/ids.ts";
import type { Log } from "./kit/log.ts";
import { createModels } from "./models/registry.ts";
import type { Models } from "./models/model.ts";
import type { Principal } from "./principal/principal.ts";
import { startWorker, type Worker } from "./runs/worker.ts";
import { openStore } from "./store/sqlite.ts";
import type { Store } from "./store/store.ts";
import { startCleanUp } from "./subagents/clean-up.ts";
import type { Tool } from "./tools/tool.ts";

export interface ComposeOptions {
  readonly config: Config;
  readonly configFile: string;
  readonly stateDir: string;
  /** The workspace of `main`; another agent without one gets `<this>-<agent id>`. */
  readonly workspaceDir: string;
  /** Where provider keys and `PORTREEVE_TOKEN` are looked up; nothing else reads the environment. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly version: string;
  readonly log: Log;
  readonly clock: Clock;
  readonly ids: Ids;
  readonly tools: readonly Tool[];
  /** Checks every result against its definition. */
  readonly checkResults: boolean;
}

export interface Gateway extends AsyncDisposable {
  readonly listener: Listener;
  readonly keys: StateKeys;
  readonly store: Store;
  readonly bus: Bus;
  readonly dispatch: Dispatch;
  readonly models: Models;
}

/** Opens everything, in order. @throws what the part that cannot be opened throws; what was opened before is closed again. */
export async function compose(options: ComposeOptions): Promise<Gateway> {
  const { config, stateDir, env, log, clock, ids } = options;
  await using resources = new AsyncDisposableStack();

  const keys = await openStateKeys(stateDir, { configuredSecret: config.gateway.auth.token, env });
  if (keys.tightened.length > 0) log.warn({ paths: keys.tightened }, "permissions were too wide and have been narrowed");
  const store = resources.use(await openStore(stateDir, ids));
  const bus = new Bus();
  const models = createModels({ providers: config.models.providers, defaultModel: config.agents.defaults.model, env, clock });
  const agents = agentFacts(options, models);
  await makeWorkspaces(config, agents);

  const credentials = createCredentials(keys);
  const { autoApproveLocal } = config.gateway.pairing;
  const identity = { store: store.devices, credentials, clock, log, bus };
  resources.use(await startElevations(identity));

  const late: LateParts = {};
  const expel: ExpelDevice = (target, lastAnswer) => late.listener?.expelDevice(target, lastAnswer) ?? Promise.resolve();
  const nodes = createNodePairing({ ...identity, store: store.nodes, expel });
  const pairing = createPairing({ ...identity, autoApproveLocal, nodes });
  const manager = createDeviceManager({ ...identity, expel });
  const handlerDeps = createHandlerDeps(options, { store, bus, agents, late });
  const handlers = createHandlers(handlerDeps, {
    pairing,
    manager,
    upgrades: createScopeUpgrades(identity),
    nodes,
    connectedDevices: () => late.listener?.connectedDevices() ?? new Set(),
  });
  const dispatch = createDispatch({ handlers, log, ids, checkResults: options.checkResults });
  const callerFor = (principal: Principal): Caller => createCaller(dispatch, principal);

  const { maxSpawnDepth, maxConcurrent: maxConcurrentChildren, archiveAfterMinutes } = config.agents.defaults.subagents;
  const { workspaceOf } = agents;
  const turns = { store, bus, clock, ids, log, models, tools: options.tools, maxSpawnDepth, workspaceOf, callerFor };
  late.worker = resources.use(await startWorker({ ...turns, maxConcurrentChildren }));
  resources.use(startCleanUp({ sessions: store.sessions, bus, clock, log, callerFor, archiveAfterMs: toMs(archiveAfterMinutes) }));

  late.listener = resources.use(
    await openListener({
      config: config.gateway,
      keys,
      pairing,
      dispatch,
      bus,
      clock,
      log,
      ids,
      version: options.version,
      paths: { configPath: options.configFile, stateDir },
      health: () => readHealth(handlerDeps),
      sessionDefaults: () => Promise.resolve(sessionDefaults(agents)),
      rowOf: (key) => readSessionRow(handlerDeps, key),
    }),
  );

  const owned = resources.move();
  return { listener: late.listener, keys, store, bus, dispatch, models, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** Parts that methods reach although they are made after them: a worker runs tools that call methods, a listener serves them. */
interface LateParts {
  worker?: Worker;
  listener?: Listener;
}

type HandlerParts = Pick<HandlerDeps, "store" | "bus" | "agents"> & { readonly late: LateParts };

function createHandlerDeps({ config, clock, version }: ComposeOptions, { late, ...parts }: HandlerParts): HandlerDeps {
  return {
    ...parts,
    version,
    now: () => clock.now(),
    cancelRuns: (select) => late.worker?.cancel(select) ?? Promise.resolve([]),
    connections: () => late.listener?.counts() ?? { accepted: 0, open: 0 },
    spawnLimits: config.agents.defaults.subagents,
  };
}

/** 0 is never. */
function toMs(minutes: number): number | undefined {
  return minutes === 0 ? undefined : minutes * 60_000;
}

/** Folders the configuration does not name are ours to make. */
async function makeWorkspaces(config: Config, agents: AgentFacts): Promise<void> {
  for (const id of agents.ids) {
    if (config.agents.entries[id]?.workspace === undefined) await makePrivateFolder(agents.workspaceOf(id));
  }
}

/** One handler a method: that none is missing is the type's to say. */
function createHandlers(deps: HandlerDeps, devices: DeviceHandlerDeps & { readonly nodes: NodePairing }): Handlers {
  return {
    ...connectHandlers(),
    ...healthHandlers(deps),
    ...agentHandlers(deps),
    ...sessionHandlers(deps),
    ...chatHandlers(deps),
    ...subagentHandlers(deps),
    ...deviceHandlers(devices),
    ...nodeHandlers(devices),
  };
}

function sessionDefaults({ defaultAgentId }: AgentFacts) {
  return { defaultAgentId, mainKey, mainSessionKey: mainSessionKey(defaultAgentId), scope: "per-sender", modelConfigured: true };
}

function agentFacts({ config, workspaceDir }: ComposeOptions, models: Models): AgentFacts {
  const defaultAgentId = "main";
  const { entries } = config.agents;
  return {
    defaultAgentId,
    ids: Object.keys(entries),
    modelOf: (id) => entries[id]?.model ?? models.defaultId,
    workspaceOf: (id) => entries[id]?.workspace ?? (id === defaultAgentId ? workspaceDir : `${workspaceDir}-${id}`),
    problemWithModel: (id) => models.problemWith(id),
  };
}
