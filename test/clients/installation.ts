/** The clients as npm has them, installed when they are first needed, beside the dependencies. */
import { cp, mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { runProcess } from "./process.ts";

/** Ignored as all of node_modules is, and gone with it. */
const folder = join(import.meta.dirname, "../../node_modules/.cache/clients");
const outOfReach = /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ENETUNREACH|EHOSTUNREACH|ETIMEDOUT|ERR_SOCKET_TIMEOUT|network/i;

/** Of the two versions of `openclaw` that are tried, by the protocol they speak. */
export type Generation = 3 | 4;

/** Undefined when they are there; else why they cannot be had here and now. @throws Error when npm fails for another reason. */
export async function installClients(): Promise<string | undefined> {
  await mkdir(folder, { recursive: true });
  for (const name of ["package.json", "package-lock.json"]) await cp(join(import.meta.dirname, name), join(folder, name));
  // What their install scripts build, nothing here uses. `npm ci` refuses a lock that lacks what other platforms would get.
  const args = ["install", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund", "--loglevel=error"];
  const { code, out, err } = await runProcess("npm", args, { cwd: folder, env: process.env, timeoutMs: 900_000 });
  if (code === 0) return undefined;
  if (outOfReach.test(err)) return `the registry is out of reach: ${err.trim().split("\n")[0]}`;
  throw new Error(`npm could not install the clients:\n${out}${err}`);
}

/** A file of an installed package, by the package's name in package.json. */
export function installed(packageName: string, path = ""): string {
  return join(folder, "node_modules", packageName, path);
}

export function openclaw(generation: Generation): string {
  return installed(`openclaw-v${generation}`, "openclaw.mjs");
}

/** What a library exports, as the caller says it is: it has no types of ours. */
export async function loadLibrary<T>(packageName: string): Promise<T> {
  const { exports, main } = JSON.parse(await readFile(installed(packageName, "package.json"), "utf8")) as {
    exports?: Record<string, { import?: string | { default: string }; default?: string } | string>;
    main?: string;
  };
  const entry = exports?.["."];
  const imported = typeof entry === "string" ? entry : (entry?.import ?? entry?.default ?? main ?? "index.js");
  const file = typeof imported === "string" ? imported : imported.default;
  return (await import(pathToFileURL(installed(packageName, file)).href)) as T;
}

/** The version that package.json pins, by the package's name there. */
export async function readVersion(packageName: string): Promise<string> {
  const { dependencies } = JSON.parse(await readFile(join(import.meta.dirname, "package.json"), "utf8")) as {
    dependencies: Record<string, string>;
  };
  const pinned = dependencies[packageName];
  if (pinned === undefined) throw new Error(`test/clients/package.json has no ${packageName}`);
  return pinned.slice(pinned.lastIndexOf("@") + 1);
}
