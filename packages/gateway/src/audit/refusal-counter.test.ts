import assert from "node:assert/strict";
import test from "node:test";
import type { Clock } from "../kit/clock.ts";
import { createIds } from "../kit/ids.ts";
import { openStoreFile } from "../store/sqlite.ts";
import type { RefusalCount } from "../store/audit-store.ts";
import { createRefusalCounter, flushAfterMs, keptDays, rowsPerMinute } from "./refusal-counter.ts";

const refusal = { principal: "device:a", method: "status", rule: "MISSING_SCOPE" };
const forever = { sinceMs: 0, limit: 1_000 };
const startMs = 1_760_000_040_000; // The beginning of a minute.

/** Time that a test moves by hand; due tasks run at once. */
class HandClock implements Clock {
  nowMs = startMs;
  readonly #tasks = new Map<object, { atMs: number; task: () => void }>();

  now(): number {
    return this.nowMs;
  }

  schedule(atMs: number, task: () => void): Disposable {
    const key = {};
    this.#tasks.set(key, { atMs, task });
    return { [Symbol.dispose]: () => void this.#tasks.delete(key) };
  }

  get waiting(): number {
    return this.#tasks.size;
  }

  advance(ms: number): void {
    this.nowMs += ms;
    for (const [key, { atMs, task }] of this.#tasks) {
      if (atMs > this.nowMs) continue;
      this.#tasks.delete(key);
      task();
    }
  }
}

async function openWorld(add?: (counts: readonly RefusalCount[]) => Promise<void>) {
  const store = await openStoreFile(":memory:", createIds());
  const clock = new HandClock();
  const errors: object[] = [];
  const ignore = (): void => undefined;
  const log = { debug: ignore, info: ignore, warn: ignore, error: (facts: object) => void errors.push(facts) };
  const counter = createRefusalCounter({ store: add === undefined ? store.refusals : { add }, clock, log });
  const list = async (): Promise<readonly RefusalCount[]> => {
    await counter.flush();
    return store.refusals.list(forever);
  };
  return { store, clock, errors, counter, list, [Symbol.asyncDispose]: () => store[Symbol.asyncDispose]() };
}

test("equal refusals of one minute are one row, also when they are written in parts; the next minute has its own", async () => {
  await using world = await openWorld();

  for (let index = 0; index < 3; index += 1) world.counter.count(refusal);
  await world.counter.flush();
  world.clock.advance(59_999);
  world.counter.count(refusal);
  world.counter.count({ ...refusal, rule: "WRONG_CALLER" });
  world.clock.advance(1);
  world.counter.count(refusal);

  const rows = await world.list();

  assert.deepEqual(
    rows.map(({ minuteMs, rule, count }) => [minuteMs - startMs, rule, count]),
    [
      [60_000, "MISSING_SCOPE", 1],
      [0, "MISSING_SCOPE", 4],
      [0, "WRONG_CALLER", 1],
    ],
  );
});

test("counts are written by the clock, once a burst, and an idle counter has no timer", async () => {
  const batches: (readonly RefusalCount[])[] = [];
  await using world = await openWorld((counts) => {
    batches.push(counts);
    return Promise.resolve();
  });

  const idle = world.clock.waiting;
  for (let index = 0; index < 1_000; index += 1) world.counter.count(refusal);
  const armed = world.clock.waiting;
  world.clock.advance(flushAfterMs - 1);
  const early = batches.length;
  world.clock.advance(1);

  assert.deepEqual([idle, armed, early, world.clock.waiting], [0, 1, 0, 0]);
  assert.deepEqual(batches, [[{ ...refusal, minuteMs: startMs, count: 1_000 }]]);
});

test("a hundred thousand different refusers in one minute are a bounded number of rows, and none of them is lost", async () => {
  await using world = await openWorld();

  for (let index = 0; index < 100_000; index += 1) {
    world.counter.count({ ...refusal, principal: `peer:${index}` });
    if (index % 25_000 === 0) await world.counter.flush();
  }
  world.clock.advance(-3_600_000);
  world.counter.count({ ...refusal, principal: "peer:back in time" });

  const rows = await world.list();
  assert.equal(rows.length, rowsPerMinute + 1);
  assert.equal(
    rows.reduce((sum, { count }) => sum + count, 0),
    100_001,
  );
  assert.deepEqual([rows[0]?.principal, rows[0]?.method, rows[0]?.rule], ["other", "other", "MISSING_SCOPE"]);
});

test("a store that cannot be written costs the counts, is said once a batch, and stops nobody", async () => {
  await using world = await openWorld(() => Promise.reject(new Error("the disk is full")));

  world.counter.count(refusal);
  world.counter.count(refusal);
  await world.counter.flush();
  await world.counter[Symbol.asyncDispose]();

  assert.deepEqual(
    world.errors.map((facts) => ("lost" in facts ? facts.lost : undefined)),
    [2],
  );
});

test("old minutes are forgotten, and beyond the bound of rows the oldest ones", async () => {
  await using world = await openWorld();
  world.counter.count(refusal);
  await world.counter.flush();
  world.clock.advance((keptDays + 1) * 86_400_000);
  world.counter.count(refusal);

  const afterAge = await world.list();
  const count = (minuteMs: number, principal: string): RefusalCount => ({ ...refusal, minuteMs, principal, count: 1 });
  await world.store.refusals.add([count(1, "a"), count(1, "b"), count(2, "a"), count(3, "a")], { sinceMs: 0, rows: 3 });
  const afterRows = await world.store.refusals.list(forever);

  assert.equal(afterAge.length, 1);
  assert.deepEqual(
    afterRows.map(({ minuteMs }) => minuteMs),
    [afterAge[0]?.minuteMs, 3, 2],
  );
});
