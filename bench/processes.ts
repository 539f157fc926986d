/** Processes a benchmark measures: started with a bare environment, found by the URL they print, read from the kernel. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";

export const root = join(import.meta.dirname, "..");
/** Becomes Node: the id of a process it was started as is the gateway's. */
export const launcher = join(root, "portreeve");

export interface Server extends AsyncDisposable {
  readonly url: string;
  readonly pid: number;
}

/** The caller's PATH and nothing else: no provider key, no setting of the machine's own gateway. */
export function benchEnv(home: string, more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  return { PATH: process.env["PATH"], HOME: home, PORTREEVE_HOME: join(home, "portreeve"), ...more };
}

/** Starts a server and waits for the URL it prints, alone on a line or in a JSON object. */
export async function startServer(command: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<Server> {
  const child = spawn(command, args, { cwd: root, env, stdio: ["ignore", "pipe", "pipe"] });
  let errors = "";
  child.stderr.on("data", (part: Buffer) => (errors = (errors + part.toString()).slice(-4_000)));
  const exited = once(child, "exit");
  const line = once(createInterface({ input: child.stdout }), "line") as Promise<[string]>;
  const ended = exited.then(() => Promise.reject(new Error(`${command} ended before it served: ${errors.trim()}`)));
  const [text] = await Promise.race([line, ended]);
  ended.catch(() => undefined);
  const url = text.startsWith("{") ? (JSON.parse(text) as { url: string }).url : text;
  return {
    url,
    pid: child.pid ?? 0,
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      await exited;
    },
  };
}

/** Resident memory in megabytes, shared pages in full. */
export function readRss(pid: number): number {
  return readMegabytes(`/proc/${pid}/status`, "VmRSS");
}

/** Resident memory in megabytes, shared pages shared out. */
export function readPss(pid: number): number {
  return readMegabytes(`/proc/${pid}/smaps_rollup`, "Pss");
}

/** Processor time a process has taken so far, all its threads, in milliseconds. The kernel counts it in steps of ten. */
export function readCpuMs(pid: number): number {
  const [user, system] = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ").slice(11, 13) ?? [];
  return (Number(user) + Number(system)) * 10;
}

/** A port that was free a moment ago. */
export async function findFreePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  // A listening TCP server has an address of this form.
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Megabytes of a line like `VmRSS:   12345 kB`. */
function readMegabytes(file: string, label: string): number {
  const match = new RegExp(`^${label}:\\s+(\\d+) kB$`, "m").exec(readFileSync(file, "utf8"));
  if (match === null) throw new Error(`${file} has no ${label}`);
  return (Number(match[1]) * 1_024) / 1e6;
}

/** Processes whose command line holds `mark`; those that have ended but were not asked about do not count. */
export function countProcesses(mark: string): number {
  return readdirSync("/proc").filter((name) => /^\d+$/.test(name) && isAlive(name, mark)).length;
}

function isAlive(pid: string, mark: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(mark) && !readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z ");
  } catch {
    return false;
  }
}
