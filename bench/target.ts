/** What is measured: a gateway of this checkout, started for a case with its configuration, or one that runs somewhere already. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { type Stalls, stallsFile } from "./loop-watch.ts";
import { benchEnv, launcher, readCpuMs, root, startServer } from "./processes.ts";
import type { Measure } from "./measure.ts";
import { type Access, Wire } from "./wire.ts";

export interface Target extends AsyncDisposable, Access {
  /** Undefined for one that we did not start. */
  readonly pid: number | undefined;
  open(): Promise<Wire>;
  /** How long its event loop stood still at most since this was last asked, in milliseconds; undefined when nothing watches it. */
  stalls(): Promise<Stalls | undefined>;
}

export interface StartOptions {
  /** Of the bench's model server. */
  readonly modelUrl: string;
  /** As in `agents.defaults.subagents`. */
  readonly subagents?: object;
  /** Watches its event loop. */
  readonly watchesLoop?: boolean;
  /** Writes a CPU profile of the gateway to this folder. */
  readonly profileDir?: string | undefined;
  /** One whose agents have a tool that runs programs; from its sources. */
  readonly withPrograms?: boolean;
}

/** Wide enough for every case; what a case is about it sets itself. */
const wide = { maxChildrenPerAgent: 100, maxConcurrent: 1_000, archiveAfterMinutes: 0 };

export async function startTarget(options: StartOptions): Promise<Target> {
  const { modelUrl, subagents, profileDir, withPrograms = false, watchesLoop = false } = options;
  const folder = mkdtempSync(join(tmpdir(), "portreeve-bench-"));
  const portreeveHome = join(folder, "portreeve");
  mkdirSync(portreeveHome, { recursive: true, mode: 0o700 });
  const config = {
    models: { providers: { bench: { api: "openai-compatible", baseUrl: modelUrl } } },
    agents: { defaults: { model: "bench/zero", subagents: { ...wide, ...subagents } } },
  };
  writeFileSync(join(portreeveHome, "config.json5"), JSON.stringify(config));
  const nodeOptions = [
    ...(profileDir === undefined ? [] : [`--cpu-prof --cpu-prof-dir=${profileDir}`]),
    ...(watchesLoop ? [`--import=${join(root, "bench/loop-watch.ts")}`] : []),
  ];
  const env = benchEnv(folder, {
    ...(nodeOptions.length === 0 ? {} : { NODE_OPTIONS: nodeOptions.join(" ") }),
    ...(watchesLoop ? { PORTREEVE_BENCH_LOOP: folder } : {}),
  });
  const server = withPrograms
    ? await startServer(process.execPath, [join(root, "bench/gateway-with-programs.ts")], env)
    : await startServer(launcher, ["gateway", "run", "--json", "--port", "0"], env);
  const token = readFileSync(join(portreeveHome, "state/secret"), "utf8").trim();
  return {
    ...server,
    token,
    open: () => Wire.open({ url: server.url, token }),
    stalls: async () => (watchesLoop ? await readStalls(server.pid, stallsFile(folder)) : undefined),
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** A gateway that runs already: nothing is started, and nothing stopped. */
export function useTarget(access: Access): Target {
  return {
    ...access,
    pid: undefined,
    open: () => Wire.open(access),
    stalls: () => Promise.resolve(undefined),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

/** Processor time of a gateway that we started, a piece of work: from here until the function that comes back is called. */
export function countCpu({ pid }: Target): (name: string, pieces: number) => readonly Measure[] {
  if (pid === undefined) return () => [];
  const beforeMs = readCpuMs(pid);
  return (name, pieces) => [{ name: `gateway's processor time, ${name}`, value: (readCpuMs(pid) - beforeMs) / pieces, unit: "ms" }];
}

async function readStalls(pid: number, file: string): Promise<Stalls> {
  rmSync(file, { force: true });
  process.kill(pid, "SIGUSR2");
  for (let tries = 0; !existsSync(file); tries += 1) {
    if (tries > 1_000) throw new Error(`process ${pid} does not say how long its event loop stood still`);
    await setTimeout(10);
  }
  return JSON.parse(readFileSync(file, "utf8")) as Stalls; // Written by loop-watch.ts alone.
}
