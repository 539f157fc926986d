/** The composition root: the only file that constructs implementations. Reads top to bottom. */
import { dirname, join } from "node:path";
import { mainKey, mainSessionKey, ProtocolError } from "@portreeve/protocol";
import { startApprovals } from "./approvals/approvals.ts";
import { createRefusalCounter } from "./audit/refusal-counter.ts";
import { Bus } from "./bus.ts";
import { createConfigDeps } from "./compose/config.ts";
import { agentFacts, archiveAfterMs, liveModels, makeWorkspaces, openTools, runSettings } from "./compose/live.ts";
import { openListener, type Listener } from "./connection/listener.ts";
import { createCaller } from "./dispatch/caller.ts";
import { createDispatch } from "./dispatch/dispatch.ts";
import { type Scheduler, startScheduler } from "./cron/scheduler.ts";
import type { Dispatch, PresenceBoard } from "./dispatch/types.ts";
import { createHandlers } from "./handlers/all.ts";
import type { CronHandlerDeps } from "./handlers/cron.ts";
import { type AgentFacts, type CatalogueDeps, type HandlerDeps, readSessionRow } from "./handlers/deps.ts";
import { readHealth } from "./handlers/health.ts";
import { readMessages } from "./handlers/history.ts";
import { SessionOrder } from "./handlers/session-order.ts";
import type { SetupHandlerDeps } from "./handlers/setup.ts";
import type { SystemHandlerDeps } from "./handlers/system.ts";
import { createAttempts } from "./identity/attempts.ts";
import { createBearers } from "./identity/bearers.ts";
import { createCredentials } from "./identity/credentials.ts";
import { createDeviceManager, type ExpelDevice } from "./identity/device-management.ts";
import { cancelRunsOfDeparted } from "./identity/departed.ts";
import { type ExpiryDeps, startExpiries } from "./identity/expiries.ts";
import { createNodePairing } from "./identity/node-pairing.ts";
import { createPairing } from "./identity/pairing.ts";
import { createSharedSecret, findSecretSource, readSecretFile, type SecretSource } from "./identity/shared-secret.ts";
import { createSetupCodes, type SetupCodes, withSetupCodes } from "./identity/setup-codes.ts";
import { createScopeUpgrades } from "./identity/scope-upgrade.ts";
import { openStateKeys, type StateKeys } from "./identity/state-keys.ts";
import { openTls } from "./identity/tls.ts";
import { createAuthorityClock } from "./kit/authority-clock.ts";
import type { Clock, SteadyClock } from "./kit/clock.ts";
import { logFileIn } from "./kit/log-file.ts";
import type { Config } from "./kit/config.ts";
import { findWarnings } from "./kit/exposure.ts";
import { ProcessGroups } from "./kit/process-group.ts";
import { attachmentsIn, secretFileIn } from "./kit/home.ts";
import type { Ids } from "./kit/ids.ts";
import { LiveConfig } from "./kit/live-config.ts";
import type { Log } from "./kit/log.ts";
import { createPace } from "./kit/pace.ts";
import { createContextWindows } from "./models/context-window.ts";
import { offeredModels } from "./models/defaults.ts";
import type { Models } from "./models/model.ts";
import { createNodes } from "./nodes/nodes.ts";
import { type Cooldowns, createCooldowns } from "./runs/cooldowns.ts";
import { type Cancelled, startWorker, type Worker, type WorkerDeps } from "./runs/worker.ts";
import { assertStarts } from "./start-check.ts";
import { openStore } from "./store/sqlite.ts";
import type { RunRecord, RunSelection, Store } from "./store/store.ts";
import { createAttachmentFiles } from "./subagents/attachment-files.ts";
import { startCleanUp } from "./subagents/clean-up.ts";
import { createRedact, type ToolsOf } from "./tools/agent-tools.ts";
import { callDirectly } from "./tools/direct-call.ts";
import type { Tool } from "./tools/tool.ts";
import type { Principal } from "./principal/principal.ts";

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
  readonly clock: SteadyClock;
  readonly ids: Ids;
  readonly tools: readonly Tool[];
  /** Checks every result against its definition. */
  readonly checkResults: boolean;
}

export interface Gateway extends AsyncDisposable {
  readonly listener: Listener;
  readonly keys: StateKeys;
  /** Where the shared secret is, for a person. */
  readonly secretFrom: string;
  /** SHA-256 of the certificate that clients see; undefined without TLS. */
  readonly tlsFingerprint: string | undefined;
  readonly store: Store;
  readonly bus: Bus;
  readonly dispatch: Dispatch;
  readonly models: Models;
  readonly agents: AgentFacts;
  /** Runs that are at work now. */
  activeRuns(): number;
}

