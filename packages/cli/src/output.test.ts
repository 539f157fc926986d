import assert from "node:assert/strict";
import { Readable } from "node:stream";
import { test } from "node:test";
import { captureIo } from "../../../test/support/captured-io.ts";
import { oneLine, plain, splitLines, toMinute, toTable, writeJson, writeLine } from "./output.ts";

const texts: readonly (readonly [string, string])[] = [
  ["plain\ttext\nstays", "plain\ttext\nstays"],
  ["\u001b[31mred\u001b[0m", "red"],
  ["\u001b]8;;http://x\u0007link\u001b]8;;\u0007", "link"],
  ["over\rwrite\u0008\u007f", "overwrite"],
  ["\u009b2Jclear", "clear"],
  ["abc\u202Egnp.exe\u2066", "abcgnp.exe"],
];

for (const [raw, safe] of texts) {
  test(`${JSON.stringify(raw)} is printed as ${JSON.stringify(safe)}`, () => {
    assert.equal(plain(raw), safe);
  });
}

test("a long text becomes one line of bounded length", () => {
  assert.equal(oneLine("a\n  b\tc"), "a b c");
  assert.equal(oneLine("x".repeat(200), 10), `${"x".repeat(9)}…`);
});

test("columns are as wide as their longest cell", () => {
  assert.equal(
    toTable(
      ["A", "B"],
      [
        ["long cell", "1"],
        ["x", "2"],
      ],
    ),
    "A          B\nlong cell  1\nx          2",
  );
  assert.equal(toTable(["A"], []), "");
});

test("times are minutes in UTC", () => {
  assert.deepEqual([toMinute(0), toMinute(undefined)], ["1970-01-01 00:00Z", "-"]);
});

test("a line is printed without what moves a terminal, but for our own weight of letters", () => {
  const io = captureIo();

  writeLine(io, `${"\u001b"}[1mWell${"\u001b"}[22m ${"\u001b"}]0;title${"\u0007"}${"\u009b"}2J${"\u202e"}${"\u2028"}said\nand done`);

  assert.equal(io.stdout, `${"\u001b"}[1mWell${"\u001b"}[22m said\nand done\n`);
});

test("JSON is printed with every control escaped, and means what it meant", () => {
  const io = captureIo();
  const value = { text: "\u001b[1m\u007f\u009b2J\u202eé" };

  writeJson(io, value);

  assert.match(io.stdout, /^[\u0020-\u007eé]+\n$/);
  assert.deepEqual(JSON.parse(io.stdout), value);
});

const pieces: Readonly<Record<string, { readonly chunks: readonly string[]; readonly lines: readonly string[] }>> = {
  "whole lines, and one without an end": { chunks: ["a\nb\r\nc"], lines: ["a", "b", "c"] },
  "lines in pieces": { chunks: ["a", "b\r", "\nc", "\n"], lines: ["ab", "c"] },
  "empty lines, and no input": { chunks: ["\n\r\n", ""], lines: ["", ""] },
  "what ends a line elsewhere": { chunks: ["a\u2028b\u2029c\rd\u0085e\n"], lines: ["a\u2028b\u2029c\rd\u0085e"] },
};

for (const [what, { chunks, lines }] of Object.entries(pieces)) {
  test(`lines end at \\n and \\r\\n only: ${what}`, async () => {
    const input = Readable.from(chunks.map((chunk) => Buffer.from(chunk)));

    assert.deepEqual(await Array.fromAsync(splitLines(input)), lines);
  });
}

test("a character that comes in two pieces is one", async () => {
  const bytes = Buffer.from("é\n");

  assert.deepEqual(await Array.fromAsync(splitLines(Readable.from([bytes.subarray(0, 1), bytes.subarray(1)]))), ["é"]);
});
