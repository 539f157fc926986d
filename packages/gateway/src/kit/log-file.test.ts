import assert from "node:assert/strict";
import { appendFile, mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { openLogFile, tailLog } from "./log-file.ts";

const wide = { limit: 5_000, maxBytes: 1_000_000 };

async function openFolder(): Promise<AsyncDisposable & { readonly path: string }> {
  const folder = await mkdtemp(join(tmpdir(), "portreeve-log-"));
  return { path: join(folder, "gateway.log"), [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }) };
}

test("what is written can be read back, and the file is its owner's alone", async () => {
  await using folder = await openFolder();
  using log = openLogFile(folder.path);

  log.write('{"msg":"a"}\n');
  log.write('{"msg":"ü"}\n');

  const tail = await tailLog(folder.path, wide);
  assert.deepEqual(tail.lines, ['{"msg":"a"}', '{"msg":"ü"}']);
  assert.deepEqual([tail.cursor, tail.size, tail.truncated, tail.reset], [25, 25, false, false]);
  assert.equal((await stat(folder.path)).mode & 0o777, 0o600);
});

test("a full file becomes the one before, and there is never a third", async () => {
  await using folder = await openFolder();
  using log = openLogFile(folder.path, 20);

  for (const word of ["first", "second", "third", "fourth", "fifth"]) log.write(`${word}\n`);

  const [now, before] = [await readFile(folder.path, "utf8"), await readFile(`${folder.path}.1`, "utf8")];
  assert.deepEqual([before, now], ["first\nsecond\nthird\n", "fourth\nfifth\n"]);
});

test("a file that cannot be written loses lines and throws nothing; one that can again goes on", async () => {
  await using folder = await openFolder();
  const path = join(folder.path, "below", "gateway.log");
  using log = openLogFile(path);

  log.write("lost\n");
  await mkdir(join(folder.path, "below"), { recursive: true });
  log.write("kept\n");

  assert.equal(await readFile(path, "utf8"), "kept\n");
});

test("a line too long for the file leaves a note of its size", async () => {
  await using folder = await openFolder();
  using log = openLogFile(folder.path);

  log.write(`${"x".repeat(70_000)}\n`);

  const [line = ""] = (await tailLog(folder.path, wide)).lines;
  assert.equal((JSON.parse(line) as { bytes: number }).bytes, 70_001);
});

test("whoever asks on from the cursor gets every line once, whatever the limits", async () => {
  await using folder = await openFolder();
  const lines = Array.from({ length: 40 }, (_, index) => `${index}:${"y".repeat((index * 7) % 30)}ß`);
  await writeFile(folder.path, `${lines.join("\n")}\n`);

  for (const limits of [
    { limit: 3, maxBytes: 1_000_000 },
    { limit: 5_000, maxBytes: 64 },
    { limit: 1, maxBytes: 40 },
  ]) {
    const heard: string[] = [];
    let cursor = 0;
    for (let round = 0; round < 100; round += 1) {
      const tail = await tailLog(folder.path, { cursor, ...limits });
      heard.push(...tail.lines);
      if (tail.cursor === cursor) break;
      cursor = tail.cursor;
    }
    assert.deepEqual(heard, lines, JSON.stringify(limits));
  }
});

test("without a cursor the newest lines come, whole ones only, and it is said that there were more", async () => {
  await using folder = await openFolder();
  await writeFile(folder.path, "one\ntwo\nthree\nfour\n");

  const byLimit = await tailLog(folder.path, { limit: 2, maxBytes: 1_000 });
  const byBytes = await tailLog(folder.path, { limit: 100, maxBytes: 9 });

  assert.deepEqual([byLimit.lines, byLimit.truncated, byLimit.cursor], [["three", "four"], true, 19]);
  assert.deepEqual([byBytes.lines, byBytes.truncated, byBytes.cursor], [["four"], true, 19]);
});

test("a line that is still being written is not shown before its end", async () => {
  await using folder = await openFolder();
  await writeFile(folder.path, "whole\nha");

  const first = await tailLog(folder.path, wide);
  await appendFile(folder.path, "lf\n");
  const second = await tailLog(folder.path, { ...wide, cursor: first.cursor });

  assert.deepEqual([first.lines, second.lines], [["whole"], ["half"]]);
});

test("a line longer than was asked for is passed over, and what follows it still comes", async () => {
  await using folder = await openFolder();
  await writeFile(folder.path, `${"z".repeat(50)}\nshort\n`);
  const heard: string[] = [];
  let [cursor, truncated] = [0, false];

  for (let round = 0; round < 20; round += 1) {
    const tail = await tailLog(folder.path, { cursor, limit: 10, maxBytes: 16 });
    heard.push(...tail.lines);
    truncated ||= tail.truncated;
    cursor = tail.cursor;
  }

  assert.deepEqual([heard, truncated], [["short"], true]);
});

test("a cursor beyond the end is of a file that was rotated: its successor is read anew", async () => {
  await using folder = await openFolder();
  await writeFile(folder.path, "new\n");

  const rotated = await tailLog(folder.path, { ...wide, cursor: 900 });
  const missing = await tailLog(`${folder.path}.none`, { ...wide, cursor: 900 });

  assert.deepEqual([rotated.lines, rotated.reset, rotated.cursor], [["new"], true, 4]);
  assert.deepEqual([missing.lines, missing.reset, missing.cursor], [[], true, 0]);
});
