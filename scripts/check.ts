/** `npm run check`: everything that can be said about the code without running the product. The checks run side by side. */
import { spawn } from "node:child_process";
import { availableParallelism } from "node:os";
import { join } from "node:path";

interface Check {
  readonly name: string;
  readonly args: readonly string[];
  readonly remedy: string;
}

interface Finding {
  readonly check: Check;
  readonly passed: boolean;
  readonly seconds: number;
  readonly output: string;
}

const root = join(import.meta.dirname, "..");

/** The longest first: on two cores the order decides how long all of them take. */
const checks: readonly Check[] = [
  {
    name: "lint",
    args: ["node_modules/oxlint/bin/oxlint", "--type-aware", "--deny-warnings", "--format=unix"],
    remedy: "fix what oxlint names",
  },
  { name: "types", args: ["node_modules/typescript/bin/tsc", "-p", "."], remedy: "fix what tsc names" },
  { name: "generated", args: ["scripts/generate.ts", "--check"], remedy: "npm run generate" },
  { name: "layers", args: ["--test", "--test-isolation=none", "test/layers.test.ts"], remedy: "see the figure in ARCHITECTURE.md" },
  {
    name: "mutants",
    args: ["--test", "--test-isolation=none", "test/mutants/fit.test.ts"],
    remedy: "let the mutant name the code as it is",
  },
  { name: "format", args: ["node_modules/oxfmt/bin/oxfmt", "--check"], remedy: "npm run format" },
];

/** Runs `work` over `items`, `limit` at a time; results in the order of the items. */
async function mapLimited<T, R>(items: readonly T[], limit: number, work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  const queue = items.entries();
  const takeNext = async (): Promise<void> => {
    for (const [index, item] of queue) results[index] = await work(item);
  };
  await Promise.all(Array.from({ length: limit }, takeNext));
  return results;
}

/** Resolves when the check has ended, either way. */
function run(check: Check): Promise<Finding> {
  const startedAt = performance.now();
  const child = spawn(process.execPath, check.args, { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  const keep = (part: Buffer): void => void (output += part.toString());
  child.stdout.on("data", keep);
  child.stderr.on("data", keep);
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve({ check, passed: code === 0, seconds: (performance.now() - startedAt) / 1_000, output }));
  });
}

if (import.meta.main) {
  const startedAt = performance.now();
  const findings = await mapLimited(checks, availableParallelism(), run);
  for (const { check, output } of findings.filter(({ passed }) => !passed)) {
    console.log(`---- ${check.name}\n${output.trimEnd()}\n---- ${check.name} failed: ${check.remedy}\n`);
  }
  for (const { check, passed, seconds } of findings)
    console.log(`${passed ? "ok    " : "FAILED"} ${check.name.padEnd(10)} ${seconds.toFixed(1)} s`);
  const failed = findings.filter(({ passed }) => !passed).length;
  console.log(`check: ${checks.length - failed} ok, ${failed} failed, ${((performance.now() - startedAt) / 1_000).toFixed(1)} s`);
  process.exitCode = failed === 0 ? 0 : 1;
}
