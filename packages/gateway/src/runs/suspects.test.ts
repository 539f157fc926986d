import assert from "node:assert/strict";
import test from "node:test";
import type { Claim, Claimed } from "../store/store.ts";
import { Suspects } from "./suspects.ts";

function claimed(runId: string, isSuspect: boolean): Claimed {
  return { claims: [{ run: { runId }, isSuspect } as unknown as Claim], givenUp: [] };
}

/** Asks once; answers whether a suspect might be taken. */
async function ask(suspects: Suspects, found: Claimed = claimed("other", false)): Promise<boolean> {
  let might = false;
  await suspects.claim((takesSuspect) => {
    might = takesSuspect;
    return Promise.resolve(found);
  });
  return might;
}

test("a second suspect is taken when the first has got on, and not when another run has", async () => {
  const suspects = new Suspects();

  const asked = [await ask(suspects), await ask(suspects, claimed("a", true)), await ask(suspects)];
  const passed = [suspects.passed("other"), suspects.passed("a"), suspects.passed("a")];

  assert.deepEqual(asked, [true, true, false]);
  assert.deepEqual(passed, [false, true, false]);
  assert.equal(await ask(suspects), true);
});

test("a suspect whose step goes on and on holds up the next no longer than it is waited for", async () => {
  const suspects = new Suspects();
  await ask(suspects, claimed("a", true));

  suspects.waitNoLonger();

  assert.equal(await ask(suspects), true);
});

test("while a claim that may take a suspect is under way no other may; one that failed took none", async () => {
  const suspects = new Suspects();
  const first = Promise.withResolvers<Claimed>();
  const claiming = suspects.claim(() => first.promise);

  const meanwhile = await ask(suspects);
  suspects.waitNoLonger();
  const still = await ask(suspects);
  first.reject(new Error("disk full"));
  await assert.rejects(claiming, /disk full/);

  assert.deepEqual([meanwhile, still, await ask(suspects)], [false, false, true]);
});
