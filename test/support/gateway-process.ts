/** The real gateway as a process of its own, to be killed, started again, starved. */
import { type ChildProcess, spawn, type SpawnOptions } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const commandLine = join(import.meta.dirname, "../../packages/cli/src/main.ts");

export interface GatewayProcess extends AsyncDisposable {
  readonly home: string;
  readonly stateDir: string;
  readonly url: string;
  readonly token: string;
  readonly pid: number;
  /** SIGKILL; resolves when the process is gone. */
  kill(): Promise<void>;
  /** Starts it again on the same home, for this time under another limit of files. */
  start(over?: Pick<ProcessOptions, "fileLimitKiB">): Promise<void>;
  /** Sends a signal and resolves with the exit code. */
  stop(signal: "SIGTERM" | "SIGINT"): Promise<number | null>;
}

export interface ProcessOptions {
  readonly config?: object;
  /** Runs the process under `ulimit -f` with this many blocks of 1 KiB: no file may grow beyond it. */
  readonly fileLimitKiB?: number;
  /** Instead of the command line's `gateway run`: a script that says its URL as that does. */
  readonly entry?: string;
  /** The folder the process starts in; the test's own when left out. */
  readonly cwd?: string;
}

/** Everything a process may know of the one that runs the tests: no keys, no settings. */
export function bareEnv(home: string): Record<string, string> {
  return { PATH: process.env["PATH"] ?? "", HOME: home, PORTREEVE_HOME: home, PORTREEVE_CHECK_RESULTS: "1" };
}

export async function startGatewayProcess(options: ProcessOptions = {}): Promise<GatewayProcess> {
  const home = await mkdtemp(join(tmpdir(), "portreeve-process-"));
  await mkdir(home, { recursive: true });
  await writeFile(join(home, "config.json5"), JSON.stringify(options.config ?? {}));
  const stateDir = join(home, "state");
  let child: ChildProcess | undefined;
  let url = "";
  let token = "";

  const start = async (over: Pick<ProcessOptions, "fileLimitKiB"> = {}): Promise<void> => {
    const started = launch(home, { ...options, ...over });
    child = started;
    url = await readUrl(started);
    token = await readSecret(stateDir);
  };
  const end = async (signal: "SIGKILL" | "SIGTERM" | "SIGINT"): Promise<number | null> => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return child?.exitCode ?? null;
    const exited = once(child, "exit");
    child.kill(signal);
    const [code] = (await exited) as [number | null];
    return code;
  };
  await start();
  return {
    home,
    stateDir,
    get url() {
      return url;
    },
    get token() {
      return token;
    },
    get pid() {
      return child?.pid ?? 0;
    },
    start,
    stop: end,
    kill: async () => void (await end("SIGKILL")),
    async [Symbol.asyncDispose]() {
      await end("SIGKILL");
      await rm(home, { recursive: true, force: true });
    },
  };
}

/** One command as a process of its own on that home, where no file may grow beyond the limit. */
export async function runCommandProcess(
  args: readonly string[],
  { home, fileLimitKiB }: { readonly home: string; readonly fileLimitKiB?: number },
): Promise<{ readonly code: number | null; readonly out: string; readonly err: string }> {
  const child = spawnLimited([commandLine, ...args], { env: bareEnv(home), stdio: ["ignore", "pipe", "pipe"] }, fileLimitKiB);
  let [out, err] = ["", ""];
  child.stdout?.on("data", (chunk) => (out += String(chunk)));
  child.stderr?.on("data", (chunk) => (err += String(chunk)));
  const [code] = (await once(child, "close")) as [number | null];
  return { code, out, err };
}

function launch(home: string, { fileLimitKiB, cwd, entry = commandLine }: ProcessOptions): ChildProcess {
  const args = [entry, "gateway", "run", "--json", "--port", "0"];
  const stdio: ["ignore", "pipe", "pipe"] = ["ignore", "pipe", "pipe"];
  // Started over and over on one home, it compiles once.
  const env = { ...bareEnv(home), ...(entry === commandLine ? {} : { NODE_COMPILE_CACHE: join(home, "compile-cache") }) };
  return spawnLimited(args, { env, stdio, cwd }, fileLimitKiB);
}

function spawnLimited(args: readonly string[], options: SpawnOptions, fileLimitKiB: number | undefined): ChildProcess {
  if (fileLimitKiB === undefined) return spawn(process.execPath, args, options);
  // `exec` keeps the process id, so that signals reach the gateway and not the shell.
  return spawn("bash", ["-c", `ulimit -f ${fileLimitKiB}; exec "$0" "$@"`, process.execPath, ...args], options);
}

/** The URL of the start line; rejects with what the process said when it ends first. */
async function readUrl(child: ChildProcess): Promise<string> {
  if (child.stdout === null || child.stderr === null) throw new Error("the process has no pipes");
  let said = "";
  child.stderr.on("data", (chunk) => (said += String(chunk)));
  const exited = once(child, "exit").then(([code]) => Promise.reject(new Error(`the gateway ended with ${code}: ${said}`)));
  const line = once(createInterface({ input: child.stdout }), "line") as Promise<[string]>;
  const [text] = await Promise.race([line, exited]);
  exited.catch(() => undefined);
  return (JSON.parse(text) as { url: string }).url;
}

/** Empty when the configuration has the secret. */
async function readSecret(stateDir: string): Promise<string> {
  try {
    return (await readFile(join(stateDir, "secret"), "utf8")).trim();
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return "";
    throw error;
  }
}
