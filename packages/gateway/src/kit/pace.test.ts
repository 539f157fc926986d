import assert from "node:assert/strict";
import { test } from "node:test";
import { createPace } from "./pace.ts";

const turnOfTheLoop = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Each piece of work takes 0.4 of the millisecond that a turn has; a piece ends with promises and ticks of its own. */
function createSteps() {
  let nowMs = 0;
  const gone: number[] = [];
  const pace = createPace(() => nowMs);
  const step = async (index: number): Promise<void> => {
    await pace();
    await Promise.resolve();
    nowMs += 0.4;
    gone.push(index);
  };
  return { gone, step };
}

test("work goes on for a while in one turn of the event loop, the rest in the next ones, first come first served", async () => {
  const { gone, step } = createSteps();
  // Asked for before any of it, so that it looks first in each turn.
  const counts = (async () => {
    const seen: number[] = [];
    while (seen.length < 3) {
      await turnOfTheLoop();
      seen.push(gone.length);
    }
    return seen;
  })();

  await Promise.all(Array.from({ length: 8 }, (_, index) => step(index)));

  assert.deepEqual(gone, [0, 1, 2, 3, 4, 5, 6, 7]);
  assert.deepEqual(await counts, [3, 6, 8]);
});

test("what was put on its way before goes first, also when nobody else waits", async () => {
  const pace = createPace();
  const order: string[] = [];

  process.nextTick(() => order.push("answer"));
  await pace();
  order.push("step");

  assert.deepEqual(order, ["answer", "step"]);
});

test("whoever comes when the others are done waits for the next turn: one turn is not used up twice", async () => {
  const { gone, step } = createSteps();
  const ticks = async (): Promise<void> => {
    for (let tick = 0; tick < 10; tick += 1) await new Promise<void>((resolve) => process.nextTick(resolve));
  };
  await Promise.all([step(0), step(1)]);
  await ticks();

  const more = Promise.all([2, 3, 4].map(step));
  await ticks();
  assert.deepEqual(gone, [0, 1]);
  await more;

  assert.deepEqual(gone, [0, 1, 2, 3, 4]);
});
