/**
 * `npm run bench:start [-- --json]`: how long a newcomer waits and what an idle gateway holds. Five runs each, medians.
 * It reports against aims and never fails over a number: those depend on the machine.
 */
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempDisposableSync, readFileSync } from "node:fs";
import { get } from "node:http";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pack } from "../scripts/pack.ts";

interface Measure {
  readonly name: string;
  readonly unit: "ms" | "MB";
  readonly aim: number;
  /** In the order they were taken. */
  readonly values: readonly number[];
}

interface GatewayRun {
  readonly url: string;
  readonly readyMs: number;
  readonly child: ChildProcess;
}

const runs = 5;
const root = join(import.meta.dirname, "..");
const launcher = join(root, "portreeve");
const readyTimeoutMs = 20_000;
/** What start-up allocated and let go is gone by then. */
const settleMs = 1_000;

/** The caller's PATH and nothing else: no provider key, no setting of the machine's own gateway. */
function benchEnv(home: string): NodeJS.ProcessEnv {
  return { PATH: process.env["PATH"], HOME: home, PORTREEVE_HOME: join(home, "portreeve") };
}

async function findFreePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  // A listening TCP server has an address of this form.
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

/** Starts what `npm start` starts and asks until it is ready. */
async function startGateway(home: string): Promise<GatewayRun> {
  const port = await findFreePort();
  const startedAt = performance.now();
  const child = spawn(launcher, ["gateway", "run", "--port", String(port)], {
    cwd: home,
    env: benchEnv(home),
    stdio: ["ignore", "ignore", "pipe"],
  });
  let errors = "";
  child.stderr.on("data", (part: Buffer) => (errors += part.toString()));
  const url = `http://127.0.0.1:${port}`;
  while (!(await isReady(`${url}/readyz`))) {
    const waitedMs = performance.now() - startedAt;
    if (child.exitCode !== null || waitedMs > readyTimeoutMs) {
      child.kill("SIGKILL");
      throw new Error(`the gateway was not ready after ${Math.round(waitedMs)} ms: ${errors.trim()}`);
    }
    await sleep(2);
  }
  return { url, readyMs: performance.now() - startedAt, child };
}

function isReady(url: string): Promise<boolean> {
  return new Promise((resolve) => {
    get(url, { agent: false }, (response) => resolve(response.resume().statusCode === 200)).once("error", () => resolve(false));
  });
}

async function stopGateway({ child }: GatewayRun): Promise<void> {
  const exited = once(child, "exit");
  child.kill("SIGTERM");
  await exited;
}

/** Megabytes of a line like `VmRSS:   12345 kB` in a file of /proc. The launcher becomes Node, so the child's id is the gateway's. */
function readMegabytes(child: ChildProcess, file: "status" | "smaps_rollup", label: string): number {
  const match = new RegExp(`^${label}:\\s+(\\d+) kB$`, "m").exec(readFileSync(`/proc/${child.pid}/${file}`, "utf8"));
  if (match === null) throw new Error(`/proc/${child.pid}/${file} has no ${label}`);
  return (Number(match[1]) * 1_024) / 1e6;
}

/** Milliseconds a command takes from outside; throws when it fails. */
function timeCommand(home: string, args: readonly string[]): number {
  const startedAt = performance.now();
  const { status, stderr } = spawnSync(launcher, args, { cwd: home, env: benchEnv(home), encoding: "utf8" });
  const ms = performance.now() - startedAt;
  if (status !== 0) throw new Error(`portreeve ${args.join(" ")} ended with ${status}: ${stderr.trim()}`);
  return ms;
}

async function measure(): Promise<readonly Measure[]> {
  using packed = mkdtempDisposableSync(join(tmpdir(), "portreeve-pack-"));
  const packedBytes = await pack(root, join(packed.path, "release"));
  const values: Record<"ready" | "rss" | "pss" | "version" | "first" | "next", number[]> = {
    ready: [],
    rss: [],
    pss: [],
    version: [],
    first: [],
    next: [],
  };
  for (let run = 0; run < runs; run += 1) {
    using home = mkdtempDisposableSync(join(tmpdir(), "portreeve-bench-"));
    values.version.push(timeCommand(home.path, ["--version"]));
    const gateway = await startGateway(home.path);
    try {
      values.ready.push(gateway.readyMs);
      await sleep(settleMs);
      values.rss.push(readMegabytes(gateway.child, "status", "VmRSS"));
      values.pss.push(readMegabytes(gateway.child, "smaps_rollup", "Pss"));
      values.first.push(timeCommand(home.path, ["call", "health"]));
      values.next.push(timeCommand(home.path, ["call", "health"]));
    } finally {
      await stopGateway(gateway);
    }
  }
  return [
    { name: "process start to /readyz", unit: "ms", aim: 250, values: values.ready },
    { name: "idle memory (RSS)", unit: "MB", aim: 90, values: values.rss },
    { name: "idle memory (PSS)", unit: "MB", aim: 90, values: values.pss },
    { name: "packed release beside Node", unit: "MB", aim: 60, values: [packedBytes / 1e6] },
    { name: "portreeve --version", unit: "ms", aim: 60, values: values.version },
    { name: "portreeve call health, the first (pairs)", unit: "ms", aim: 200, values: values.first },
    { name: "portreeve call health", unit: "ms", aim: 200, values: values.next },
  ];
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

function printTable(measures: readonly Measure[]): void {
  for (const { name, unit, aim, values } of measures) {
    const middle = median(values);
    const all = values.map((value) => value.toFixed(unit === "ms" ? 0 : 1)).join(" ");
    console.log(
      `${name.padEnd(42)} ${middle.toFixed(unit === "ms" ? 0 : 1).padStart(6)} ${unit}   aim ${String(aim).padStart(3)} ${middle <= aim ? "met   " : "MISSED"}   ${all}`,
    );
  }
}

if (import.meta.main) {
  const measures = await measure();
  if (process.argv.includes("--json")) console.log(JSON.stringify(measures.map((entry) => ({ ...entry, median: median(entry.values) }))));
  else printTable(measures);
}
