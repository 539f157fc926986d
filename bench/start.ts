/**
 * `npm run bench:start [-- --json]`: how long a newcomer waits and what an idle gateway holds. Five runs each, medians.
 * It reports against aims and never fails over a number: those depend on the machine.
 */
import { spawnSync } from "node:child_process";
import { mkdtempDisposableSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pack } from "../scripts/pack.ts";
import { median } from "./measure.ts";
import { benchEnv, launcher, readPss, readRss, root } from "./processes.ts";
import { startTimed } from "./timed-start.ts";

interface Measure {
  readonly name: string;
  readonly unit: "ms" | "MB";
  readonly aim: number;
  /** In the order they were taken. */
  readonly values: readonly number[];
}

const runs = 5;
/** What start-up allocated and let go is gone by then. */
const settleMs = 1_000;

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
    await using gateway = await startTimed(home.path);
    values.ready.push(gateway.readyMs);
    await sleep(settleMs);
    values.rss.push(readRss(gateway.pid));
    values.pss.push(readPss(gateway.pid));
    values.first.push(timeCommand(home.path, ["call", "health"]));
    values.next.push(timeCommand(home.path, ["call", "health"]));
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
