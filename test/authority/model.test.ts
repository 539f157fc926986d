/** No sequence of events amplifies authority: the pure rules, many short lives. */
import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { createModelWorld } from "./model-world.ts";
import { findMissing } from "./happenings.ts";
import { play, type Tally } from "./play.ts";

const seed = Number(process.env["PORTREEVE_SEED"] ?? Date.now() % 2_147_483_647);
/** After an opening. */
const maxLength = process.env["PORTREEVE_LONG"] === "1" ? 20 : 8;
const numRuns = Number(process.env["PORTREEVE_RUNS"] ?? 100_000);

test("no sequence of connects, decisions, rotations, removals, invitations, runs, steering, restarts, settings and clocks amplifies authority", async (t) => {
  t.diagnostic(`PORTREEVE_SEED=${seed}, ${numRuns} sequences`);
  const tally: Tally = new Map();

  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.nat(), { minLength: 1, maxLength, size: "max" }),
      async (codes) => void (await play(createModelWorld(), codes, tally)),
    ),
    { seed, numRuns },
  );

  assert.deepEqual(findMissing(tally, numRuns), []);
  t.diagnostic(JSON.stringify(Object.fromEntries(tally)));
});
