/** No sequence of events amplifies authority: the same plays through the real store, in which every grant is audited. */
import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { createModelWorld } from "./model-world.ts";
import { findMissing } from "./happenings.ts";
import { play, type Tally } from "./play.ts";
import { createEmptyDatabase, openStoreWorld } from "./store-world.ts";

const seed = Number(process.env["PORTREEVE_SEED"] ?? Date.now() % 2_147_483_647);
/** After an opening. */
const maxLength = process.env["PORTREEVE_LONG"] === "1" ? 20 : 6;
const numRuns = Number(process.env["PORTREEVE_STORE_RUNS"] ?? 2_000);

test("through the real store no sequence amplifies authority, all goes as in the model, and the audit chain holds", async (t) => {
  t.diagnostic(`PORTREEVE_SEED=${seed}, ${numRuns} sequences`);
  const tally: Tally = new Map();
  const empty = await createEmptyDatabase();

  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(), { minLength: 1, maxLength, size: "max" }), async (codes) => {
      await using world = openStoreWorld(empty);

      const story = await play(world, codes, tally);

      assert.deepEqual(story, await play(createModelWorld(), codes, new Map()), "the model says otherwise than the store");
      assert.equal(await world.findAuditBreak(), undefined);
    }),
    { seed, numRuns },
  );

  assert.deepEqual(findMissing(tally, numRuns), []);
  t.diagnostic(JSON.stringify(Object.fromEntries(tally)));
});
