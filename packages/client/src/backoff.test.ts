import assert from "node:assert/strict";
import { test } from "node:test";
import { backoffDelayMs } from "./backoff.ts";

const backoff = { minDelayMs: 1_000, maxDelayMs: 30_000 };

test("the wait doubles from the first to the longest and stays there", () => {
  const waits = [0, 1, 2, 3, 4, 5, 6, 5_000].map((attempt) => backoffDelayMs(attempt, backoff, 0));

  assert.deepEqual(waits, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
});

test("chance takes off at most half, so that clients do not return together", () => {
  assert.equal(backoffDelayMs(0, backoff, 0.5), 750);
  assert.ok(backoffDelayMs(0, backoff, 0.999) > 500);
});
