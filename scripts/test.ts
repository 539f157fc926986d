/**
 * `npm test`: every suite, each in its own process with a clean environment, held to a budget of seconds.
 * `npm run test:long` (`--long`): the suites whose tests take a number of cases, with the large numbers.
 * Names after `--` run those suites alone, in the order of the list: `npm run test:long -- authority fuzz`.
 * `npm run test:clients` (`--clients`): clients that others wrote, installed for the run.
 * Over budget is said; at twice the budget the suite is stopped and has failed: that is a hang or a new order of magnitude,
 * not a slow machine. The last line is `N passed, N failed`, over all suites.
 */
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";

interface Suite {
  readonly name: string;
  readonly files: string;
  /** `none`: one process for all files, for tests without processes, ports or folders of their own. */
  readonly isolation: "none" | "process";
  readonly budgetSeconds: number;
  /** How much the tests are to do, where they let themselves be told. */
  readonly env?: Readonly<Record<string, string>>;
}

interface Outcome {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  readonly seconds: number;
  /** Why the suite failed although no single test did. */
  readonly problem: string | undefined;
}

const suites: readonly Suite[] = [
  { name: "unit", files: "packages/**/*.test.ts", isolation: "none", budgetSeconds: 30 },
  {
    name: "integration",
    files: "test/{*,!(authority|mutants|simulation|chaos|clients|stryker)/**/*}.test.ts",
    isolation: "process",
    budgetSeconds: 180,
  },
  { name: "authority", files: "test/authority/*.test.ts", isolation: "process", budgetSeconds: 100 },
  { name: "simulation", files: "test/simulation/*.test.ts", isolation: "process", budgetSeconds: 60 },
  { name: "chaos", files: "test/chaos/*.test.ts", isolation: "process", budgetSeconds: 75 },
  { name: "mutants", files: "test/mutants/*.test.ts", isolation: "process", budgetSeconds: 90 },
];

const longSuites: readonly Suite[] = [
  {
    name: "laws",
    files: "packages/gateway/src/principal/lattice.test.ts",
    isolation: "none",
    budgetSeconds: 300,
    env: { PORTREEVE_RUNS: "100000" },
  },
  {
    name: "authority",
    files: "test/authority/*.test.ts",
    isolation: "process",
    budgetSeconds: 1_800,
    env: { PORTREEVE_RUNS: "1000000", PORTREEVE_STORE_RUNS: "20000", PORTREEVE_LONG: "1" },
  },
  { name: "fuzz", files: "test/fuzz/*.test.ts", isolation: "process", budgetSeconds: 900, env: { PORTREEVE_FUZZ: "long" } },
  {
    name: "simulation",
    files: "test/simulation/*.test.ts",
    isolation: "process",
    budgetSeconds: 2_400,
    env: { PORTREEVE_SIMULATIONS: "100000" },
  },
  { name: "chaos", files: "test/chaos/*.test.ts", isolation: "process", budgetSeconds: 1_500, env: { PORTREEVE_LONG: "1" } },
  { name: "mutants", files: "test/mutants/*.test.ts", isolation: "process", budgetSeconds: 900, env: { PORTREEVE_LONG: "1" } },
  { name: "stryker", files: "test/stryker/*.test.ts", isolation: "process", budgetSeconds: 900 },
];

const clientSuites: readonly Suite[] = [{ name: "clients", files: "test/clients/*.test.ts", isolation: "process", budgetSeconds: 1_800 }];

const root = join(import.meta.dirname, "..");

/**
 * All that a test may see of the caller's environment: a list of what to remove would miss the next provider's key. Whom the
 * machine trusts is no secret, and the suites that install something need it.
 */
const keptVariables = "PATH LANG LC_ALL TZ TERM TMPDIR CI NO_COLOR FORCE_COLOR NODE_EXTRA_CA_CERTS PORTREEVE_CLIENTS PORTREEVE_SEED".split(
  " ",
);

function cleanEnv(home: string): NodeJS.ProcessEnv {
  const kept = keptVariables.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]]));
  return { ...Object.fromEntries(kept), HOME: home, PORTREEVE_HOME: join(home, "portreeve") };
}

