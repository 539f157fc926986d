import assert from "node:assert/strict";
import { mkdtempDisposable, readdir, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { updatePrivateFile } from "./private-file.ts";

const newFolder = (): ReturnType<typeof mkdtempDisposable> => mkdtempDisposable(join(tmpdir(), "portreeve-private-"));

test("each update sees what the one before it wrote", async () => {
  await using folder = await newFolder();
  const file = join(folder.path, "count");

  await Promise.all(Array.from({ length: 10 }, () => updatePrivateFile(file, (text) => String(Number(text ?? 0) + 1))));

  assert.equal(await readFile(file, "utf8"), "10");
  assert.deepEqual(await readdir(folder.path), ["count"]);
});

test("an update that fails, or changes nothing, leaves the file as it was and the way free", async () => {
  await using folder = await newFolder();
  const file = join(folder.path, "text");
  const fail = (): never => {
    throw new Error("no");
  };
  await updatePrivateFile(file, () => "old");

  await assert.rejects(updatePrivateFile(file, fail), /no/);
  await updatePrivateFile(file, () => undefined);
  await updatePrivateFile(file, (text) => `${text}, new`);

  assert.equal(await readFile(file, "utf8"), "old, new");
});

test("the lock of a process that died is taken over", async () => {
  await using folder = await newFolder();
  const file = join(folder.path, "text");
  await writeFile(`${file}.lock`, "");

  await updatePrivateFile(file, () => "new", { abandonedAfterMs: 0 });

  assert.equal(await readFile(file, "utf8"), "new");
  assert.deepEqual(await readdir(folder.path), ["text"]);
});
