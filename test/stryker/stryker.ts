/** Runs Stryker over one module of a copy of the project. It is installed when it is first needed, beside the dependencies. */
import { spawn } from "node:child_process";
import { availableParallelism } from "node:os";
import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Report } from "./report.ts";

const root = join(import.meta.dirname, "../..");
/** Ignored as all of node_modules is, and gone with it. */
const cache = join(root, "node_modules/.cache/stryker");
const outOfReach = /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ENETUNREACH|EHOSTUNREACH|ETIMEDOUT|ERR_SOCKET_TIMEOUT|network/i;

/** Undefined when it is there; else why it cannot be had here and now. @throws Error when npm fails for another reason. */
export async function installStryker(): Promise<string | undefined> {
  await mkdir(cache, { recursive: true });
  for (const name of ["package.json", "package-lock.json"]) await cp(join(import.meta.dirname, name), join(cache, name));
  const { code, output } = await run("npm", ["ci", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund"], { cwd: cache });
  if (code === 0) return undefined;
  if (outOfReach.test(output)) return `the registry is out of reach: ${output.trim().split("\n")[0]}`;
  throw new Error(`npm could not install Stryker:\n${output}`);
}

/** Changes `file` in every way Stryker knows, one at a time, and answers what `tests` made of it. `folder`: a copy, which it overwrites. */
export async function mutateModule(folder: string, file: string, tests: readonly string[]): Promise<Report> {
  const reportFile = join(folder, "stryker-report.json");
  const config = {
    testRunner: "command",
    commandRunner: { command: [process.execPath, "--test", "--test-isolation=none", ...tests].map((word) => `"${word}"`).join(" ") },
    mutate: [file],
    // Words are for people: that they are other words is for a reader to notice.
    mutator: { excludedMutations: ["StringLiteral"] },
    // Every change is in the text at once and one is switched on, so that runs may go side by side in one folder.
    inPlace: true,
    concurrency: availableParallelism(),
    reporters: ["json"],
    jsonReporter: { fileName: reportFile },
    plugins: [],
    disableTypeChecks: false,
    timeoutMS: 10_000,
    logLevel: "warn",
    allowConsoleColors: false,
  };
  await writeFile(join(folder, "stryker.json"), JSON.stringify(config));
  const { code, output } = await run(
    process.execPath,
    [join(cache, "node_modules/@stryker-mutator/core/bin/stryker.js"), "run", "stryker.json"],
    {
      cwd: folder,
      env: {
        PATH: process.env["PATH"],
        HOME: folder,
        // The same cases every time: a change that only some of them notice would come and go.
        PORTREEVE_SEED: "1",
        PORTREEVE_RUNS: "500",
        NODE_COMPILE_CACHE: join(folder, "compile-cache"),
      },
    },
  );
  if (code !== 0) throw new Error(`Stryker failed on ${file}:\n${output}`);
  // Its own format, which report.ts reads no more of than it says.
  return JSON.parse(await readFile(reportFile, "utf8")) as Report;
}

function run(
  command: string,
  args: readonly string[],
  options: { readonly cwd: string; readonly env?: NodeJS.ProcessEnv },
): Promise<{ readonly code: number | null; readonly output: string }> {
  const child = spawn(command, args, { ...options, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  const keep = (part: Buffer): void => void (output += part.toString());
  child.stdout.on("data", keep);
  child.stderr.on("data", keep);
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve({ code, output }));
  });
}
