import assert from "node:assert/strict";
import test from "node:test";
import { covers, coversAll, meet, normaliseScopes, scopeNames } from "./scopes.ts";

/** Of each scope, all that it covers beside itself. */
const covered: Readonly<Record<(typeof scopeNames)[number], readonly string[]>> = {
  "operator.admin": scopeNames,
  "operator.approvals": [],
  "operator.pairing": [],
  "operator.questions": [],
  "operator.read": ["operator.sessions.read"],
  "operator.sessions.read": [],
  "operator.sessions.write": ["operator.sessions.read"],
  "operator.talk": [],
  "operator.talk.secrets": [],
  "operator.write": ["operator.read", "operator.talk", "operator.sessions.read", "operator.sessions.write"],
};

for (const have of scopeNames) {
  test(`${have} covers itself, what it implies, and nothing else`, () => {
    for (const need of scopeNames) assert.equal(covers([have], need), need === have || covered[have].includes(need), need);
  });
}

test("a scope nobody knows is covered by itself, and by admin when it is an operator's", () => {
  assert.deepEqual(
    ["operator.future", "node.future", "operator", "__proto__", "constructor", ""].map((need) => covers(["operator.admin"], need)),
    [true, false, false, false, false, false],
  );
  for (const scope of ["operator.future", "__proto__", "constructor", ""]) {
    assert.equal(covers([scope], scope), true);
    assert.equal(covers([scope], "operator.read"), false);
  }
});

test("whoever holds several covers what any of them does, and whoever holds none covers nothing", () => {
  assert.equal(covers(["operator.talk", "operator.read"], "operator.sessions.read"), true);
  assert.equal(covers([], "operator.read"), false);
});

test("all are covered only when each is; none needed is covered by none held", () => {
  assert.equal(coversAll(["operator.write"], ["operator.read", "operator.talk"]), true);
  assert.equal(coversAll(["operator.write"], ["operator.read", "operator.pairing"]), false);
  assert.equal(coversAll([], []), true);
  assert.equal(coversAll([], ["operator.read"]), false);
});

const meetings: readonly (readonly [a: readonly string[], b: readonly string[], both: readonly string[]])[] = [
  [["operator.admin"], ["operator.write", "operator.pairing"], ["operator.pairing", "operator.write"]],
  [["operator.read"], ["operator.write"], ["operator.read"]],
  [["operator.talk"], ["operator.read"], []],
  [["operator.write"], [], []],
  [[], ["operator.write"], []],
  // Neither covers the other, and both imply a third.
  [["operator.read"], ["operator.sessions.write"], ["operator.sessions.read"]],
  [["operator.sessions.write"], ["operator.read"], ["operator.sessions.read"]],
  [
    ["operator.read", "operator.talk"],
    ["operator.sessions.write", "operator.talk"],
    ["operator.sessions.read", "operator.talk"],
  ],
  [["operator.write"], ["operator.read", "operator.sessions.write"], ["operator.read", "operator.sessions.write"]],
  [
    ["__proto__", "x"],
    ["x", "__proto__"],
    ["__proto__", "x"],
  ],
];

for (const [a, b, both] of meetings) {
  test(`[${a.join(" ")}] and [${b.join(" ")}] have [${both.join(" ")}] in common`, () => {
    assert.deepEqual(meet(a, b), both);
  });
}

test("a list in normal form is trimmed and sorted, without blanks and without what is in it twice", () => {
  assert.deepEqual(normaliseScopes([" b", "a ", "", "  ", "b", "a"]), ["a", "b"]);
});
