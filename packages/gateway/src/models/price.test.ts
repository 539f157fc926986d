import assert from "node:assert/strict";
import test from "node:test";
import { costOf, createPrices } from "./price.ts";

const prices = createPrices({ "openai/gpt": { input: 1.25, output: 10, cacheRead: 0.125 }, "openai/plain": { input: 2, output: 8 } });
const usage = { input: 100, output: 10, cacheRead: 1_000, cacheWrite: 4, totalTokens: 1_114 };

test("a call costs its tokens times the dollars per million, in whole millionths of a dollar", () => {
  assert.deepEqual(costOf(usage, prices("openai/gpt")), { input: 125, output: 100, cacheRead: 125, cacheWrite: 5 });
});

test("cached tokens without a price of their own cost as much as any", () => {
  assert.deepEqual(costOf(usage, prices("openai/plain")), { input: 200, output: 80, cacheRead: 2_000, cacheWrite: 8 });
});

test("a model without a price, and a call that nobody counted, cost what nobody knows", () => {
  assert.equal(costOf(usage, prices("openai/other")), undefined);
  assert.equal(costOf(usage, prices("constructor")), undefined);
  assert.equal(costOf({ input: 0, output: 0, totalTokens: 0 }, prices("openai/gpt")), undefined);
});

test("the built-in model is free, unless somebody prices it", () => {
  const own = createPrices({ "scripted/scripted": { input: 1, output: 1 } });

  assert.deepEqual(costOf(usage, prices("scripted/scripted")), { input: 0, output: 0, cacheRead: 0, cacheWrite: 0 });
  assert.equal(costOf(usage, own("scripted/scripted"))?.input, 100);
});
