/** Guards are broken on purpose, one at a time: the test named beside each must go red. */
import assert from "node:assert/strict";
import { availableParallelism } from "node:os";
import test from "node:test";
import { copyProject, type Copy, stopped } from "../support/mutant.ts";
import { authorityMutants, mutants } from "./all.ts";
import { type Mutant, tests } from "./mutant-list.ts";

/** Random plays take seconds to notice, where a named case takes less than one. */
const playTests: readonly string[] = [tests.simulation, tests.model, tests.lives, tests.stored];
/** All of them take minutes: the short run breaks what decides about authority, where a named case notices. */
const tried = process.env["PORTREEVE_LONG"] === "1" ? mutants : authorityMutants.filter(({ testFile }) => !playTests.includes(testFile));
const atOnce = Math.min(availableParallelism(), 8);

/** Guards that stand are tried like broken ones: the longest of all first. */
const standing = [...Map.groupBy(tried, (mutant) => mutant.testFile)].map(([testFile, some]) => ({
  testFile,
  killedBy: some.map((mutant) => mutant.killedBy).join("|"),
}));

test("every broken guard is noticed by the test that stands for it, and none that stands", { timeout: 1_800_000 }, async (t) => {
  await using stack = new AsyncDisposableStack();
  const copies = await Promise.all(Array.from({ length: atOnce }, async () => stack.use(await copyProject())));
  const waiting = [
    ...standing.map((one) => (copy: Copy) => t.test(`without a change ${one.testFile} is green`, () => tryStanding(copy, one))),
    ...tried.map((mutant) => (copy: Copy) => t.test(mutant.what, () => tryMutant(copy, mutant))),
  ];
  const tryWaiting = async (copy: Copy): Promise<void> => {
    for (let attempt = waiting.shift(); attempt !== undefined; attempt = waiting.shift()) await attempt(copy);
  };

  await Promise.all(copies.map(tryWaiting));
});

async function tryStanding(copy: Copy, { testFile, killedBy }: Pick<Mutant, "testFile" | "killedBy">): Promise<void> {
  const { failed, ran } = await copy.run(testFile, killedBy);

  assert.deepEqual(failed, []);
  assert.ok(ran > 0);
}

async function tryMutant(copy: Copy, { what: _what, testFile, killedBy, ...mutation }: Mutant): Promise<void> {
  const { failed, ran } = await copy.run(testFile, killedBy, mutation);

  assert.ok(ran > 0, `no test is named ${killedBy}`);
  // By its name: a mutant that does not even load has shown nothing.
  const noticed = failed.filter((name) => name === stopped || new RegExp(killedBy).test(name));
  assert.ok(noticed.length > 0, `none of ${ran} tests named ${killedBy} went red; red were: ${failed.join(", ")}`);
}
