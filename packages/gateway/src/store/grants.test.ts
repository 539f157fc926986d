import assert from "node:assert/strict";
import test from "node:test";
import { ceilingOf, elevationLeftMs, timeLeftMs, tokenCeilingOf } from "./grants.ts";
import type { Grant } from "./device-store.ts";

const grant: Grant = {
  role: "operator",
  scopes: ["operator.write"],
  tokenScopes: ["operator.read"],
  elevation: { scopes: ["operator.admin"], untilMs: 1_000, seenMs: 400 },
  generation: 1,
  createdAtMs: 0,
  rotatedAtMs: undefined,
  revokedAtMs: undefined,
};

const moments: readonly (readonly [what: string, nowMs: number, leftMs: number | undefined])[] = [
  ["while it lasts", 600, 400],
  ["in its last millisecond", 999, 1],
  ["at its end", 1_000, undefined],
  ["with the clock before the last note", 0, 600],
];

for (const [what, nowMs, leftMs] of moments) {
  test(`${what}, an elevation has ${leftMs ?? "nothing"} left`, () => {
    assert.equal(elevationLeftMs(grant, nowMs), leftMs);
    assert.deepEqual(ceilingOf(grant, nowMs).includes("operator.admin"), leftMs !== undefined);
    assert.deepEqual(tokenCeilingOf(grant, nowMs).includes("operator.admin"), leftMs !== undefined);
  });
}

test("only scopes beyond the approved ones have an end", () => {
  assert.equal(timeLeftMs(grant, ["operator.read"], 600), undefined);
  assert.equal(timeLeftMs(grant, ["operator.read", "operator.pairing"], 600), 400);
  assert.equal(timeLeftMs({ ...grant, elevation: undefined }, ["operator.admin"], 600), 0);
});

test("without an elevation a grant covers what is approved, and its token what it was rotated to", () => {
  const plain = { ...grant, elevation: undefined };

  assert.deepEqual([ceilingOf(plain, 0), tokenCeilingOf(plain, 0)], [["operator.write"], ["operator.read"]]);
});
