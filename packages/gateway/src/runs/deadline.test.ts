import assert from "node:assert/strict";
import test from "node:test";
import { lastPartAt, secondsLeft } from "./deadline.ts";

const run = { startedAtMs: 1_000, deadlineAtMs: 101_000 };

test("the last fifth of the time is the last part", () => {
  assert.equal(lastPartAt(run), 81_000);
  assert.deepEqual(
    [80_999, 81_000, 100_600, 200_000].map((nowMs) => secondsLeft(run, nowMs)),
    [undefined, 20, 0, 0],
  );
});

test("a run without a deadline has no last part", () => {
  assert.equal(lastPartAt({ startedAtMs: 1_000, deadlineAtMs: undefined }), undefined);
  assert.equal(secondsLeft({ startedAtMs: undefined, deadlineAtMs: undefined }, 5), undefined);
});
