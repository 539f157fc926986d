import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempDisposable, symlink, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fakeContext } from "./fake-context.ts";
import { readTool } from "./read.ts";

async function makeWorkspace(files: Readonly<Record<string, string | Buffer>>) {
  const folder = await mkdtempDisposable(join(tmpdir(), "read-"));
  for (const [name, content] of Object.entries(files)) await writeFile(join(folder.path, name), content);
  return {
    path: folder.path,
    read: (args: unknown) => readTool.execute(args, fakeContext({ workspace: folder.path })),
    [Symbol.asyncDispose]: () => folder.remove(),
  };
}

test("read answers the whole of a small file as it is", async () => {
  await using workspace = await makeWorkspace({ "größe 日本.md": "one\r\ntwo – drei\n\nlast without end" });

  const result = await workspace.read({ path: "größe 日本.md" });

  assert.deepEqual(result, { text: "one\r\ntwo – drei\n\nlast without end" });
});

test("read answers the asked lines and says how to read on", async () => {
  await using workspace = await makeWorkspace({ "a.txt": "1\n2\n3\n4\n5\n" });

  const middle = await workspace.read({ path: "a.txt", offset: 2, limit: 2 });
  const rest = await workspace.read({ path: "a.txt", offset: 4, limit: 2 });

  assert.deepEqual(middle, { text: "2\n3\n\n[lines 2-3 of a.txt; there are more: to read on, call read with offset 4]" });
  assert.deepEqual(rest, { text: "4\n5\n" });
});

test("read says that a file is empty, and where one ends", async () => {
  await using workspace = await makeWorkspace({ empty: "", "one.txt": "only", "two.txt": "1\n2\n" });

  assert.deepEqual(await workspace.read({ path: "empty" }), { text: "[empty is empty]" });
  assert.deepEqual(await workspace.read({ path: "empty", offset: 2 }), {
    text: "empty has 0 lines; offset 2 is past its end.",
    isError: true,
  });
  assert.deepEqual(await workspace.read({ path: "one.txt", offset: 2 }), {
    text: "one.txt has 1 line; offset 2 is past its end.",
    isError: true,
  });
  assert.deepEqual(await workspace.read({ path: "two.txt", offset: 3 }), {
    text: "two.txt has 2 lines; offset 3 is past its end.",
    isError: true,
  });
});

test("a huge file comes in parts of at most 2000 lines, and following the notes reads all of it", async () => {
  const line = (number: number): string => `line ${number} ${"é".repeat(60)}\n`;
  const content = Array.from({ length: 9_000 }, (_, index) => line(index + 1)).join("");
  await using workspace = await makeWorkspace({ "huge.log": content });

  const parts: string[] = [];
  for (let offset: number | undefined = 1; offset !== undefined;) {
    const { text } = await workspace.read({ path: "huge.log", offset });
    const note: RegExpExecArray | null = /\n\[lines \d+-\d+ of huge\.log; there are more: to read on, call read with offset (\d+)\]$/.exec(
      text,
    );
    parts.push(note === null ? text : text.slice(0, note.index));
    offset = note === null ? undefined : Number(note[1]);
  }

  assert.equal(parts.join(""), content);
  assert.equal(parts.length, 5);
  assert.ok(parts.every((part) => Buffer.byteLength(part) <= 262_144 && part.endsWith("\n")));
});

test("a part never exceeds 256 KiB and ends with a whole line", async () => {
  await using workspace = await makeWorkspace({ "wide.txt": `${"a".repeat(100_000)}\n`.repeat(4) });

  const { text } = await workspace.read({ path: "wide.txt" });

  assert.match(text, /^(a{100000}\n){2}\n\[lines 1-2 of wide\.txt; there are more: to read on, call read with offset 3\]$/);
});

test("a line longer than a part is cut between characters, and the note leads past it", async () => {
  await using workspace = await makeWorkspace({ "long.txt": `x${"é".repeat(200_000)}\nafter\n` });

  const first = await workspace.read({ path: "long.txt" });
  const next = await workspace.read({ path: "long.txt", offset: 2 });

  assert.match(
    first.text,
    /^xé{131071}\n\[line 1 of long\.txt is longer than 256 KiB; its rest is left out; to read on, call read with offset 2\]$/,
  );
  assert.deepEqual(next, { text: "after\n" });
});

test("a binary file is refused, also when it only turns binary later", async () => {
  const late = Buffer.concat([Buffer.from("text\n".repeat(40_000)), Buffer.from([0, 1, 2])]);
  await using workspace = await makeWorkspace({ "a.bin": Buffer.from([137, 80, 0, 71]), "late.bin": late });

  const results = [await workspace.read({ path: "a.bin" }), await workspace.read({ path: "late.bin", offset: 40_001 })];

  assert.deepEqual(results, [
    { text: "a.bin is a binary file. Only text files can be read.", isError: true },
    { text: "late.bin is a binary file. Only text files can be read.", isError: true },
  ]);
});

test("a sparse file of a terabyte is refused at once", async () => {
  await using workspace = await makeWorkspace({ sparse: "" });
  await truncate(join(workspace.path, "sparse"), 2 ** 40);

  const result = await workspace.read({ path: "sparse", offset: 1_000_000 });

  assert.equal(result.text, "sparse is a binary file. Only text files can be read.");
});

test("a pipe in the workspace does not hold read up", { timeout: 10_000 }, async () => {
  await using workspace = await makeWorkspace({});
  execFileSync("mkfifo", [join(workspace.path, "pipe")]);

  const result = await workspace.read({ path: "pipe" });

  assert.deepEqual(result, { text: "pipe is a pipe, socket or device. Only regular files can be read.", isError: true });
});

test("read refuses what leads outside, a folder, and what is not there", async () => {
  await using workspace = await makeWorkspace({});
  await symlink("/etc/hostname", join(workspace.path, "link"));

  const results = await Promise.all(["../x", "/etc/passwd", "link", ".", "none", "a\0b"].map((path) => workspace.read({ path })));

  assert.ok(results.every(({ isError }) => isError === true));
  assert.deepEqual(
    results.map(({ text }) => /outside the workspace|is a folder|There is no|NUL byte/.exec(text)?.[0]),
    ["outside the workspace", "outside the workspace", "outside the workspace", "is a folder", "There is no", "NUL byte"],
  );
});

test("read stops when its run is stopped", async () => {
  await using workspace = await makeWorkspace({ "big.txt": "line\n".repeat(500_000) });
  const controller = new AbortController();
  const context = fakeContext({ workspace: workspace.path, signal: controller.signal });

  const reading = readTool.execute({ path: "big.txt", offset: 499_999 }, context);
  controller.abort(new Error("stopped"));

  await assert.rejects(reading, /stopped/);
});

test("arguments that do not fit are answered with what was expected", async () => {
  await using workspace = await makeWorkspace({ a: "" });

  const results = [
    await workspace.read({ path: "a", offset: 0 }),
    await workspace.read({ path: "a", lines: 3 }),
    await workspace.read("a"),
  ];

  assert.ok(results.every(({ isError, text }) => isError === true && text.startsWith("The arguments of read are not valid: ")));
});
