import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdir, mkdtempDisposable, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fakeContext } from "./fake-context.ts";
import { grepTool } from "./grep.ts";

async function makeWorkspace(files: Readonly<Record<string, string | Buffer>>) {
  const folder = await mkdtempDisposable(join(tmpdir(), "grep-"));
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder.path, name)), { recursive: true });
    await writeFile(join(folder.path, name), content);
  }
  return {
    path: folder.path,
    grep: (args: unknown) => grepTool.execute(args, fakeContext({ workspace: folder.path })),
    [Symbol.asyncDispose]: () => folder.remove(),
  };
}

test("grep answers path, line and text of every fitting line, in the order of paths", async () => {
  await using workspace = await makeWorkspace({
    "b.txt": "none\nneedle b\r\n",
    "a/x.md": "needle x",
    "größe 日本.md": "a needle",
    "two\nlines": "needle",
  });

  const result = await workspace.grep({ pattern: "need(le)" });

  assert.deepEqual(result, { text: 'a/x.md:1: needle x\nb.txt:2: needle b\ngröße 日本.md:1: a needle\n"two\\nlines":1: needle' });
});

test("grep looks where it is told: a folder, a file, names that fit", async () => {
  await using workspace = await makeWorkspace({ "src/a.ts": "hit", "src/deep/b.ts": "hit", "src/c.md": "hit", "a.ts": "hit" });

  const results = [
    await workspace.grep({ pattern: "hit", path: "src" }),
    await workspace.grep({ pattern: "hit", path: "src/c.md" }),
    await workspace.grep({ pattern: "hit", include: "*.ts" }),
    await workspace.grep({ pattern: "hit", include: "src/**/*.ts" }),
  ];

  assert.deepEqual(
    results.map(({ text }) => text.split("\n").map((line) => line.split(":")[0])),
    [["src/a.ts", "src/c.md", "src/deep/b.ts"], ["src/c.md"], ["a.ts", "src/a.ts", "src/deep/b.ts"], ["src/a.ts", "src/deep/b.ts"]],
  );
});

test("case and meaning of the pattern are as asked", async () => {
  await using workspace = await makeWorkspace({ "a.txt": "A.B\naxb\na.b" });

  const results = [
    await workspace.grep({ pattern: "a.b" }),
    await workspace.grep({ pattern: "a.b", ignoreCase: true }),
    await workspace.grep({ pattern: "a.b", literal: true }),
    await workspace.grep({ pattern: "(", literal: true }),
  ];

  assert.deepEqual(
    results.map(({ text }) => text),
    ["a.txt:2: axb\na.txt:3: a.b", "a.txt:1: A.B\na.txt:2: axb\na.txt:3: a.b", "a.txt:3: a.b", "[no match in 1 file]"],
  );
});

test("a byte order mark is no part of the first line", async () => {
  await using workspace = await makeWorkspace({ "a.ts": "\ufeffimport a", "b.ts": "import \ufeffb" });

  assert.deepEqual(await workspace.grep({ pattern: "^import" }), { text: "a.ts:1: import a\nb.ts:1: import \ufeffb" });
});

