/** `config.*`: the file shown without its secrets, and changed under its hash, on the record. */
import { basename } from "node:path";
import { covers, isRecord, ProtocolError, type Result } from "@portreeve/protocol";
import type { Bus } from "../bus.ts";
import type { Context, Handlers } from "../dispatch/types.ts";
import { checkConfig, type Config, ConfigError, parseJson5 } from "../kit/config.ts";
import { assertKeysStay, changedPaths, mergePatch } from "../kit/config-change.ts";
import type { ConfigFile, ConfigText } from "../kit/config-file.ts";
import { hasSentinel, redact, restore, saysNoMore, valueAt } from "../kit/config-redaction.ts";
import { type KeySchema, listHints, lookUp, toConfigSchema, toPath } from "../kit/config-schema.ts";
import type { LiveConfig } from "../kit/live-config.ts";
import { Secret } from "../kit/secret.ts";
import type { ConfigChangeStore } from "../store/audit-store.ts";

export interface ConfigHandlerDeps {
  readonly file: ConfigFile;
  readonly live: LiveConfig;
  /** What the file said when the gateway started. */
  readonly started: Config;
  readonly changes: ConfigChangeStore;
  readonly bus: Bus;
  readonly now: () => number;
  readonly version: string;
  /** @throws ConfigError for what no gateway would start with */
  readonly assertUsable: (config: Config) => void;
  /** Whether a folder lies in one that some agent's tools see now. */
  readonly isSeenByAgents: (folder: string) => Promise<boolean>;
  /** After a change counts: makes what it needs. */
  readonly onTaken: () => Promise<void>;
}

type ConfigMethod = "config.get" | "config.schema" | "config.schema.lookup" | "config.set" | "config.patch" | "config.apply";
type Changed = Result<"config.set">;
/** A context of any method: none of these gives two answers. */
type Caller = Pick<Context, "principal">;

interface Change {
  readonly method: "config.set" | "config.patch" | "config.apply";
  readonly raw: string;
  readonly baseHash: string | undefined;
  readonly replacePaths?: readonly string[];
}

export function configHandlers(deps: ConfigHandlerDeps): Pick<Handlers, ConfigMethod> {
  // One change after the other: each looks at the file that the one before left.
  let last: Promise<unknown> = Promise.resolve();
  const change = (context: Caller, asked: Change): Promise<Changed> => {
    const done = last.then(() => changeConfig(deps, context, asked));
    last = done.catch(() => undefined);
    return done;
  };
  return {
    "config.get": (context) => readSnapshot(deps, context),
    "config.schema": () => {
      const schema = toConfigSchema();
      const generatedAt = new Date(deps.now()).toISOString();
      return Promise.resolve({ schema, uiHints: { ...listHints(schema) }, version: deps.version, generatedAt });
    },
    "config.schema.lookup": (_context, { path }) => {
      const found = lookUp(toConfigSchema(), toPath(path));
      if (found === undefined) return Promise.reject(new ProtocolError("UNKNOWN_CONFIG_KEY", "config schema path not found"));
      return Promise.resolve({ ...found, children: [...found.children] });
    },
    "config.set": (context, { raw, baseHash }) => change(context, { method: "config.set", raw, baseHash }),
    "config.patch": (context, { raw, baseHash, replacePaths }) => change(context, { method: "config.patch", raw, baseHash, replacePaths }),
    "config.apply": (context, { raw, baseHash }) => change(context, { method: "config.apply", raw, baseHash }),
  };
}