/** Opens everything, in order. @throws what the part that cannot be opened throws; what was opened before is closed again. */
export async function compose(options: ComposeOptions): Promise<Gateway> {
  const { config, stateDir, env, log, clock, ids } = options;
  await assertStarts(config, { ...options, nowMs: clock.now() });
  await using resources = new AsyncDisposableStack();

  const { keys, secretFile, secretFrom } = await openKeys(options);
  for (const warning of findWarnings(config.gateway)) log.warn({}, warning);
  const tls = await openTls(config.gateway, { stateDir, configFile: options.configFile, nowMs: clock.now() });
  const bus = new Bus();
  const store = resources.use(await openStore(stateDir, ids, { onAppended: (appended) => bus.publish("appended", appended) }));
  const refusals = resources.use(createRefusalCounter({ store: store.refusals, clock, log }));
  // Authority ends by it, deadlines of runs included; and what a run says of itself stays in one order.
  const timed = { ...options, clock: createAuthorityClock(clock, await store.devices.newestTimeMs()) };
  const live = new LiveConfig(config);
  const models = liveModels(live, { env, clock });
  const [cooldowns, toolsOf] = [createCooldowns(), openTools(options, live)];
  const agents = agentFacts(timed, live, { models, cooldowns });
  await makeWorkspaces(live, agents);

  const late: LateParts = {};
  const secret = resources.use(
    createSharedSecret({ initial: keys.secret, path: secretFile, clock, log, onChanged: () => late.listener?.closeDeviceless() }),
  );
  const identity = createIdentity(timed, { keys: { ...keys, secret }, store, bus, late, signingClock: clock });
  const { deviceDeps, admission, setupCodes, nodePairing, ...management } = identity;
  const nodes = resources.use(createNodes({ store, bus, clock, ids, log }));
  const connected = (): readonly Principal[] => late.listener?.connectedPrincipals() ?? [];
  const approvals = resources.use(await startApprovals({ store: store.approvals, bus, clock: deviceDeps.clock, ids, log, connected }));
  resources.use(await startEndings(deviceDeps, store));
  const attachments = createAttachmentFiles(stateDir, ids, store.sessions);
  const handlerDeps = createHandlerDeps(timed, live, { store, bus, agents, late, toolsOf, attachments });
  const handlers = createHandlers({
    shared: handlerDeps,
    catalogue: createCatalogue(timed, handlerDeps, { toolsOf, keys, cooldowns }),
    devices: { ...admission, ...management, connectedDevices: () => late.listener?.connectedDevices() ?? new Set<string>() },
    nodes: { pairing: nodePairing, nodes, manager: management.manager, work: store.nodeWork, now: deviceDeps.clock.now },
    approvals,
    setup: createSetupDeps(options, setupCodes, late),
    audit: { store, now: () => clock.now(), flushRefusals: () => refusals.flush() },
    system: createSystemDeps(options, late),
    cron: createCronDeps(options, handlerDeps, late),
    config: await createConfigDeps({ ...options, gatewayKey: keys.gatewayKey, now: () => clock.now(), live, store, bus, agents }),
  });
  const dispatch = createDispatch({ handlers, log, ids, clock, countRefusal: refusals.count, checkResults: options.checkResults });
  late.dispatch = dispatch;

  const core = { store, bus, clock: timed.clock, ids, log, models, toolsOf, callerFor: handlerDeps.callerFor, cooldowns };
  late.worker = resources.use(await startRuns(options, live, { agents, core }));
  late.scheduler = resources.use(await startScheduler({ ...core, clock, store: store.cron, agents, ...config.cron, localTimeZone }));
  resources.use(startCleanUp({ ...core, attachments, sessions: store.sessions, archiveAfterMs: archiveAfterMs(config) }));

  const serving = { keys, tls, ...admission, dispatch, bus, countRefusal: refusals.count, nodes: nodes.links };
  late.listener = resources.use(await openListener({ ...listenerFacts(options, handlerDeps), ...serving }));

  const owned = resources.move();
  const parts = { listener: late.listener, keys, secretFrom, tlsFingerprint: tls?.fingerprint, store, bus, dispatch, models, agents };
  return { ...parts, activeRuns: () => late.worker?.activeRuns() ?? 0, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** What the listener says of the gateway, beside who serves it. */
function listenerFacts({ config, configFile, stateDir, clock, log, ids, version }: ComposeOptions, deps: HandlerDeps) {
  return {
    config: config.gateway,
    clock,
    log,
    ids,
    version,
    paths: { configPath: configFile, stateDir },
    health: () => readHealth(deps),
    sessionDefaults: () => Promise.resolve(sessionDefaults(deps.agents)),
    rowOf: (key: string) => readSessionRow(deps, key),
    messagesOf: (key: string, range: { readonly fromSeq: number; readonly throughSeq: number }) => readMessages(deps.store, key, range),
  };
}

/** What ended while no gateway ran ends before anything goes on. */
async function startEndings(deps: ExpiryDeps, { devices, runs }: Store): Promise<Disposable> {
  await cancelRunsOfDeparted({ ...deps, devices, runs });
  return startExpiries(deps);
}

/** Who may come in, and what becomes of it: the secret and device tokens, pairing, nodes, invitations. */
function createIdentity({ config, clock, log }: ComposeOptions, { keys, store, bus, late, signingClock }: IdentityParts) {
  const credentials = createCredentials(keys);
  const deviceDeps = { store: store.devices, credentials, clock, signingClock, log, bus };
  const expel: ExpelDevice = (target, lastAnswer) => late.listener?.expelDevice(target, lastAnswer) ?? Promise.resolve();
  const nodePairing = createNodePairing({ ...deviceDeps, store: store.nodes, expel });
  const policy = { authMode: config.gateway.auth.mode, autoApproveLocal: config.gateway.pairing.autoApproveLocal };
  const attempts = createAttempts({ store: store.attempts, clock: signingClock });
  const pairing = createPairing({ ...deviceDeps, ...policy, attempts, nodes: nodePairing });
  const setupCodes = createSetupCodes({ ...deviceDeps, store: store.setupCodes, attempts });
  return {
    deviceDeps,
    admission: {
      pairing: withSetupCodes(pairing, setupCodes),
      bearers: createBearers({ ...deviceDeps, ...policy, bearers: store.bearers, devices: store.devices, attempts }),
    },
    setupCodes,
    nodePairing,
    manager: createDeviceManager({ ...deviceDeps, expel, cancelRuns: async (select) => (await cancelRuns(late, select)).runs }),
    upgrades: createScopeUpgrades(deviceDeps),
  };
}

function createSetupDeps({ config }: ComposeOptions, setupCodes: SetupCodes, late: LateParts): SetupHandlerDeps {
  const { publicUrl, auth } = config.gateway;
  return { setupCodes, publicUrl, listeningUrl: () => late.listener?.url ?? "", authMode: auth.mode, toQrDataUrl };
}

function createSystemDeps({ clock, stateDir }: ComposeOptions, late: LateParts): SystemHandlerDeps {
  const nobody: PresenceBoard = { list: () => [], say: () => undefined };
  return { now: () => clock.now(), presence: () => late.listener?.presence ?? nobody, logFile: logFileIn(stateDir) };
}

interface IdentityParts {
  /** The machine's own: what devices sign by. */
  readonly signingClock: Clock;
  readonly keys: Parameters<typeof createCredentials>[0];
  readonly store: Store;
  readonly bus: Bus;
  readonly late: LateParts;
}

/** Parts that methods reach although they are made after them: a worker runs tools that call methods, a listener serves them. */
interface LateParts {
  dispatch?: Dispatch;
  worker?: Worker;
  listener?: Listener;
  scheduler?: Scheduler;
}

const notStarted: Dispatch = () => Promise.reject(new Error("the gateway has not started"));

function createCronDeps({ ids }: ComposeOptions, shared: HandlerDeps, late: LateParts): CronHandlerDeps {
  return { ...shared, scheduler: () => late.scheduler ?? neverStarted(), processInstanceId: ids.uuid() };
}

function neverStarted(): never {
  throw new Error("the gateway has not started");
}

/** Of the machine, where a job names none. */
function localTimeZone(): string {
  return new Intl.DateTimeFormat().resolvedOptions().timeZone;
}

async function cancelRuns({ worker }: LateParts, select: RunSelection): Promise<Cancelled> {
  return (await worker?.cancel(select)) ?? { runs: [], failed: [] };
}

/** A stop that left something running is no success: it says what. */
async function stopRuns(late: LateParts, select: RunSelection): Promise<readonly RunRecord[]> {
  const { runs, failed } = await cancelRuns(late, select);
  if (failed.length === 0) return runs;
  const pids = failed.flatMap((one) => one.pids);
  throw new ProtocolError("STOP_INCOMPLETE", `${runs.length - failed.length} runs were stopped, ${failed.length} could not be`, {
    details: { stopped: runs.length - failed.length, failed: failed.map((one) => ({ ...one })) },
    remedy: pids.length === 0 ? "restart the gateway: a tool does not let go" : `end the processes yourself: kill -9 ${pids.join(" ")}`,
  });
}

/** How tools run programs. What every program needs of the environment is there; no key and no token reaches one. */
function programs(env: ComposeOptions["env"]) {
  const names = ["PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "TERM"];
  const kept = names.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]] as const]));
  return { programEnv: Object.fromEntries(kept), programs: new ProcessGroups() };
}