test("an invalid pattern is an error that says where it is wrong", async () => {
  await using workspace = await makeWorkspace({});

  const result = await workspace.grep({ pattern: "a(b" });

  assert.equal(result.isError, true);
  assert.match(result.text, /^Invalid regular expression: \/a\(b\/: Unterminated group\. .*set literal/);
});

for (const pattern of [
  "(a+)+$",
  "(a|aa)+$",
  "([^]*?)*?\\1+z",
  "((((a{1,100}){1,100}){1,100}){1,100}){1,100}$x",
  "(?:x?){65535}".repeat(60),
]) {
  test(`the pattern ${pattern.slice(0, 30)} that backtracks without end is stopped and said to`, { timeout: 60_000 }, async () => {
    await using workspace = await makeWorkspace({ "a.txt": `${"a".repeat(60)}b` });

    const result = await workspace.grep({ pattern });

    assert.equal(result.isError, true);
    assert.match(result.text, /^The pattern takes too long/);
    assert.deepEqual(await workspace.grep({ pattern: "b$" }), { text: `a.txt:1: ${"a".repeat(60)}b` });
  });
}

test("binary files, large files, links, .git and node_modules are left out", async () => {
  await using workspace = await makeWorkspace({
    "plain.txt": "needle",
    empty: "",
    "binary.bin": Buffer.from("needle\0"),
    "large.txt": `needle${"x".repeat(1_048_576)}`,
    ".git/config": "needle",
    "node_modules/x/index.js": "needle",
    "sub/node_modules/y.js": "needle",
  });
  await symlink("plain.txt", join(workspace.path, "link.txt"));
  await symlink("sub", join(workspace.path, "folder-link"));
  await symlink("/etc", join(workspace.path, "outside-link"));

  const result = await workspace.grep({ pattern: "needle|root" });

  assert.deepEqual(result, { text: "plain.txt:1: needle\n[2 not searched: binary, over 1 MiB, or not readable]" });
});

test("a pipe in the workspace does not hold grep up", { timeout: 10_000 }, async () => {
  await using workspace = await makeWorkspace({ "a.txt": "needle" });
  execFileSync("mkfifo", [join(workspace.path, "pipe")]);

  const results = [await workspace.grep({ pattern: "needle" }), await workspace.grep({ pattern: "needle", path: "pipe" })];

  assert.deepEqual(
    results.map(({ text }) => text),
    ["a.txt:1: needle", "[no match in 1 file]\n[1 not searched: binary, over 1 MiB, or not readable]"],
  );
});

test("grep stops after 200 matches and says that there are more", async () => {
  await using workspace = await makeWorkspace({
    "a.txt": "hit\n".repeat(150),
    "b.txt": "hit\n".repeat(51),
    "c/exact.txt": "hut\n".repeat(200),
  });

  const more = (await workspace.grep({ pattern: "hit" })).text.split("\n");
  const exact = (await workspace.grep({ pattern: "hut" })).text.split("\n");

  assert.deepEqual(
    [more.length, more[199], more[200]],
    [201, "b.txt:50: hit", "[the first 200 matches; there are more: narrow pattern, path or include]"],
  );
  assert.deepEqual([exact.length, exact[199]], [200, "c/exact.txt:200: hut"]);
});

test("more text than one search may take is searched to its end", async () => {
  const filler = "filler line\n".repeat(50_000);
  await using workspace = await makeWorkspace({ "a.txt": `${filler}needle a`, "b.txt": `${filler}needle b`, "c.txt": `${filler}needle c` });

  const result = await workspace.grep({ pattern: "needle" });

  assert.deepEqual(result, { text: "a.txt:50001: needle a\nb.txt:50001: needle b\nc.txt:50001: needle c" });
});

test("of a long line the part around the match is shown", async () => {
  await using workspace = await makeWorkspace({ "a.txt": `${"x".repeat(5_000)}needle${"y".repeat(5_000)}` });

  const result = await workspace.grep({ pattern: "needle" });

  assert.deepEqual(result, { text: `a.txt:1: …${"x".repeat(100)}needle${"y".repeat(194)}…` });
});

test("a stopped run ends the walk", async () => {
  const files = Object.fromEntries(Array.from({ length: 50 }, (_, index) => [`d${index}/f.txt`, "needle"]));
  await using workspace = await makeWorkspace(files);
  const controller = new AbortController();

  const searching = grepTool.execute({ pattern: "needle" }, fakeContext({ workspace: workspace.path, signal: controller.signal }));
  controller.abort(new Error("stopped"));

  await assert.rejects(searching, /stopped/);
});

test("grep refuses what leads outside, what is not there, and braces without end", async () => {
  await using workspace = await makeWorkspace({});
  await symlink("/etc", join(workspace.path, "link"));

  const results = [
    ...(await Promise.all(["..", "/etc", "link", "none"].map((path) => workspace.grep({ pattern: "x", path })))),
    await workspace.grep({ pattern: "x", include: "{a,b}".repeat(30) }),
  ];

  assert.deepEqual(
    results.map(({ isError, text }) => [isError, /outside the workspace|There is no|more than 64 patterns/.exec(text)?.[0]]),
    [
      [true, "outside the workspace"],
      [true, "outside the workspace"],
      [true, "outside the workspace"],
      [true, "There is no"],
      [true, "more than 64 patterns"],
    ],
  );
});
