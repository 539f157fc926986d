/**
 * The core under everything that can go wrong, from one seed: crashes at any statement, a full disk, lost hints, frozen
 * processes that wake, clocks that jump, jobs that are due meanwhile. The invariants are those of runs/SPEC.md; `judge.ts` holds them.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { actions } from "./actions.ts";
import { FaultyDatabase } from "./faulty-database.ts";
import { playSeeds } from "./seeds.ts";
import { simulate } from "./simulate.ts";

/** What only comes to pass where several things meet. */
const rare = ["compacted", "compaction-failed", "repair", "steered", "tool-intent", "parked"]
  .map((kind) => `entry: ${kind}`)
  .concat("a stand-in answered", "a fork", "a note was read", "delivered again", "dismissed", "a day was over", "a program ran")
  .concat(["late", "skipped", "spent", "by hand: run"].map((what) => `a job: ${what}`));

const given = process.env["PORTREEVE_SEED"];
const firstSeed = Number(given ?? Date.now() % 2_147_483_647);
const count = given === undefined ? Number(process.env["PORTREEVE_SIMULATIONS"] ?? 2_000) : 1;

test("in every world each child's end is read once, nothing acknowledged is lost, and nothing happens twice", async (t) => {
  t.diagnostic(`PORTREEVE_SEED=${firstSeed}, ${count} worlds`);

  const { seeds, taken, failures } = await playSeeds(firstSeed, count);

  t.diagnostic(JSON.stringify(Object.fromEntries(taken)));
  assert.equal(failures.length, 0, failures.join("\n\n"));
  assert.equal(seeds, count);
  if (count < 1_000) return;
  // Worlds in which nothing gets done show nothing.
  const ends = ["succeeded", "failed", "cancelled", "timed_out", "interrupted", "stalled", "budget_exceeded"].map(
    (status) => `ended: ${status}`,
  );
  assert.deepEqual(
    [...actions.map(([, name]) => name), ...ends, ...rare].filter((name) => !taken.has(name)),
    [],
  );
  assert.ok((taken.get("ended: succeeded") ?? 0) > seeds);
});

test("the same seed makes the same world", async () => {
  const database = await FaultyDatabase.open();
  const play = async (seed: number): Promise<unknown> => {
    const { story } = await simulate(seed, database);
    const rows = database.raw.prepare("select * from journal order by rowid").all();
    return { story, journal: rows.map((row) => ({ ...row })) };
  };

  for (let seed = firstSeed; seed < firstSeed + 20; seed += 1) assert.deepEqual(await play(seed), await play(seed));
});
