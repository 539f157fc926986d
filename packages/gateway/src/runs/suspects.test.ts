import assert from "node:assert/strict";
import test from "node:test";
import type { Claim } from "../store/store.ts";
import { Suspects } from "./suspects.ts";

function claims(runId: string, isSuspect: boolean): readonly Claim[] {
  return [{ run: { runId }, isSuspect } as unknown as Claim];
}

/** One that took this suspect. */
function carrying(runId: string): Suspects {
  const suspects = new Suspects();
  suspects.ask();
  suspects.answered(claims(runId, true));
  return suspects;
}

test("a second suspect is taken when the first has got on, and not when another run has", () => {
  const suspects = carrying("a");

  const before = suspects.ask();
  const passed = [suspects.passed("other"), suspects.passed("a"), suspects.passed("a")];

  assert.deepEqual([before, suspects.ask()], [false, true]);
  assert.deepEqual(passed, [false, true, false]);
});

test("a suspect whose step goes on and on holds up the next no longer than it is waited for", () => {
  const suspects = carrying("a");

  suspects.waitNoLonger();

  assert.equal(suspects.ask(), true);
});

test("while a claim that may take a suspect is under way no other may; one that took none, or failed, leaves it to the next", () => {
  const suspects = new Suspects();
  const first = suspects.ask();

  const meanwhile = [suspects.ask()];
  suspects.waitNoLonger();
  meanwhile.push(suspects.ask());
  suspects.answered(claims("other", false));
  const second = suspects.ask();
  suspects.answered([]);

  assert.deepEqual([first, meanwhile, second, suspects.ask()], [true, [false, false], true, true]);
});
