import assert from "node:assert/strict";
import test from "node:test";
import { LetGo } from "./let-go.ts";

const claimOf = (runId: string, epoch = 1) => ({ run: { runId }, epoch });

test("what could not be written is given back once, with the claim under which that was", () => {
  const letGo = new LetGo();
  letGo.add(claimOf("a", 3), 1_000);

  const given = letGo.pending;
  letGo.given(given);

  assert.deepEqual(given, [{ runId: "a", epoch: 3, notBeforeMs: 31_000 }]);
  assert.deepEqual(letGo.pending, []);
});

test("what is let go while a claim is under way is given back with the next", () => {
  const letGo = new LetGo();
  letGo.add(claimOf("a"), 0);
  const given = letGo.pending;
  letGo.add(claimOf("a", 2), 100_000);
  letGo.add(claimOf("b"), 0);

  letGo.given(given);

  assert.deepEqual(
    letGo.pending.map(({ runId, epoch }) => [runId, epoch]),
    [
      ["a", 2],
      ["b", 1],
    ],
  );
});

test("a run that cannot be written again and again is tried after longer and longer, five minutes at most; one that got on soon", () => {
  const letGo = new LetGo();

  const pauses = Array.from({ length: 6 }, (_, epoch) => {
    letGo.add(claimOf("a", epoch), 0);
    return letGo.pending[0]?.notBeforeMs;
  });
  letGo.passed("a");
  letGo.add(claimOf("a", 7), 0);

  assert.deepEqual(pauses, [30_000, 60_000, 120_000, 240_000, 300_000, 300_000]);
  assert.equal(letGo.pending[0]?.notBeforeMs, 30_000);
});
