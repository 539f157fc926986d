/**
 * `npm run pack`: the release as a folder that runs where it is put: bundle, launcher, licences, README. Node comes beside
 * it, by `npm install` in the folder or from the system.
 */
import { cp, mkdir, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { bundle } from "./bundle.ts";

const aimMegabytes = 60;

/** What of package.json a release keeps: nothing that needs sources or development tools. */
interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly description: string;
  readonly license: string;
  readonly bin: Readonly<Record<string, string>>;
  readonly engines: Readonly<Record<string, string>>;
  readonly optionalDependencies: Readonly<Record<string, string>>;
}

/**
 * Makes the release of `root` in `target`, which is replaced. Answers its size in bytes, without Node.
 * Rejects when the bundle cannot be built or a file that belongs to a release is missing.
 */
export async function pack(root: string, target: string): Promise<number> {
  const outcome = await bundle(root);
  if (outcome.kind === "skipped") throw new Error(`a release needs a fresh bundle: ${outcome.reason}`);
  await rm(target, { recursive: true, force: true });
  await mkdir(target, { recursive: true });
  for (const path of ["dist", "portreeve", "LICENSE", "README.md"]) await cp(join(root, path), join(target, path), { recursive: true });
  await writeFile(join(target, "package.json"), `${JSON.stringify(toReleaseManifest(await readManifest(root)), undefined, 2)}\n`);
  await writeFile(
    join(target, "THIRD-PARTY-LICENSES"),
    await collectLicences(root, listBundledPackages(Object.keys(outcome.metafile.inputs))),
  );
  return sizeOf(target);
}

async function readManifest(root: string): Promise<Manifest> {
  // Our own file: npm itself refuses another shape.
  return JSON.parse(await readFile(join(root, "package.json"), "utf8")) as Manifest;
}

function toReleaseManifest({ name, version, description, license, bin, engines, optionalDependencies }: Manifest): object {
  const scripts = { start: "./portreeve gateway run", demo: "./portreeve demo" };
  return { name, version, private: true, description, license, type: "module", bin, engines, scripts, optionalDependencies };
}

/** Folders of the packages whose code is in the bundle, from the paths of its inputs. */
function listBundledPackages(inputs: readonly string[]): readonly string[] {
  const folders = inputs.flatMap((path) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0] ?? []);
  return [...new Set(folders)].sort();
}

/** Bundled code is distributed code: each licence wants its text to go with it. */
async function collectLicences(root: string, folders: readonly string[]): Promise<string> {
  const parts = folders.map(async (folder) => {
    const { name, version, license } = JSON.parse(await readFile(join(root, folder, "package.json"), "utf8")) as Partial<Manifest>;
    const file = (await readdir(join(root, folder))).find((entry) => /^licen[cs]e/i.test(entry));
    const text = file === undefined ? "(The package has no licence file.)" : (await readFile(join(root, folder, file), "utf8")).trim();
    return `${name ?? folder} ${version ?? ""} (${license ?? "see below"})\n\n${text}\n`;
  });
  return (await Promise.all(parts)).join(`\n${"-".repeat(80)}\n\n`);
}

async function sizeOf(folder: string): Promise<number> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const sizes = await Promise.all(entries.filter((entry) => entry.isFile()).map((entry) => stat(join(entry.parentPath, entry.name))));
  return sizes.reduce((sum, { size }) => sum + size, 0);
}

if (import.meta.main) {
  const root = join(import.meta.dirname, "..");
  const { name, version } = await readManifest(root);
  const target = resolve(process.argv[2] ?? join(root, "release", `${name}-${version}`));
  const megabytes = (await pack(root, target)) / 1e6;
  console.log(`pack: ${target} ${megabytes.toFixed(1)} MB beside Node (at most ${aimMegabytes})`);
  process.exitCode = megabytes > aimMegabytes ? 1 : 0;
}