/** Runs one suite; its report goes to this process's output, its counts come from a second reporter's file. */
async function runSuite({ files, isolation, budgetSeconds, env = {} }: Suite, compileCache: string): Promise<Outcome> {
  const home = await mkdtemp(join(tmpdir(), "portreeve-test-"));
  const counts = join(home, "counts.tap");
  const reporters = [
    "--test-reporter=spec",
    "--test-reporter-destination=stdout",
    "--test-reporter=tap",
    `--test-reporter-destination=${counts}`,
  ];
  const startedAt = performance.now();
  // Node's own default leaves one core to the runner, which does next to nothing.
  const concurrency = `--test-concurrency=${availableParallelism()}`;
  const child = spawn(process.execPath, ["--test", `--test-isolation=${isolation}`, concurrency, ...reporters, files], {
    cwd: root,
    // Every test process loads the gateway: its types are stripped once.
    env: { ...cleanEnv(home), NODE_COMPILE_CACHE: compileCache, ...env },
    stdio: ["ignore", "inherit", "inherit"],
    // Its own group: what the tests started is stopped with it.
    detached: true,
  });
  const interrupt = (): void => {
    stopGroup(child.pid);
    process.exit(130);
  };
  process.once("SIGINT", interrupt).once("SIGTERM", interrupt);
  let isStopped = false;
  const stop = setTimeout(() => {
    isStopped = true;
    stopGroup(child.pid);
  }, 2_000 * budgetSeconds);
  try {
    const code = await new Promise<number | null>((resolve, reject) => child.once("error", reject).once("close", resolve));
    const seconds = (performance.now() - startedAt) / 1_000;
    const tap = await readFile(counts, "utf8").catch(() => "");
    const count = (name: string): number => Number(new RegExp(`^# ${name} (\\d+)$`, "m").exec(tap)?.[1] ?? 0);
    const [passed, failed] = [count("pass"), count("fail") + count("cancelled")];
    return { passed, failed, skipped: count("skipped"), seconds, problem: findProblem({ isStopped, code, passed, failed }) };
  } finally {
    clearTimeout(stop);
    process.off("SIGINT", interrupt).off("SIGTERM", interrupt);
    stopGroup(child.pid);
    await rm(home, { recursive: true, force: true, maxRetries: 3 });
  }
}

function findProblem({
  isStopped,
  code,
  passed,
  failed,
}: {
  isStopped: boolean;
  code: number | null;
  passed: number;
  failed: number;
}): string | undefined {
  if (isStopped) return "stopped at twice its budget";
  if (passed + failed === 0) return "no test ran";
  return code !== 0 && failed === 0 ? `ended with code ${code ?? "none"} although no test failed` : undefined;
}

function stopGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // Nothing of the group is left.
  }
}

function describe({ name, budgetSeconds }: Suite, { passed, failed, skipped, seconds, problem }: Outcome): string {
  const counts = `${passed} passed, ${failed} failed${skipped === 0 ? "" : `, ${skipped} skipped`}`;
  const time = `${seconds.toFixed(1)} s of ${budgetSeconds} s${seconds > budgetSeconds ? " OVER BUDGET" : ""}`;
  return `${name.padEnd(12)} ${counts}; ${time}${problem === undefined ? "" : `; FAILED: ${problem}`}`;
}

/** @throws for a name that no suite has. */
function choose(args: readonly string[]): readonly Suite[] {
  const all = args.includes("--long") ? longSuites : args.includes("--clients") ? clientSuites : suites;
  const names = args.filter((arg) => !arg.startsWith("--"));
  const unknown = names.find((name) => !all.some((suite) => suite.name === name));
  if (unknown !== undefined) throw new Error(`there is no suite ${unknown}; there are: ${all.map(({ name }) => name).join(", ")}`);
  return names.length === 0 ? all : all.filter(({ name }) => names.includes(name));
}

if (import.meta.main) {
  await using stack = new AsyncDisposableStack();
  const compileCache = await mkdtemp(join(tmpdir(), "portreeve-test-cache-"));
  stack.defer(() => rm(compileCache, { recursive: true, force: true }));
  const lines: string[] = [];
  let passed = 0;
  let failed = 0;
  for (const suite of choose(process.argv.slice(2))) {
    console.log(`\n==== ${suite.name}`);
    const outcome = await runSuite(suite, compileCache);
    lines.push(describe(suite, outcome));
    passed += outcome.passed;
    failed += outcome.failed + (outcome.problem === undefined ? 0 : 1);
  }
  console.log(`\n${lines.join("\n")}\n${passed} passed, ${failed} failed`);
  process.exitCode = failed === 0 ? 0 : 1;
}