async function readSnapshot(deps: ConfigHandlerDeps, context: Caller): Promise<Result<"config.get">> {
  const schema = toConfigSchema();
  const found = await readFile(deps.file);
  const { value, config, issues } = judge(found);
  const shown = isRecord(value) ? asObject(redact(value, schema)) : null;
  // A comment, or a key that stands twice, may hold the secret that was there before.
  const isShowable = shown !== null && !hasSentinel(shown) && saysNoMore(found.text);
  return {
    path: pathFor(deps, context),
    exists: found.exists,
    raw: isShowable ? found.text : null,
    parsed: shown,
    sourceConfig: shown,
    resolved: shown,
    config: shown,
    runtimeConfig: asObject(redact(toPlain(deps.live.current), schema)),
    valid: config !== undefined,
    issues: [...issues],
    warnings: [],
    legacyIssues: [],
    includedPaths: [],
    hash: found.hash,
    restartRequired: config === undefined ? [] : [...waiting(deps, config)],
  };
}

async function changeConfig(deps: ConfigHandlerDeps, context: Caller, asked: Change): Promise<Changed> {
  const before = await readFile(deps.file);
  assertBase(before, asked.baseHash);
  const schema = toConfigSchema();
  const { current, next, text, config } = attempt(() => toNext(deps, { before, asked, schema }));
  await assertNoNewReach(deps, current, next);
  const paths = changedPaths(current, next).map((path) => path.join("."));
  const isNoop = before.exists && (text === before.text || (asked.method === "config.patch" && paths.length === 0));
  const hash = isNoop ? before.hash : deps.file.hashOf(text);
  if (!isNoop) {
    const record = { by: context.principal.id, method: asked.method, paths, hash };
    await replaceFile(deps.file, text, () => deps.changes.record(record, deps.now()));
    deps.bus.publish("config.changed", { path: deps.file.path, hash, ts: deps.now() });
  }
  // Also what its owner wrote into the file meanwhile.
  deps.live.take(deps.live.blend(config));
  await deps.onTaken();
  const restartRequired = [...waiting(deps, config)];
  return {
    ok: true,
    ...(isNoop ? { noop: true } : {}),
    path: pathFor(deps, context),
    hash,
    config: asObject(redact(next, schema)),
    changedPaths: isNoop ? [] : paths,
    restartRequired,
    sentinel: toSentinel(asked.method, restartRequired, deps.now()),
  };
}

/** The value, text and configuration that a change would make. @throws ConfigError */
function toNext(
  deps: ConfigHandlerDeps,
  { before, asked, schema }: { readonly before: ConfigText; readonly asked: Change; readonly schema: KeySchema },
) {
  const written = parseJson5(asked.raw, "raw");
  if (!isRecord(written)) throw ConfigError.at("", "must be an object");
  const isPatch = asked.method === "config.patch";
  // A file that cannot be read can be replaced, but nothing can be merged into it.
  const current = isPatch ? parseJson5(before.text, "the file as it is") : (judge(before).value ?? {});
  const merged = isPatch ? mergePatch(current, written, asked.replacePaths) : written;
  const next = restore(merged, current, schema);
  const config = checkConfig(next, "raw");
  deps.assertUsable(config);
  assertKeysStay(current, written, next);
  const isVerbatim = !isPatch && !hasSentinel(written);
  return { current, next, config, text: isVerbatim ? withLineEnd(asked.raw) : `${JSON.stringify(next, undefined, 2)}\n` };
}

/**
 * What agents see of this machine is its owner's to say, in the file: who may only call methods, with a stolen token too, could
 * else have an agent read the gateway's own keys to them.
 */
async function assertNoNewReach({ isSeenByAgents }: ConfigHandlerDeps, before: unknown, after: unknown): Promise<void> {
  const entries = valueAt(after, ["agents", "entries"]);
  for (const id of isRecord(entries) ? Object.keys(entries) : []) {
    const path = ["agents", "entries", id, "workspace"];
    const folder = valueAt(after, path);
    if (typeof folder !== "string" || folder === valueAt(before, path) || (await isSeenByAgents(folder))) continue;
    attempt(() => {
      throw ConfigError.at(path.join("."), "must lie in a folder that an agent has already; another one is set in the file itself");
    });
  }
}

