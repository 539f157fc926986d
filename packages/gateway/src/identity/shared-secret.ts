/**
 * The shared secret, wherever it comes from. One that stands in a file is read again when the file changes: from that moment
 * the new one is right and the old one is wrong, and whoever listens is told.
 */
import { readFileSync, statSync, type Stats } from "node:fs";
import { resolve } from "node:path";
import type { Clock } from "../kit/clock.ts";
import { ConfigError, type Config } from "../kit/config.ts";
import type { Log } from "../kit/log.ts";
import { Secret } from "../kit/secret.ts";

type AuthConfig = Config["gateway"]["auth"];
type Env = Readonly<Record<string, string | undefined>>;

/** Where the configuration or the environment has a secret. */
export type SecretSource =
  | { readonly kind: "value"; readonly secret: Secret; /** The setting or variable. */ readonly name: string }
  | { readonly kind: "file"; readonly path: string };

/** The secret that was chosen, or undefined: then the gateway makes one. @throws ConfigError in mode `password` without one. */
export function findSecretSource(auth: AuthConfig, env: Env, configDir: string): SecretSource | undefined {
  const isPassword = auth.mode === "password";
  const [value, file] = isPassword ? [auth.password, auth.passwordFile] : [auth.token, auth.tokenFile];
  const variable = isPassword ? "PORTREEVE_PASSWORD" : "PORTREEVE_TOKEN";
  if (value !== undefined) return { kind: "value", secret: value, name: `gateway.auth.${isPassword ? "password" : "token"}` };
  if (file !== undefined) return { kind: "file", path: resolve(configDir, file) };
  const fromEnvironment = env[variable];
  if (fromEnvironment) return { kind: "value", secret: new Secret(fromEnvironment), name: variable };
  if (!isPassword) return undefined;
  throw new ConfigError(
    "gateway.auth.mode is password and there is none: set gateway.auth.password, gateway.auth.passwordFile or PORTREEVE_PASSWORD",
  );
}

/** The secret in `path`, trimmed. @throws ConfigError when it cannot be read, is empty, or other users could read it. */
export function readSecretFile(path: string): Secret {
  const stat = attempt(path, () => statSync(path));
  assertPrivate(path, stat);
  const text = attempt(path, () => readFileSync(path, "utf8")).trim();
  if (text === "") throw new ConfigError(`the secret file ${path} is empty: write the secret into it`);
  return new Secret(text);
}

export interface SharedSecret extends Disposable {
  /** Whether `candidate` is the secret as it stands now. */
  equals(candidate: string): boolean;
}

export interface SharedSecretOptions {
  readonly initial: Secret;
  /** The file that is read again; undefined for a secret that changes with a restart only. */
  readonly path: string | undefined;
  readonly clock: Clock;
  readonly log: Log;
  /** The secret is another one now. Must not throw. */
  readonly onChanged: () => void;
}

/** How soon a change is noticed when nobody connects; a connection notices it at once. */
const lookEveryMs = 1_000;
/** How long after a write a file's times may not yet tell it from the next one. */
const freshMs = 2_000;

export function createSharedSecret({ initial, path, clock, log, onChanged }: SharedSecretOptions): SharedSecret {
  if (path === undefined) return { equals: (candidate) => initial.equals(candidate), [Symbol.dispose]: () => undefined };
  const file = new SecretFile(path, initial, { clock, log, onChanged });
  let timer: Disposable;
  const watch = (): void => {
    timer = clock.schedule(clock.now() + lookEveryMs, () => {
      watch();
      file.look();
    });
  };
  watch();
  return {
    equals: (candidate) => file.look()?.equals(candidate) ?? false,
    [Symbol.dispose]: () => timer[Symbol.dispose](),
  };
}

type FileDeps = Pick<SharedSecretOptions, "clock" | "log" | "onChanged">;

class SecretFile {
  readonly #path: string;
  readonly #deps: FileDeps;
  #newest: Secret;
  /** Undefined while the file cannot be used: then nothing is right. */
  #current: Secret | undefined;
  #mark: string;

  constructor(path: string, initial: Secret, deps: FileDeps) {
    this.#path = path;
    this.#deps = deps;
    this.#newest = initial;
    this.#current = initial;
    this.#mark = "";
  }

  /** The secret as the file has it now; reads it only when the file is another or was written. */
  look(): Secret | undefined {
    const { clock, log, onChanged } = this.#deps;
    const stat = findStat(this.#path);
    const mark = markOf(stat);
    const isNews = mark !== this.#mark;
    // File times have a grain: what was written just now may be written again without one that shows it.
    const isFresh = stat !== undefined && Math.abs(clock.now() - stat.ctimeMs) < freshMs;
    if (!isNews && !isFresh) return this.#current;
    this.#mark = mark;
    try {
      this.#current = readSecretFile(this.#path);
    } catch (error) {
      this.#current = undefined;
      const problem = error instanceof Error ? error.message : String(error);
      if (isNews) log.error({ problem }, "the secret file cannot be used; no secret is right until it can");
      return undefined;
    }
    if (!this.#newest.equals(this.#current.reveal())) {
      this.#newest = this.#current;
      log.warn({ path: this.#path }, "the shared secret was changed; connections that stand on the old one alone are closed");
      onChanged();
    }
    return this.#current;
  }
}

function findStat(path: string): Stats | undefined {
  try {
    return statSync(path);
  } catch {
    return undefined;
  }
}

/** Changes with every write, also one that keeps size and time, and with every replacement and change of mode. */
function markOf(stat: Stats | undefined): string {
  return stat === undefined ? "absent" : [stat.dev, stat.ino, stat.size, stat.mtimeMs, stat.ctimeMs, stat.mode].join(" ");
}

function assertPrivate(path: string, stat: Stats): void {
  if (!stat.isFile()) throw new ConfigError(`the secret file ${path} is not a regular file: name a file that holds the secret alone`);
  if ((stat.mode & 0o077) !== 0) {
    const mode = (stat.mode & 0o777).toString(8);
    throw new ConfigError(`the secret file ${path} is open to other users (mode ${mode}); run: chmod 600 ${path}`);
  }
}

function attempt<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : String(error);
    throw new ConfigError(`the secret file ${path} cannot be read (${code}): it must exist and belong to the user that runs the gateway`, {
      cause: error,
    });
  }
}
