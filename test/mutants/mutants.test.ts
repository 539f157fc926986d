/** Guards are broken on purpose, one at a time: the test named beside each must go red. */
import assert from "node:assert/strict";
import { availableParallelism } from "node:os";
import test from "node:test";
import { copyProject, type Copy, stopped } from "../support/mutant.ts";
import { auditMutants } from "./audit.ts";
import { backupMutants } from "./backup.ts";
import { bearersMutants } from "./bearers.ts";
import { credentialsMutants } from "./credentials.ts";
import { deviceMutants } from "./devices.ts";
import { dispatchMutants } from "./dispatch.ts";
import { latticeMutants } from "./lattice.ts";
import type { Mutant } from "./mutant-list.ts";
import { pairingMutants } from "./pairing.ts";
import { placesMutants } from "./places.ts";
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
  ...credentialsMutants,
  ...placesMutants,
  ...backupMutants,
  ...bearersMutants,
  ...runMutants,
];
const atOnce = Math.min(availableParallelism(), 8);

test("every broken guard is noticed by the test that stands for it", { timeout: 600_000 }, async (t) => {
  await using stack = new AsyncDisposableStack();
  const waiting = [...mutants];
  const tryWaiting = async (copy: Copy): Promise<void> => {
    for (let mutant = waiting.shift(); mutant !== undefined; mutant = waiting.shift()) await tryMutant(copy, mutant);
  };
  const tryMutant = (copy: Copy, { what, testFile, killedBy, ...mutation }: Mutant): Promise<void> =>
    t.test(what, async () => {
      const { failed, ran } = await copy.run(testFile, killedBy, mutation);

      assert.ok(ran > 0, `no test is named ${killedBy}`);
      // By its name: a mutant that does not even load has shown nothing.
      const noticed = failed.filter((name) => name === stopped || new RegExp(killedBy).test(name));
      assert.ok(noticed.length > 0, `none of ${ran} tests named ${killedBy} went red; red were: ${failed.join(", ")}`);
    });

  const copies = await Promise.all(Array.from({ length: atOnce }, async () => stack.use(await copyProject())));
  await Promise.all(copies.map(tryWaiting));
});

test("without a change all of them are green", { timeout: 600_000 }, async () => {
  await using copy = await copyProject();

  for (const [testFile, some] of Map.groupBy(mutants, (mutant) => mutant.testFile)) {
    const { failed, ran } = await copy.run(testFile, some.map((mutant) => mutant.killedBy).join("|"));

    assert.deepEqual(failed, []);
    assert.ok(ran > 0);
  }
});
