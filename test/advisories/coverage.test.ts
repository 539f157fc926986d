/** Every advisory is either tested or waits for a surface, and none is both. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import { pending } from "./pending.ts";
import { rows } from "./rows.ts";

function testedRows(): readonly number[] {
  const files = readdirSync(import.meta.dirname).filter((name) => name.endsWith(".test.ts"));
  const texts = files.map((name) => readFileSync(join(import.meta.dirname, name), "utf8"));
  return texts.flatMap((text) => [...text.matchAll(/^advisory\((\d+),/gm)].map((match) => Number(match[1])));
}

test("every advisory of the table is tested here or waits in pending.ts, and none stands twice", () => {
  const accounted = [...testedRows(), ...pending.map(([row]) => row)].toSorted((a, b) => a - b);

  assert.deepEqual(
    accounted,
    rows.map(({ row }) => row),
  );
});

test("the table counts its rows without a gap, and names each", () => {
  assert.deepEqual(
    rows.map(({ row }) => row),
    rows.map((_, index) => index + 1),
  );
  for (const { row, rules, id } of rows) assert.match(`${rules} ${id}`, /^R\d+( R\d+)* \S/, String(row));
});
