import assert from "node:assert/strict";
import test from "node:test";
import { createCooldowns, firstReady } from "./cooldowns.ts";

test("a model that failed is left out for a minute, then for two, and not at all once it worked", () => {
  const cooldowns = createCooldowns();

  cooldowns.failed("a/one", 0, undefined);
  const first = [59_999, 60_000].map((at) => cooldowns.cooling(at).has("a/one"));
  cooldowns.failed("a/one", 60_000, undefined);
  const second = [179_999, 180_000].map((at) => cooldowns.cooling(at).has("a/one"));
  cooldowns.failed("a/one", 180_000, undefined);
  cooldowns.worked("a/one");

  assert.deepEqual([first, second, [...cooldowns.cooling(180_001)]], [[true, false], [true, false], []]);
});

test("a provider that asks for longer gets it, but for no more than an hour", () => {
  const cooldowns = createCooldowns();

  cooldowns.failed("a/one", 0, 1_800_000);
  cooldowns.failed("a/two", 0, 86_400_000);

  assert.deepEqual(
    [1_799_999, 1_800_000, 3_599_999, 3_600_000].map((at) => [...cooldowns.cooling(at)]),
    [["a/one", "a/two"], ["a/two"], ["a/two"], []],
  );
});

test("the first model that is not left out is taken, and the first of all when every one is", () => {
  assert.equal(firstReady(["a", "b", "c"], new Set(["a"])), "b");
  assert.equal(firstReady(["a", "b"], new Set(["a", "b"])), "a");
});
