import assert from "node:assert/strict";
import test from "node:test";
import { ManualClock } from "../kit/manual-clock.ts";
import { StallWatch } from "./stall-watch.ts";

function watch(stallMs: number | undefined) {
  const clock = new ManualClock();
  const startMs = clock.now();
  const told: string[] = [];
  const stallWatch = new StallWatch({
    clock,
    stallMs,
    onWarning: (limitAtMs) => told.push(`warned of ${limitAtMs - startMs}`),
    onStalled: () => told.push(`stalled at ${clock.now() - startMs}`),
  });
  return { clock, told, stallWatch };
}

test("silence is warned of at four fifths of its time and ends at the whole", () => {
  const { clock, told } = watch(10_000);

  clock.advance(7_999);
  const before = [...told];
  clock.advance(2_001);

  assert.deepEqual(before, []);
  assert.deepEqual(told, ["warned of 10000", "stalled at 10000"]);
});

test("one token a minute is no stall, however long it goes on", () => {
  const { clock, told, stallWatch } = watch(61_000);

  for (let minute = 0; minute < 60; minute += 1) {
    clock.advance(60_000);
    stallWatch.sign();
  }

  assert.deepEqual(
    told.filter((one) => one.startsWith("stalled")),
    [],
  );
});

test("a sign after a warning takes it back: the next silence is warned of again", () => {
  const { clock, told, stallWatch } = watch(10_000);

  clock.advance(9_000);
  stallWatch.sign();
  clock.advance(10_000);

  assert.deepEqual(told, ["warned of 10000", "warned of 19000", "stalled at 19000"]);
});

test("while nothing is expected, nothing is missed", () => {
  const { clock, told, stallWatch } = watch(10_000);

  const held = stallWatch.hold();
  clock.advance(100_000);
  held[Symbol.dispose]();
  clock.advance(7_000);

  assert.deepEqual(told, []);
});

test("a clock that is set on is no silence", () => {
  const { clock, told } = watch(10_000);

  clock.advance(1_000);
  clock.setOn(3_600_000);
  clock.advance(6_000);
  const before = [...told];
  clock.advance(3_000);

  assert.deepEqual(before, []);
  assert.deepEqual(told, ["warned of 3610000", "stalled at 3610000"]);
});

test("while the machine sleeps nobody is silent", () => {
  const { clock, told } = watch(10_000);

  clock.advance(500);
  clock.sleep(3_600_000);
  clock.advance(6_500);
  const before = [...told];
  clock.advance(3_000);

  assert.deepEqual(before, []);
  assert.equal(told.length, 2);
});

test("without a limit, and when it is over, it tells nothing", () => {
  const unlimited = watch(undefined);
  const over = watch(10);

  over.stallWatch[Symbol.dispose]();
  unlimited.clock.advance(1e9);
  over.clock.advance(1e9);

  assert.deepEqual([...unlimited.told, ...over.told], []);
});
