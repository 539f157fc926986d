/**
 * Bundles the command line and the gateway into dist/: `dist/cli.js` and the chunks it loads on demand.
 * Sources serve without it, so what is missing is said and is no failure; a failed build leaves the old bundle.
 */
import { existsSync } from "node:fs";
import { chmod, mkdtemp, readdir, rename, rm, stat, utimes } from "node:fs/promises";
import { join } from "node:path";
import type * as Esbuild from "esbuild";

export type BundleOutcome =
  | { readonly kind: "built"; readonly files: number; readonly bytes: number; readonly ms: number; readonly metafile: Esbuild.Metafile }
  | { readonly kind: "skipped"; readonly reason: string };

/** CommonJS dependencies ask for these; every chunk is a module of its own. */
const commonJsGlobals = [
  'import { createRequire as __createRequire } from "node:module";',
  "const require = __createRequire(import.meta.url), __filename = import.meta.filename, __dirname = import.meta.dirname;",
].join("\n");

/** Of zod's messages in 50 languages none is ever shown but the English ones; the others would be loaded with it. */
const englishAlone: Esbuild.Plugin = {
  name: "english-alone",
  setup(build) {
    build.onLoad({ filter: /[\\/]zod[\\/]v4[\\/]locales[\\/]index\.js$/ }, () => ({
      contents: 'export { default as en } from "./en.js";',
    }));
  },
};

const entry = "packages/cli/src/main.ts";

/** Builds `root`/dist from the sources in `root`. Rejects when the sources do not build. */
export async function bundle(root: string): Promise<BundleOutcome> {
  const startedAt = new Date();
  if (!existsSync(join(root, entry))) return { kind: "skipped", reason: "no sources here" };
  const esbuild = await findEsbuild();
  if (esbuild === undefined) return { kind: "skipped", reason: "esbuild is not installed; the sources serve" };

  const fresh = await mkdtemp(join(root, ".dist-"));
  try {
    const { metafile } = await esbuild.build({
      absWorkingDir: root,
      entryPoints: { cli: entry },
      outdir: fresh,
      bundle: true,
      splitting: true,
      platform: "node",
      format: "esm",
      target: "node24",
      // Saves 6 MB of memory and 20 ms at start. Names stay, for stack traces; so do lines, since Node prints the one that threw.
      minifyWhitespace: true,
      minifySyntax: true,
      lineLimit: 160,
      chunkNames: "[name]-[hash]",
      banner: { js: commonJsGlobals },
      legalComments: "none",
      logLevel: "silent",
      metafile: true,
      plugins: [englishAlone],
    });
    await chmod(fresh, 0o755);
    // A source saved while the build ran must count as newer than the bundle.
    await utimes(join(fresh, "cli.js"), startedAt, startedAt);
    await replace(join(root, "dist"), fresh);
    const outputs = Object.values(metafile.outputs);
    const bytes = outputs.reduce((sum, output) => sum + output.bytes, 0);
    return { kind: "built", files: outputs.length, bytes, ms: Date.now() - startedAt.getTime(), metafile };
  } finally {
    await rm(fresh, { recursive: true, force: true });
  }
}

/** Whether the bundle of `root` is newer than all it is made of. What was installed since is not looked at: installing makes a new one. */
export async function isCurrent(root: string): Promise<boolean> {
  const made = await timeOf(join(root, "dist/cli.js"));
  const sources = await readdir(join(root, "packages"), { recursive: true });
  const files = ["package.json", "package-lock.json", "scripts/bundle.ts", ...sources.map((name) => join("packages", name))];
  const times = await Promise.all(files.filter((file) => /\.(ts|json)$/.test(file)).map((file) => timeOf(join(root, file))));
  return times.every((time) => time < made);
}

/** In milliseconds; 0 when there is no such file. */
async function timeOf(path: string): Promise<number> {
  return await stat(path).then(
    ({ mtimeMs }) => mtimeMs,
    () => 0,
  );
}

async function findEsbuild(): Promise<typeof Esbuild | undefined> {
  try {
    return await import("esbuild");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ERR_MODULE_NOT_FOUND") return undefined;
    throw error;
  }
}

async function replace(target: string, fresh: string): Promise<void> {
  const old = `${fresh}-old`;
  if (existsSync(target)) await rename(target, old);
  await rename(fresh, target);
  await rm(old, { recursive: true, force: true });
}

if (import.meta.main) {
  const root = join(import.meta.dirname, "..");
  try {
    if (process.argv.includes("--if-older") && (await isCurrent(root))) process.exit();
    const outcome = await bundle(root);
    const built = (files: number, bytes: number, ms: number): string => `dist/ ${files} files, ${(bytes / 1e6).toFixed(1)} MB, ${ms} ms`;
    console.log(`bundle: ${outcome.kind === "built" ? built(outcome.files, outcome.bytes, outcome.ms) : `skipped, ${outcome.reason}`}`);
  } catch (error) {
    console.error(`bundle: failed, dist/ is as it was: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  }
}