type SharedParts = Pick<HandlerDeps, "store" | "bus" | "agents" | "attachments"> & { readonly late: LateParts; readonly toolsOf: ToolsOf };

function createHandlerDeps({ clock, version }: ComposeOptions, live: LiveConfig, { late, toolsOf, ...parts }: SharedParts): HandlerDeps {
  const order = new SessionOrder();
  return {
    ...parts,
    order,
    version,
    now: () => clock.now(),
    clock,
    admitRun: (run) => late.worker?.admit(run) ?? parts.store.runs.admit(run, clock.now()),
    spawnRun: (child) => late.worker?.spawn(child) ?? parts.store.runs.spawn(child, clock.now()),
    cancelRuns: (select) => ("sessionKey" in select ? order.stop(select.sessionKey, () => stopRuns(late, select)) : stopRuns(late, select)),
    compactSession: (ask) => late.worker?.compact(ask) ?? Promise.reject(new Error("no worker has started")),
    connections: () => late.listener?.counts() ?? { accepted: 0, open: 0 },
    get spawnLimits() {
      return live.current.agents.defaults.subagents;
    },
    get sessionRules() {
      return live.current.agents.defaults.sessions;
    },
    callerFor: (principal) => createCaller(late.dispatch ?? notStarted, principal),
    toolNamesOf: (authority, agentId) => toolsOf(authority, agentId).map((tool) => tool.name),
  };
}

