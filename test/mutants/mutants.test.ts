/** Guards are broken on purpose, one at a time: the test named beside each must go red. */
import assert from "node:assert/strict";
import { availableParallelism } from "node:os";
import test from "node:test";
import { copyProject, type Copy, stopped } from "../support/mutant.ts";
import { auditMutants } from "./audit.ts";
import { backupMutants } from "./backup.ts";
import { bearersMutants } from "./bearers.ts";
import { compactionMutants } from "./compaction.ts";
import { credentialsMutants } from "./credentials.ts";
import { deviceMutants } from "./devices.ts";
import { dispatchMutants } from "./dispatch.ts";
import { engineMutants } from "./engine.ts";
import { latticeMutants } from "./lattice.ts";
import { spawnMutants } from "./spawn.ts";
import type { Mutant } from "./mutant-list.ts";
import { pairingMutants } from "./pairing.ts";
import { placesMutants } from "./places.ts";
import { programMutants } from "./programs.ts";
import { principalMutants } from "./principal.ts";
import { runMutants } from "./runs.ts";
import { setupMutants } from "./setup.ts";

const mutants: readonly Mutant[] = [
  ...principalMutants,
  ...latticeMutants,
  ...pairingMutants,
  ...dispatchMutants,
  ...auditMutants,
  ...deviceMutants,
  ...setupMutants,
  ...spawnMutants,
  ...credentialsMutants,
  ...engineMutants,
  ...placesMutants,
  ...backupMutants,
  ...compactionMutants,
  ...bearersMutants,
  ...runMutants,
  ...programMutants,
];
const atOnce = Math.min(availableParallelism(), 8);

/** Guards that stand are tried like broken ones: the longest of all first. */
const standing = [...Map.groupBy(mutants, (mutant) => mutant.testFile)].map(([testFile, some]) => ({
  testFile,
  killedBy: some.map((mutant) => mutant.killedBy).join("|"),
}));

test("every broken guard is noticed by the test that stands for it, and none that stands", { timeout: 600_000 }, async (t) => {
  await using stack = new AsyncDisposableStack();
  const copies = await Promise.all(Array.from({ length: atOnce }, async () => stack.use(await copyProject())));
  const waiting = [
    ...standing.map((one) => (copy: Copy) => t.test(`without a change ${one.testFile} is green`, () => tryStanding(copy, one))),
    ...mutants.map((mutant) => (copy: Copy) => t.test(mutant.what, () => tryMutant(copy, mutant))),
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
