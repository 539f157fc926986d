/**
 * Writes what follows from the definitions: the wire contract, the clients' method table and docs/reference.
 * With `--check` it writes nothing and fails when a file is not what the definitions say: generated files are committed,
 * and their diff is a review of the protocol.
 */
import { spawnSync } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { routes } from "../packages/gateway/src/http/routes.ts";
import { configSchema } from "../packages/gateway/src/kit/config.ts";
import { createContract, createMethodTable, toSchema } from "./contract.ts";
import {
  createCliPage,
  createConfigPage,
  createErrorsPage,
  createEventsPage,
  createHttpPage,
  createMethodsPage,
} from "./reference-pages.ts";

const root = join(import.meta.dirname, "..");

/** Every generated file but the command line's page: path and text. */
function generateFiles(): [path: string, text: string][] {
  const contract = createContract();
  return [
    ["packages/protocol/contract.json", formatted("contract.json", JSON.stringify(contract))],
    ["packages/protocol/src/method-table.ts", formatted("method-table.ts", createMethodTable())],
    ["docs/reference/methods.md", createMethodsPage(contract)],
    ["docs/reference/events.md", createEventsPage(contract)],
    ["docs/reference/http.md", createHttpPage(routes, contract)],
    ["docs/reference/errors.md", createErrorsPage(contract)],
    ["docs/reference/config.md", createConfigPage(toSchema(configSchema))],
  ];
}

/** Commands are derived from the method table, so the program is loaded after that is written. */
async function generateCliPage(): Promise<[path: string, text: string]> {
  const { listHelp } = await import("./cli-help.ts");
  return ["docs/reference/cli.md", createCliPage(listHelp())];
}

function formatted(name: string, text: string): string {
  const oxfmt = join(root, "node_modules/oxfmt/bin/oxfmt");
  const { status, stdout, stderr } = spawnSync(process.execPath, [oxfmt, "--stdin-filepath", name], {
    cwd: root,
    input: text,
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`oxfmt could not format ${name}: ${stderr}`);
  return stdout;
}

async function readIfAny(path: string): Promise<string | undefined> {
  try {
    return await readFile(join(root, path), "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}

/** Whether the file had to change. */
async function settle(path: string, text: string, mayWrite: boolean): Promise<boolean> {
  if ((await readIfAny(path)) === text) return false;
  if (mayWrite) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), text);
  }
  console.log(`generate: ${path} ${mayWrite ? "written" : "is not what the definitions say"}`);
  return true;
}

if (import.meta.main) {
  const isCheck = process.argv.includes("--check");
  let changed = false;
  for (const [path, text] of generateFiles()) changed = (await settle(path, text, !isCheck)) || changed;
  changed = (await settle(...(await generateCliPage()), !isCheck)) || changed;
  if (isCheck && changed) {
    console.log("generate: run `npm run generate`, read the diff, commit it");
    process.exitCode = 1;
  }
}
