/** Gathers the facts of a state folder and its configuration. Reads only, with a gateway running or not. */
import { lstat, readFile, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { gatewayKeyName, parseGatewayKey, parseTokenKey, tokenKeyName } from "../identity/state-keys.ts";
import { ConfigError, readConfig, type Config } from "../kit/config.ts";
import { isFullDisk } from "../kit/full-disk.ts";
import { secretFileIn } from "../kit/home.ts";
import { isAlive, readRunning } from "../kit/running.ts";
import { normaliseModelId } from "../models/defaults.ts";
import { createModels } from "../models/registry.ts";
import { fold, JournalError } from "../runs/machine.ts";
import type { JournalEntry } from "../store/journal.ts";
import { assertStarts } from "../start-check.ts";
import { openReadOnlyStore, type ReadOnlyStore } from "../store/read-only.ts";
import { createTools } from "../tools/all.ts";
import { hasTls } from "./config-checks.ts";
import { gatherDisk } from "./disk.ts";
import type { ConfigFacts, DoctorFacts, FolderFacts, GatewayFacts, KeyProblem, ModeProblem, OwnClient, StoreFacts } from "./facts.ts";

export interface DoctorOptions {
  readonly configFile: string;
  readonly stateDir: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly own: OwnClient | undefined;
  readonly nowMs: number;
}

export async function gatherFacts({ configFile, stateDir, env, own, nowMs }: DoctorOptions): Promise<DoctorFacts> {
  const config = await gatherConfig({ configFile, stateDir, env, nowMs });
  return {
    nowMs,
    configFile,
    stateDir,
    folder: await gatherFolder(stateDir),
    disk: await gatherDisk(stateDir),
    gateway: await gatherGateway(stateDir),
    config,
    database: await gatherStore(stateDir, nowMs),
    own,
  };
}

async function gatherFolder(stateDir: string): Promise<FolderFacts> {
  try {
    const paths = [stateDir, ...(await readdir(stateDir)).map((name) => join(stateDir, name))];
    const stats = await Promise.all(paths.map(async (path) => ({ path, stat: await lstat(path) })));
    return {
      kind: "read",
      modeProblems: stats.flatMap(({ path, stat: found }) => findModeProblem(path, found) ?? []),
      foreign: stats.filter(({ stat: found }) => found.uid !== process.getuid?.()).map(({ path }) => path),
      ...(await gatherKeys(stateDir)),
      newestMs: Math.max(...stats.map(({ stat: found }) => found.mtimeMs)),
    };
  } catch (error) {
    return codeOf(error) === "ENOENT" ? { kind: "missing" } : { kind: "unreadable", problem: codeOf(error) };
  }
}

function findModeProblem(path: string, found: { readonly mode: number; isDirectory(): boolean }): ModeProblem | undefined {
  const allowed = found.isDirectory() ? 0o700 : 0o600;
  const mode = found.mode & 0o777;
  return (mode & ~allowed) === 0 ? undefined : { path, mode: mode.toString(8), allowed: allowed.toString(8) };
}

async function gatherKeys(
  stateDir: string,
): Promise<{ readonly keyProblems: readonly KeyProblem[]; readonly missingKeys: readonly string[] }> {
  const checks: readonly (readonly [path: string, parse: (text: string, path: string) => unknown])[] = [
    [join(stateDir, gatewayKeyName), parseGatewayKey],
    [join(stateDir, tokenKeyName), parseTokenKey],
    [secretFileIn(stateDir), assertText],
  ];
  const [keyProblems, missingKeys]: [KeyProblem[], string[]] = [[], []];
  for (const [path, parse] of checks) {
    try {
      parse((await readFile(path, "utf8")).trim(), path);
    } catch (error) {
      // A configured secret needs no file of its own.
      if (codeOf(error) === "ENOENT" && path !== secretFileIn(stateDir)) missingKeys.push(path);
      else if (codeOf(error) !== "ENOENT") keyProblems.push({ path, text: describe(error, path) });
    }
  }
  return { keyProblems, missingKeys };
}

function assertText(text: string, path: string): void {
  if (text === "") throw new Error(`${path} is empty`);
}

async function gatherGateway(stateDir: string): Promise<GatewayFacts> {
  const said = await readRunning(stateDir);
  const isLocked = await holdsLock(join(stateDir, "lock.db"));
  if (isLocked) return said !== undefined && isAlive(said.pid) ? { kind: "running", ...said } : { kind: "unknown" };
  return said === undefined ? { kind: "down" } : { kind: "stale", pid: said.pid };
}

/** Whether a gateway holds the folder: asked by reading, which its exclusive lock forbids. */
async function holdsLock(file: string): Promise<boolean> {
  if (!(await exists(file))) return false;
  try {
    using lock = new DatabaseSync(file, { readOnly: true, timeout: 0 });
    lock.prepare("select count(*) from sqlite_master").get();
    return false;
  } catch (error) {
    return error instanceof Error && "errcode" in error && error.errcode === 5;
  }
}

type ConfigPlaces = Pick<DoctorOptions, "configFile" | "stateDir" | "env" | "nowMs">;

async function gatherConfig(places: ConfigPlaces): Promise<DoctorFacts["config"]> {
  try {
    return { kind: "read", ...(await toConfigFacts(await readConfig(places.configFile), places)) };
  } catch (error) {
    if (error instanceof ConfigError) return { kind: "broken", problem: error.message, cure: error.remedy };
    throw error;
  }
}

async function findStartProblem(config: Config, places: ConfigPlaces): Promise<string | undefined> {
  try {
    await assertStarts(config, { ...places, tools: createTools() });
    return undefined;
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
}

/** With a secret in it the file is for its owner alone; without one others may read it. */
async function findConfigModeProblem(configFile: string, holdsSecret: boolean): Promise<ModeProblem | undefined> {
  const found = await stat(configFile).catch(() => undefined);
  if (found === undefined) return undefined;
  if (holdsSecret) return findModeProblem(configFile, found);
  const mode = found.mode & 0o777;
  return (mode & 0o022) === 0 ? undefined : { path: configFile, mode: mode.toString(8), allowed: (mode & 0o755).toString(8) };
}

async function toConfigFacts(config: Config, places: ConfigPlaces): Promise<ConfigFacts> {
  const { configFile, env } = places;
  const { gateway, agents } = config;
  const models = createModels({ providers: config.models.providers, defaultModel: agents.defaults.model, env });
  const used = Object.entries(agents.entries).map(([agentId, { model }]) => ({
    agentId,
    model: normaliseModelId(model ?? models.defaultId),
  }));
  const configured = Object.entries(agents.entries).flatMap(([agentId, { workspace: path }]) =>
    path === undefined ? [] : [{ agentId, path }],
  );
  const areFolders = await Promise.all(configured.map(({ path }) => isFolder(path)));
  const { token, password } = gateway.auth;
  const secrets = [token, password, ...Object.values(config.models.providers).map(({ apiKey }) => apiKey)];
  const holdsSecret = secrets.some((one) => one !== undefined);
  const unusableFallbacks = Object.entries(agents.entries).flatMap(([agentId, { fallbacks = agents.defaults.fallbacks }]) =>
    fallbacks.flatMap((model) => {
      const problem = models.problemWith(model);
      return problem === undefined ? [] : [{ agentId, model, problem }];
    }),
  );
  return {
    startProblem: await findStartProblem(config, places),
    holdsSecret,
    modeProblem: await findConfigModeProblem(configFile, holdsSecret),
    bind: gateway.bind,
    publicUrl: gateway.publicUrl,
    hasTls: hasTls(gateway),
    allowedOrigins: gateway.allowedOrigins,
    trustedProxies: gateway.trustedProxies,
    secretLength: (gateway.auth.token?.reveal() ?? (env["PORTREEVE_TOKEN"] || undefined))?.length,
    models: used.map((one) => ({ ...one, problem: models.problemWith(one.model) })),
    unusableFallbacks,
    missingWorkspaces: configured.filter((_one, index) => areFolders[index] === false),
  };
}

export async function gatherStore(stateDir: string, nowMs: number): Promise<DoctorFacts["database"]> {
  try {
    await using store = openReadOnlyStore(stateDir);
    if (store === undefined) return { kind: "missing" };
    if (await store.isEmpty()) return { kind: "empty" };
    return { kind: "read", ...(await readStoreFacts(store, nowMs)) };
  } catch (error) {
    if (isFullDisk(error)) return { kind: "no-room" };
    return { kind: "unreadable", problem: error instanceof Error ? error.message : String(error) };
  }
}

async function readStoreFacts(store: ReadOnlyStore, nowMs: number): Promise<StoreFacts> {
  const facts = await store.inspect(nowMs);
  const devices = await Promise.all(facts.deviceIds.map(async (deviceId) => ({ deviceId, state: await store.devices.find(deviceId) })));
  const { pending } = await store.devices.list(nowMs);
  const journals = store.openJournals();
  const brokenJournals = journals.flatMap(({ runId, entries }) => {
    const problem = findJournalProblem(entries);
    return problem === undefined ? [] : [{ runId, problem }];
  });
  return { ...facts, chain: await store.audit.verify(), devices, pending, brokenJournals };
}

function findJournalProblem(entries: readonly JournalEntry[]): string | undefined {
  try {
    fold(entries);
    return undefined;
  } catch (error) {
    if (error instanceof JournalError) return error.message;
    throw error;
  }
}

async function exists(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  );
}

async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

function describe(error: unknown, path: string): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.includes(path) ? text : `${path}: ${text}`;
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : String(error);
}
