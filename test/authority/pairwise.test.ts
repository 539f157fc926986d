import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { choosePairwise, pairsIn, type Values } from "./pairwise.ts";

const setting = fc.record({ a: fc.constantFrom("1", "2", "3"), b: fc.constantFrom("1", "2", "3", "4"), c: fc.constantFrom("1", "2") });

test("of any settings those that are chosen hold every pair of values that occurs, and nothing that does not", () => {
  fc.assert(
    fc.property(fc.array(setting, { minLength: 1, maxLength: 24 }), (settings: readonly Values[]) => {
      const chosen = choosePairwise(settings);

      assert.deepEqual([...pairsIn(chosen)].sort(), [...pairsIn(settings)].sort());
      assert.ok(chosen.every((one) => settings.includes(one)));
      assert.equal(new Set(chosen).size, chosen.length);
    }),
  );
});

test("of three columns with three values each nine to eleven settings do instead of twenty-seven", () => {
  const values = ["x", "y", "z"];
  const all = values.flatMap((a) => values.flatMap((b) => values.map((c) => ({ a, b, c }))));

  const chosen = choosePairwise(all);

  assert.ok(chosen.length >= 9 && chosen.length <= 11, `${chosen.length} were chosen`);
});