function createCatalogue(
  { config, clock, tools }: ComposeOptions,
  shared: HandlerDeps,
  { toolsOf, keys, cooldowns }: { readonly toolsOf: ToolsOf; readonly keys: StateKeys; readonly cooldowns: Cooldowns },
): CatalogueDeps {
  const contextWindowOf = createContextWindows(config.models.contextWindows);
  return {
    ...shared,
    get spawnLimits() {
      return shared.spawnLimits;
    },
    get sessionRules() {
      return shared.sessionRules;
    },
    tools,
    toolsOf,
    callTool: (call) => callDirectly({ toolsOf, workspaceOf: shared.agents.workspaceOf }, call),
    models: { offered: offeredModels, contextWindowOf, cooling: () => cooldowns.cooling(clock.now()) },
    gatewayKey: { id: keys.gatewayId, publicKey: keys.gatewayKey.publicKey },
  };
}

interface OpenKeys {
  readonly keys: StateKeys;
  /** The file that holds the shared secret, if one does. */
  readonly secretFile: string | undefined;
  readonly secretFrom: string;
}

/** The keys of the state folder, with the shared secret from where the configuration says. */
async function openKeys({ config, configFile, stateDir, env, log }: ComposeOptions): Promise<OpenKeys> {
  const { auth } = config.gateway;
  const source = findSecretSource(auth, env, dirname(configFile));
  const configuredSecret = source?.kind === "file" ? readSecretFile(source.path) : source?.secret;
  const keys = await openStateKeys(stateDir, { configuredSecret, env });
  if (keys.tightened.length > 0) log.warn({ paths: keys.tightened }, "permissions were too wide and have been narrowed");
  if (source?.kind === "value")
    return { keys, secretFile: undefined, secretFrom: auth.mode === "none" ? noSecret : nameOf(source, configFile) };
  const secretFile = source?.path ?? secretFileIn(stateDir);
  return { keys, secretFile, secretFrom: auth.mode === "none" ? noSecret : secretFile };
}

const noSecret = "none is asked for";

function nameOf({ name }: Extract<SecretSource, { kind: "value" }>, configFile: string): string {
  return name.startsWith("gateway.") ? `${name} in ${configFile}` : name;
}

type RunCore = Pick<WorkerDeps, "store" | "bus" | "clock" | "ids" | "log" | "models" | "toolsOf" | "callerFor" | "cooldowns">;

function startRuns(
  { config, env, stateDir, tools }: ComposeOptions,
  live: LiveConfig,
  { agents: { workspaceOf, fallbacksOf }, core }: { readonly agents: AgentFacts; readonly core: RunCore },
): Promise<Worker> {
  const attachmentsOf = (id: string): string => join(attachmentsIn(stateDir), id);
  const redact = createRedact(tools);
  const parts = { workspaceOf, fallbacksOf, attachmentsOf, redact, pace: createPace() };
  return startWorker({ ...core, ...parts, ...programs(env), ...runSettings(config, live) });
}

/** Drawn seldom: the library stays off start-up. */
async function toQrDataUrl(text: string): Promise<string> {
  return (await import("./kit/qr.ts")).toQrDataUrl(text);
}

function sessionDefaults({ defaultAgentId }: AgentFacts) {
  return { defaultAgentId, mainKey, mainSessionKey: mainSessionKey(defaultAgentId), scope: "per-sender", modelConfigured: true };
}
