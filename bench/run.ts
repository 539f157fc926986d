/**
 * `npm run bench`: what a gateway does under load, in cases, beside a bare echo server and a model that costs nothing, each in
 * a process of its own. It reports against aims and never fails over a number: those depend on the machine.
 */
import { fsyncSync, mkdtempDisposableSync, openSync, closeSync, writeFileSync, writeSync } from "node:fs";
import { availableParallelism, cpus, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { bundle } from "../scripts/bundle.ts";
import type { Bench, Case } from "./case.ts";
import { announce } from "./cases/announce.ts";
import { boot } from "./cases/boot.ts";
import { children } from "./cases/children.ts";
import { limits } from "./cases/limits.ts";
import { growth, idle } from "./cases/memory.ts";
import { rpc } from "./cases/rpc.ts";
import { spawn } from "./cases/spawn.ts";
import { programs } from "./cases/programs.ts";
import { stop } from "./cases/stop.ts";
import { stream } from "./cases/stream.ts";
import { turn } from "./cases/turn.ts";
import { type Measure, median, percentile, printTable, spread } from "./measure.ts";
import { startModel } from "./model.ts";
import { benchEnv, root, startServer } from "./processes.ts";
import { type StartOptions, startTarget, type Target, useTarget } from "./target.ts";
import { Wire } from "./wire.ts";

const cases: readonly Case[] = [rpc, turn, stream, spawn, announce, children, idle, boot, growth, stop, programs, limits];

const help = `npm run bench [-- options]

  --only a,b          only these cases
  --json FILE         the numbers as JSON, beside the table on the screen
  --target ws://…     a gateway that runs already and speaks the protocol, instead of one of this checkout
  --token T           its shared secret
  --model-port N      where its model bench/zero is served (OpenAI-compatible, http://127.0.0.1:N/v1): allows the cases with turns
  --profile DIR       a CPU profile of each gateway started here
  --quick             smallest counts, to see that everything works; the numbers mean nothing

Cases:
${cases.map(({ name, about }) => `  ${name.padEnd(10)} ${about}`).join("\n")}`;

export interface Outcome {
  readonly name: string;
  readonly measures: readonly Measure[];
  /** Why the case did not run. */
  readonly skipped?: string;
  /** What went wrong in it. */
  readonly failed?: string;
}

interface Options {
  readonly chosen: readonly Case[];
  readonly target: { readonly url: string; readonly token: string } | undefined;
  readonly modelPort: number | undefined;
  readonly profileDir: string | undefined;
  readonly jsonFile: string | undefined;
  readonly isQuick: boolean;
}

/** @throws Error with one line for a person. */
function readOptions(): Options | "help" {
  const text = { type: "string" } as const;
  const flag = { type: "boolean", default: false } as const;
  const { values } = parseArgs({
    options: { only: text, json: text, target: text, token: text, "model-port": text, profile: text, quick: flag, help: flag },
  });
  if (values.help) return "help";
  const names = values.only?.split(",") ?? cases.map(({ name }) => name);
  const unknown = names.find((name) => !cases.some((one) => one.name === name));
  if (unknown !== undefined)
    throw new Error(`there is no case ${JSON.stringify(unknown)}; there are ${cases.map(({ name }) => name).join(", ")}`);
  if (values.target !== undefined && values.token === undefined) throw new Error("--target needs --token: the gateway's shared secret");
  const port = values["model-port"];
  if (port !== undefined && !/^\d{1,5}$/.test(port)) throw new Error(`--model-port: expected a number, got ${JSON.stringify(port)}`);
  return {
    chosen: cases.filter(({ name }) => names.includes(name)),
    target: values.target === undefined ? undefined : { url: values.target, token: values.token ?? "" },
    modelPort: port === undefined ? undefined : Number(port),
    profileDir: values.profile === undefined ? undefined : resolve(values.profile),
    jsonFile: values.json,
    isQuick: values.quick,
  };
}

async function run(options: Options): Promise<readonly Outcome[]> {
  // A quick look takes what the launcher finds.
  if (options.target === undefined && !options.isQuick) await bundle(root);
  using home = mkdtempDisposableSync(join(tmpdir(), "portreeve-bench-"));
  await using ceiling = await startServer(process.execPath, [join(import.meta.dirname, "bare-echo.ts")], benchEnv(home.path));
  using model = await startModel(options.modelPort ?? 0);
  await using targets = new Targets(options, model.baseUrl);
  const { isQuick } = options;
  const startWithPrograms = (): Promise<Target> => startTarget({ modelUrl: model.baseUrl, withPrograms: true });
  const bench: Bench = { isQuick, model, ceilingUrl: ceiling.url, start: (more) => targets.start(more), startWithPrograms };
  const noise = new Noise(ceiling.url, isQuick);
  const outcomes: Outcome[] = [];
  for (const one of options.chosen) {
    await noise.sample();
    const outcome = await runCase(one, bench, options);
    model.forget();
    outcomes.push(outcome);
    print(one, outcome);
  }
  await noise.sample();
  const machine = { name: "machine", measures: noise.measures() };
  print({ name: "machine", about: `${availableParallelism()} cores, ${cpus()[0]?.model ?? "unknown"}, Node ${process.version}` }, machine);
  return [...outcomes, machine];
}

/** Where targets come from: the one that was named, or a new one each time; for a quick look, one for all that want nothing special. */
class Targets implements AsyncDisposable {
  readonly #options: Options;
  readonly #modelUrl: string;
  #shared: Promise<Target> | undefined;

  constructor(options: Options, modelUrl: string) {
    this.#options = options;
    this.#modelUrl = modelUrl;
  }

  async start(more?: Pick<StartOptions, "subagents" | "watchesLoop">): Promise<Target> {
    const { target, isQuick, profileDir } = this.#options;
    if (target !== undefined) return useTarget(target);
    if (!isQuick || more !== undefined) return await startTarget({ ...more, modelUrl: this.#modelUrl, profileDir });
    this.#shared ??= startTarget({ modelUrl: this.#modelUrl });
    return { ...(await this.#shared), [Symbol.asyncDispose]: () => Promise.resolve() };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await (await this.#shared)?.[Symbol.asyncDispose]();
  }
}

async function runCase(one: Case, bench: Bench, options: Options): Promise<Outcome> {
  const { name } = one;
  const skipped = await findObstacle(one, bench, options);
  if (skipped !== undefined) return { name, measures: [], skipped };
  try {
    return { name, measures: await one.run(bench) };
  } catch (error) {
    return { name, measures: [], failed: error instanceof Error ? error.message : String(error) };
  }
}

/** Why the target cannot do the case. A gateway of this checkout can do all. */
async function findObstacle({ needs, methods }: Case, bench: Bench, { target, modelPort }: Options): Promise<string | undefined> {
  if (target === undefined) return undefined;
  if (needs === "process") return "measured only on a gateway that the benchmark starts itself";
  if (needs === "model" && modelPort === undefined) return "needs the benchmark's model: see --model-port";
  await using gateway = await bench.start();
  using wire = await gateway.open();
  const missing = methods.filter((method) => !wire.methods.includes(method));
  return missing.length === 0 ? undefined : `the target does not have ${missing.join(", ")}`;
}

function print({ name, about }: Pick<Case, "name" | "about">, { measures, skipped, failed }: Outcome): void {
  console.log(`\n${name}: ${about}`);
  if (skipped !== undefined) console.log(`skipped: ${skipped}`);
  if (failed !== undefined) console.log(`FAILED: ${failed}`);
  printTable(measures);
}

/** The same two things before each case and after the last: how far they lie apart is what a difference must exceed. */
class Noise {
  readonly #ceilingUrl: string;
  readonly #isQuick: boolean;
  readonly #rates: number[] = [];
  readonly #syncs: number[] = [];

  constructor(ceilingUrl: string, isQuick: boolean) {
    this.#ceilingUrl = ceilingUrl;
    this.#isQuick = isQuick;
  }

  async sample(): Promise<void> {
    const frame = { type: "req", id: "1", method: "agents.list", params: {} };
    using wire = await Wire.open({ url: this.#ceilingUrl });
    const forMs = this.#isQuick ? 10 : 400;
    if (this.#rates.length === 0) await wire.saturate(frame, { marker: '"type":"req"', atOnce: 64, forMs });
    this.#rates.push(await wire.saturate(frame, { marker: '"type":"req"', atOnce: 64, forMs }));
    this.#syncs.push(...timeSyncs(this.#isQuick ? 3 : 50));
  }

  measures(): readonly Measure[] {
    return [
      { name: "echo, 64 at a time, median over the run", value: median(this.#rates), unit: "/s" },
      { name: "echo, how far the samples lie apart", value: spread(this.#rates), unit: "%" },
      { name: "disk sync of 4 KB, p50", value: percentile(this.#syncs, 0.5), unit: "ms" },
      { name: "disk sync of 4 KB, p99", value: percentile(this.#syncs, 0.99), unit: "ms" },
    ];
  }
}

/** What a durable write costs at least, where gateways started here keep their state. */
function timeSyncs(count: number): readonly number[] {
  using folder = mkdtempDisposableSync(join(tmpdir(), "portreeve-bench-"));
  const file = openSync(join(folder.path, "sync"), "w");
  const block = Buffer.alloc(4_096);
  const times = Array.from({ length: count }, () => {
    const startedAt = performance.now();
    writeSync(file, block);
    fsyncSync(file);
    return performance.now() - startedAt;
  });
  closeSync(file);
  return times;
}

if (import.meta.main) {
  try {
    const options = readOptions();
    if (options === "help") console.log(help);
    else {
      const outcomes = await run(options);
      if (options.jsonFile !== undefined) writeFileSync(options.jsonFile, `${JSON.stringify(outcomes, undefined, 2)}\n`);
      // A number never fails the run; a case that could not be carried through does.
      if (outcomes.some(({ failed }) => failed !== undefined)) process.exitCode = 1;
    }
  } catch (error) {
    console.error(`bench: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  }
}
