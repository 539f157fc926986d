import assert from "node:assert/strict";
import test from "node:test";
import { nestsDeeperThan } from "./json-depth.ts";

const nested = (levels: number): unknown => JSON.parse(`${'{"a":['.repeat(levels)}1${"]}".repeat(levels)}`);
const loop: unknown[] = [];
loop.push(loop);

const table: readonly (readonly [what: string, value: unknown, levels: number, isDeeper: boolean])[] = [
  ["a number", 1, 0, false],
  ["null", null, 0, false],
  ["a long text", "x".repeat(100_000), 0, false],
  ["an empty object", {}, 0, true],
  ["an empty object", {}, 1, false],
  ["as many levels as may be", nested(3), 6, false],
  ["one level more", nested(3), 5, true],
  ["a deep value after shallow ones", [1, {}, [[[]]]], 3, true],
  ["an array of many", Array<number>(200_000).fill(1), 1, false],
  ["more levels than can be followed", nested(100_000), 128, true],
  ["what holds itself", loop, 128, true],
];

for (const [what, value, levels, isDeeper] of table) {
  test(`${what} ${isDeeper ? "nests" : "does not nest"} deeper than ${levels} levels`, () => {
    assert.equal(nestsDeeperThan(value, levels), isDeeper);
  });
}
