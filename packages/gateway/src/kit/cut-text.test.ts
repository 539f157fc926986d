import assert from "node:assert/strict";
import { test } from "node:test";
import { cutText } from "./cut-text.ts";

for (const [start, end, cut] of [
  [0, 99, "a😀b😀"],
  [1, 3, "😀"],
  [0, 2, "a"],
  [2, 6, "b😀"],
  [2, 5, "b"],
] as const) {
  test(`from ${start} to ${end} no character is taken apart`, () => {
    assert.equal(cutText("a😀b😀", start, end), cut);
  });
}
