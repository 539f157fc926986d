import assert from "node:assert/strict";
import test from "node:test";
import { CallRates } from "./call-rates.ts";

const rate = { calls: 2, windowMs: 1_000 };

test("so many calls pass in a window, and the next one hears how long it lasts", () => {
  const rates = new CallRates(rate);
  const take = (nowMs: number) => rates.take("a", nowMs);

  assert.deepEqual([100, 300, 400, 1_099, 1_100, 1_200, 1_300].map(take), [undefined, undefined, 700, 1, undefined, undefined, 800]);
});

test("each key has calls of its own, and a clock that was set back makes none wait longer", () => {
  const rates = new CallRates(rate);
  for (const key of ["a", "a", "b"]) assert.equal(rates.take(key, 5_000), undefined);

  assert.deepEqual([rates.take("a", 5_001), rates.take("b", 5_001)], [999, undefined]);
  assert.equal(rates.take("a", 10), undefined);
});

test("of a thousand windows and one more the oldest is forgotten", () => {
  const rates = new CallRates({ calls: 1, windowMs: 1_000_000 });
  const keys = Array.from({ length: 1_000 }, (_, index) => `key-${index}`);
  for (const [nowMs, key] of keys.entries()) rates.take(key, nowMs);

  assert.equal(typeof rates.take("key-0", 1_000), "number");
  assert.equal(rates.take("one-more", 1_001), undefined);
  assert.deepEqual([typeof rates.take("key-1", 1_002), rates.take("key-0", 1_002)], ["number", undefined]);
});