function assertBase({ exists, hash }: ConfigText, baseHash: string | undefined): void {
  const remedy = "read config.get, look at what is there, and send its hash as baseHash";
  if (baseHash === undefined && exists)
    throw new ProtocolError("CONFIG_HASH_REQUIRED", "config base hash required; re-run config.get and retry", { remedy });
  if (baseHash !== undefined && baseHash !== hash)
    throw new ProtocolError("CONFIG_CHANGED", "config changed since last load; re-run config.get and retry", { remedy });
}

function attempt<T>(make: () => T): T {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const issues = error.issues.length === 0 ? [{ path: "", message: error.message }] : error.issues;
    const text = issues.map(({ path, message }) => (path === "" ? message : `${path}: ${message}`)).join("; ");
    throw new ProtocolError("CONFIG_INVALID", `invalid config: ${text}`, {
      details: { issues: issues.map((issue) => ({ ...issue })) },
      remedy: "every setting: config.schema, or docs/reference/config.md",
    });
  }
}

/** What a text is worth: its value when it is JSON5, its configuration when that is valid, else what is wrong. */
function judge({ text }: ConfigText): { value?: unknown; config?: Config; issues: ConfigError["issues"] } {
  let value: unknown;
  try {
    value = parseJson5(text, "the file");
    return { value, config: checkConfig(value, "the file"), issues: [] };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return { value, issues: error.issues };
  }
}

async function readFile(file: ConfigFile): Promise<ConfigText> {
  return file.read().catch((error: unknown) => {
    throw unusable("read", error);
  });
}

async function replaceFile(file: ConfigFile, text: string, settle: () => Promise<void>): Promise<void> {
  try {
    await file.replace(text, settle);
  } catch (error) {
    throw error instanceof ProtocolError ? error : unusable("written", error);
  }
}

function unusable(what: "read" | "written", cause: unknown): ProtocolError {
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "failed";
  return new ProtocolError("CONFIG_UNWRITABLE", `the configuration file cannot be ${what} (${code}); nothing was changed`, {
    remedy: "give the gateway's user the file and its folder, and free space",
    cause,
  });
}

/** The keys of the file that do not count yet; what the command line said instead of it at the start is no difference. */
function waiting({ live, started }: ConfigHandlerDeps, config: Config): readonly string[] {
  const now = { ...live.current, gateway: started.gateway };
  return changedPaths(toComparable(now), toComparable(config)).map((path) => path.join("."));
}

function pathFor({ file }: ConfigHandlerDeps, { principal }: Caller): string {
  // Where things are on this machine is for its owner.
  return covers(principal.scopes, "operator.admin") ? file.path : basename(file.path);
}

function toSentinel(mode: Change["method"], restartRequired: readonly string[], ts: number): Changed["sentinel"] {
  const requiresRestart = restartRequired.length > 0;
  const message = requiresRestart ? `counts after a restart: ${restartRequired.join(", ")}` : "counts now";
  const kind = mode.replace(".", "-");
  return {
    persisted: false,
    payload: { kind, status: "ok", ts, message, doctorHint: "./portreeve doctor", stats: { mode, requiresRestart } },
  };
}

/** As JSON, every secret as its digest: two are the same when their digests are. */
function toComparable(config: Config): unknown {
  return toPlain(config, (secret) => secret.digest());
}

function toPlain(value: unknown, show: (secret: Secret) => string = String): unknown {
  if (value instanceof Secret) return show(value);
  if (Array.isArray(value)) return value.map((item) => toPlain(item, show));
  if (!isRecord(value)) return value;
  return Object.fromEntries(Object.entries(value).flatMap(([key, item]) => (item === undefined ? [] : [[key, toPlain(item, show)]])));
}

function asObject(value: unknown): Record<string, unknown> {
  return isRecord(value) ? value : {};
}

function withLineEnd(text: string): string {
  return text.endsWith("\n") ? text : `${text}\n`;
}
