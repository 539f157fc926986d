/** A copy of the project with one line changed, and what its tests say to that. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const root = join(import.meta.dirname, "../..");

/** Stands among the failed tests when they had to be stopped. */
export const stopped = "(stopped)";

/** A mutant may wait for what never comes. */
const testMs = 30_000;

export interface Mutation {
  readonly file: string;
  readonly from: string;
  readonly to: string;
}

export interface Copy extends AsyncDisposable {
  readonly folder: string;
  /** Runs the named tests of one file with `mutation` in place (none: as it is); answers those that failed and how many ran. */
  run(testFile: string, namePattern: string, mutation?: Mutation): Promise<{ readonly failed: readonly string[]; readonly ran: number }>;
}

/** Copies packages, tests and what they take from the benchmark; dependencies are linked, the project's own packages are the copy's. */
export async function copyProject(): Promise<Copy> {
  const folder = await mkdtemp(join(tmpdir(), "portreeve-mutant-"));
  for (const part of ["packages", "test", "bench"]) await cp(join(root, part), join(folder, part), { recursive: true });
  await cp(join(root, "package.json"), join(folder, "package.json"));
  await mkdir(join(folder, "node_modules/@portreeve"), { recursive: true });
  for (const name of await readdir(join(root, "node_modules"))) {
    if (name !== "@portreeve") await symlink(join(root, "node_modules", name), join(folder, "node_modules", name));
  }
  for (const name of await readdir(join(root, "packages")))
    await symlink(join(folder, "packages", name), join(folder, "node_modules/@portreeve", name));
  return {
    folder,
    async run(testFile, namePattern, mutation) {
      const restore = mutation === undefined ? undefined : await mutate(folder, mutation);
      try {
        return await runTests(folder, testFile, namePattern);
      } finally {
        await restore?.();
      }
    },
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}

async function mutate(folder: string, { file, from, to }: Mutation): Promise<() => Promise<void>> {
  const path = join(folder, file);
  const text = await readFile(path, "utf8");
  if (text.split(from).length !== 2) throw new Error(`${file} does not hold exactly once: ${from}`);
  await writeFile(
    path,
    text.replace(from, () => to),
  );
  return () => writeFile(path, text);
}

async function runTests(folder: string, testFile: string, namePattern: string): Promise<{ failed: string[]; ran: number }> {
  const how = ["--test", "--test-isolation=none", "--test-reporter=tap", `--test-timeout=${testMs}`, "--test-force-exit"];
  const args = [...how, `--test-name-pattern=${namePattern}`, testFile];
  const child = spawn(process.execPath, args, {
    cwd: folder,
    // Fewer cases than in the suites: a mutant that needs many would not be reliably killed by them either.
    env: {
      PATH: process.env["PATH"],
      PORTREEVE_RUNS: "1000",
      PORTREEVE_STORE_RUNS: "400",
      PORTREEVE_SIMULATIONS: "300",
      // By content: what a mutant changes is compiled anew, all the rest is not.
      NODE_COMPILE_CACHE: join(folder, "compile-cache"),
    },
    stdio: ["ignore", "pipe", "ignore"],
    timeout: 2 * testMs,
    killSignal: "SIGKILL",
  });
  let output = "";
  child.stdout.on("data", (chunk) => (output += String(chunk)));
  const [code] = (await once(child, "close")) as [number | null];
  const results = [...output.matchAll(/^(not ok|ok) \d+ - (.*?)(?: # .*)?$/gm)].filter((match) => !/# SKIP/.test(match[0]));
  const failed = results.filter(([, verdict]) => verdict === "not ok").map(([, , name]) => name ?? "");
  return { failed: code === null ? [...failed, stopped] : failed, ran: results.length };
}
