import assert from "node:assert/strict";
import { mkdir, mkdtempDisposable, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fakeContext } from "./fake-context.ts";
import { lsTool } from "./ls.ts";

test("ls lists files, folders and links, sorted by name", async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), "ls-"));
  await mkdir(join(folder.path, "docs"));
  await writeFile(join(folder.path, "docs.md"), "");
  await writeFile(join(folder.path, "日本 ü.txt"), "");
  await writeFile(join(folder.path, "two\nlines"), "");
  await symlink("/etc", join(folder.path, "a-link"));

  const result = await lsTool.execute({}, fakeContext({ workspace: folder.path }));

  assert.deepEqual(result, { text: 'a-link@\ndocs/\ndocs.md\n"two\\nlines"\n日本 ü.txt' });
});

test("ls says that a folder is empty", async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), "ls-"));

  const result = await lsTool.execute({ path: "." }, fakeContext({ workspace: folder.path }));

  assert.deepEqual(result, { text: "[. is empty]" });
});

test("ls shows a thousand entries and how many there are", async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), "ls-"));
  await Promise.all(Array.from({ length: 1_001 }, (_, index) => mkdir(join(folder.path, String(index).padStart(4, "0")))));

  const { text } = await lsTool.execute({}, fakeContext({ workspace: folder.path }));

  const lines = text.split("\n");
  assert.deepEqual([lines.length, lines[0], lines[999]], [1_001, "0000/", "0999/"]);
  assert.match(lines[1_000] ?? "", /^\[1000 of 1001 entries shown/);
});

test("ls refuses what leads outside, a file, and what is not there", async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), "ls-"));
  await writeFile(join(folder.path, "file"), "");
  await symlink("/etc", join(folder.path, "link"));

  const results = await Promise.all(
    ["..", "/", "link", "file", "none"].map((path) => lsTool.execute({ path }, fakeContext({ workspace: folder.path }))),
  );

  assert.ok(results.every(({ isError }) => isError === true));
  assert.deepEqual(
    results.map(({ text }) => /outside the workspace|is not a folder|There is no/.exec(text)?.[0]),
    ["outside the workspace", "outside the workspace", "outside the workspace", "is not a folder", "There is no"],
  );
});
