import assert from "node:assert/strict";
import { mkdir, mkdtempDisposable, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { walkFiles } from "./file-walk.ts";
import { resolveInWorkspace } from "./workspace.ts";

/** What a walk of the whole `workspace` gives, with files by name. */
async function walk(workspace: string, maxEntries: number, beforeWalk = () => Promise.resolve()): Promise<readonly string[]> {
  const start = await resolveInWorkspace(workspace, ".");
  if (start.kind !== "inside") throw new TypeError(`no place to start: ${start.kind}`);
  await beforeWalk();
  const steps = await Array.fromAsync(walkFiles(start, maxEntries, new AbortController().signal));
  return steps.map((step) => (step.kind === "file" ? step.place.shown : step.kind));
}

test("a walk ends at its bound, with what it found and a word that there is more", async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), "walk-"));
  await mkdir(join(folder.path, "sub"));
  await Promise.all(["sub/x", "sub/y", "a", "b"].map((name) => writeFile(join(folder.path, name), "")));

  const walks = [await walk(folder.path, 5), await walk(folder.path, 3)];

  assert.deepEqual(walks, [
    ["a", "b", "sub/x", "sub/y"],
    ["a", "b", "cut"],
  ]);
});

test("a very deep tree is walked to its end", async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), "walk-"));
  const deep = Array.from({ length: 500 }, () => "d").join("/");
  await mkdir(join(folder.path, deep), { recursive: true });
  await writeFile(join(folder.path, deep, "f"), "");

  assert.deepEqual(await walk(folder.path, 1_000), [`${deep}/f`]);
});

test("a folder that cannot be listed is told", async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), "walk-"));

  assert.deepEqual(await walk(folder.path, 10, () => folder.remove()), ["unlisted"]);
});
