import assert from "node:assert/strict";
import { test } from "node:test";
import { createPace } from "./pace.ts";

const turnOfTheLoop = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("a few go on in one turn of the event loop, the others in the next ones, first come first served", async () => {
  const pace = createPace();
  const gone: number[] = [];
  // Asked for before any of them, so that it looks first in each turn.
  const counts = (async () => {
    const seen: number[] = [];
    while (seen.length < 3) {
      await turnOfTheLoop();
      seen.push(gone.length);
    }
    return seen;
  })();

  await Promise.all(Array.from({ length: 10 }, (_, index) => pace().then(() => gone.push(index))));

  assert.deepEqual(gone, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  assert.deepEqual(await counts, [4, 8, 10]);
});

test("whoever comes later waits behind those who wait already", async () => {
  const pace = createPace();
  const gone: string[] = [];
  for (let index = 0; index < 5; index += 1) void pace().then(() => gone.push(`early ${index}`));
  await turnOfTheLoop();

  void pace().then(() => gone.push("late"));
  await turnOfTheLoop();
  await turnOfTheLoop();

  assert.deepEqual(gone.slice(-2), ["early 4", "late"]);
});

test("what was put on its way before goes first, also when nobody else waits", async () => {
  const pace = createPace();
  const order: string[] = [];

  process.nextTick(() => order.push("answer"));
  await pace();
  order.push("step");

  assert.deepEqual(order, ["answer", "step"]);
});
