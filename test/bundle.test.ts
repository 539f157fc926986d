/** The bundle: what it tolerates, what it never breaks. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempDisposableSync,
  readdirSync,
  readFileSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { bundle, isCurrent } from "../scripts/bundle.ts";

const repository = join(import.meta.dirname, "..");
const entry = "packages/cli/src/main.ts";

test("what the command line imports dynamically becomes a chunk of its own", async () => {
  using project = createProject({
    [entry]: 'const { serve } = await import("./gateway.ts");\nserve();',
    "packages/cli/src/gateway.ts": 'export const serve = () => console.log("serving");',
  });

  await bundle(project.root);

  assert.equal(project.read("dist/cli.js").includes("serving"), false);
  assert.equal(spawnSync(process.execPath, [join(project.root, "dist/cli.js")], { encoding: "utf8" }).stdout, "serving\n");
});

test("the same sources give the same bytes", async () => {
  using project = createProject({ [entry]: 'await import("./gateway.ts");', "packages/cli/src/gateway.ts": "console.log(1);" });

  await bundle(project.root);
  const first = project.list("dist").map((name) => [name, project.read(`dist/${name}`)]);
  await bundle(project.root);

  assert.deepEqual(
    project.list("dist").map((name) => [name, project.read(`dist/${name}`)]),
    first,
  );
});

test("a failed build leaves the old bundle and nothing else", async () => {
  using project = createProject({ [entry]: "console.log(1);" });
  await bundle(project.root);
  const before = project.read("dist/cli.js");
  project.write(entry, "console.log(");

  await assert.rejects(bundle(project.root), /main\.ts/);

  assert.equal(project.read("dist/cli.js"), before);
  assert.deepEqual(project.list("."), ["dist", "packages"]);
});

test("a bundle is current until one of its sources is newer, and one that is not there never is", async () => {
  using project = createProject({ [entry]: "console.log(1);", "packages/cli/package.json": "{}" });
  const before = await isCurrent(project.root);
  await bundle(project.root);
  const made = statSync(join(project.root, "dist/cli.js")).mtimeMs / 1_000;
  for (const file of [entry, "packages/cli/package.json"]) utimesSync(join(project.root, file), made - 1, made - 1);

  const after = await isCurrent(project.root);
  utimesSync(join(project.root, entry), made + 1, made + 1);

  assert.deepEqual([before, after, await isCurrent(project.root)], [false, true, false]);
});

test("a source that is saved while the build runs counts as newer", async () => {
  using project = createProject({ [entry]: "console.log(1);" });

  const running = bundle(project.root);
  const savedAt = new Date(Date.now() + 1);
  utimesSync(join(project.root, entry), savedAt, savedAt);
  await running;

  assert.ok(statSync(join(project.root, entry)).mtimeMs > statSync(join(project.root, "dist/cli.js")).mtimeMs);
});

test("without sources there is nothing to do", async () => {
  using project = createProject({ "dist/cli.js": "released" });

  assert.equal((await bundle(project.root)).kind, "skipped");
  assert.equal(project.read("dist/cli.js"), "released");
});

test("without esbuild the installation goes on, and says that the sources serve", () => {
  using project = createProject({ [entry]: "" });
  cpSync(join(repository, "scripts/bundle.ts"), join(project.root, "scripts/bundle.ts"));

  const { status, stdout } = spawnSync(process.execPath, [join(project.root, "scripts/bundle.ts")], { encoding: "utf8" });

  assert.deepEqual({ status, stdout }, { status: 0, stdout: "bundle: skipped, esbuild is not installed; the sources serve\n" });
  assert.equal(existsSync(join(project.root, "dist")), false);
});

interface Project extends Disposable {
  readonly root: string;
  write(path: string, text: string): void;
  read(path: string): string;
  list(path: string): readonly string[];
}

function createProject(files: Readonly<Record<string, string>>): Project {
  const folder = mkdtempDisposableSync(join(tmpdir(), "portreeve-bundle-"));
  const project: Project = {
    root: folder.path,
    write(path, text) {
      mkdirSync(dirname(join(folder.path, path)), { recursive: true });
      writeFileSync(join(folder.path, path), text);
    },
    read: (path) => readFileSync(join(folder.path, path), "utf8"),
    list: (path) => readdirSync(join(folder.path, path)).sort(),
    [Symbol.dispose]: () => folder.remove(),
  };
  for (const [path, text] of Object.entries(files)) project.write(path, text);
  return project;
}
