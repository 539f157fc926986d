/** A mutant names a fragment of the code as it stands: a refactoring that moves it takes the mutant along. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { mutants } from "./all.ts";

const root = join(import.meta.dirname, "../..");

test("every mutant's fragment stands in its file exactly once, and another in its place", async () => {
  const files = new Map<string, string>();
  const misfits: string[] = [];
  for (const { what, file, from, to } of mutants) {
    const text = files.get(file) ?? (await readFile(join(root, file), "utf8"));
    files.set(file, text);
    if (text.split(from).length !== 2 || from === to) misfits.push(`${file}: ${what}`);
  }

  assert.deepEqual(misfits, []);
});
