import assert from "node:assert/strict";
import test from "node:test";
import { scopeNames } from "@portreeve/protocol";
import fc from "fast-check";
import { attenuate, type Authority, type Bound, covers, meet, nothing, unlimited } from "./lattice.ts";

const seed = Number(process.env["PORTREEVE_SEED"] ?? Date.now() % 2_147_483_647);
const many = { seed, numRuns: Number(process.env["PORTREEVE_RUNS"] ?? 3_000) };

const scopes = fc.uniqueArray(
  fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom<string>(...scopeNames) },
    { weight: 1, arbitrary: fc.constantFrom("operator.bogus", "node.x", "__proto__", "constructor") },
  ),
  { maxLength: 5 },
);
const names = <N extends string>(...all: readonly N[]) => fc.oneof(fc.constant("all" as const), fc.subarray([...all]));
const bound: fc.Arbitrary<Bound> = fc.oneof(fc.constant("unlimited" as const), fc.constantFrom(0, 1, 7, 1e9, -1, NaN, Infinity));
const authority: fc.Arbitrary<Authority> = fc.record({
  scopes,
  roles: names("operator", "node", "run"),
  owner: fc.boolean(),
  tools: names("read", "ls", "sessions_spawn", "toString"),
  sandbox: fc.constantFrom("unconfined", "confined"),
  budget: fc.record({ tokens: bound, usd: bound, turns: bound, wallMs: bound }),
  depth: fc.oneof(fc.constant("none" as const), fc.constantFrom(0, 0, 1, 2, -1, NaN)),
  deadline: bound,
});
const ask = fc.record(
  { scopes, roles: names("operator", "run"), owner: fc.boolean(), tools: names("read", "ls"), depth: fc.constantFrom(0, 1, 2) },
  { requiredKeys: [] },
);
/** Something that lies below another by construction, so that the laws about order are not about nothing. */
const below = (top: Authority) => authority.map((other) => meet(top, other));

const same = (a: Authority, b: Authority): boolean => covers(a, b) && covers(b, a);
const everything: Authority = { ...unlimited, scopes: ["operator.admin"], roles: "all", owner: true, depth: 0 };

const laws: Readonly<Record<string, fc.IRawProperty<unknown>>> = {
  "covers is reflexive": fc.property(authority, (a) => covers(a, a)),
  "covers is transitive": fc.property(
    authority.chain((a) => fc.tuple(fc.constant(a), below(a))).chain(([a, b]) => fc.tuple(fc.constant(a), fc.constant(b), below(b))),
    ([a, b, c]) => covers(a, b) && covers(b, c) && covers(a, c),
  ),
  "covers is transitive among what was not made for it": fc.property(
    authority,
    authority,
    authority,
    (a, b, c) => !covers(a, b) || !covers(b, c) || covers(a, c),
  ),
  "two that cover each other are worth the same to every third": fc.property(
    authority.chain((a) => fc.tuple(fc.constant(a), fc.constant(meet(a, a)), authority)),
    ([a, b, c]) => same(a, b) && covers(c, a) === covers(c, b) && covers(a, c) === covers(b, c),
  ),
  "normal forms that cover each other are equal, but for scopes that others imply": fc.property(authority, (a) => {
    const { scopes: once, ...rest } = meet(a, a);
    const { scopes: twice, ...again } = meet(meet(a, a), meet(a, a));
    assert.deepEqual([again, twice], [rest, once]);
  }),
  "meet is below both": fc.property(authority, authority, (a, b) => covers(a, meet(a, b)) && covers(b, meet(a, b))),
  "meet is the greatest of what is below both": fc.property(
    authority,
    authority,
    authority,
    (a, b, c) => !(covers(a, c) && covers(b, c)) || covers(meet(a, b), c),
  ),
  "meet with itself and with what is below changes nothing": fc.property(
    authority.chain((a) => fc.tuple(fc.constant(a), below(a))),
    ([a, b]) => same(meet(a, a), a) && same(meet(a, b), b),
  ),
  "meet is commutative": fc.property(authority, authority, (a, b) => assert.deepEqual(meet(a, b), meet(b, a))),
  "meet is associative": fc.property(authority, authority, authority, (a, b, c) => same(meet(meet(a, b), c), meet(a, meet(b, c)))),
  "covers and meet say the same": fc.property(authority, authority, (a, b) => covers(a, b) === same(meet(a, b), b)),
  "nothing is below everything": fc.property(authority, (a) => covers(a, nothing) && same(meet(a, nothing), nothing)),
  "attenuate is below the parent": fc.property(authority, ask, (parent, wanted) => covers(parent, attenuate(parent, wanted))),
  "attenuate is below the ask, and what was not asked for is not given": fc.property(authority, ask, (parent, wanted) =>
    covers({ ...nothing, ...wanted }, attenuate(parent, wanted)),
  ),
  "attenuate is monotone in the parent": fc.property(
    authority.chain((a) => fc.tuple(fc.constant(a), below(a))),
    ask,
    ([a, b], wanted) => covers(attenuate(a, wanted), attenuate(b, wanted)),
  ),
  "attenuate is monotone in the ask": fc.property(
    authority,
    authority.chain((a) => fc.tuple(fc.constant(a), below(a))),
    (parent, [a, b]) => covers(attenuate(parent, a), attenuate(parent, b)),
  ),
  "what is owner at a depth below 0 is nobody's owner": fc.property(
    authority,
    authority,
    (a, b) => !meet(a, b).owner || meet(a, b).depth === 0,
  ),
  "what comes out is well formed, whatever goes in": fc.property(authority, authority, (a, b) => {
    const { budget, deadline, depth } = meet(a, b);
    const isBound = (value: Bound): boolean => value === "unlimited" || value >= 0;
    return [...Object.values(budget), deadline].every(isBound) && (depth === "none" || depth >= 0);
  }),
};

for (const [law, property] of Object.entries(laws)) {
  test(law, async (t) => {
    t.diagnostic(`PORTREEVE_SEED=${seed}`);
    await fc.assert(property, many);
  });
}

test("an empty ask is an empty grant, also of all there is", () => {
  assert.deepEqual(attenuate(everything, {}), nothing);
});

test("no scope in common leaves the one that lies beneath both", () => {
  const read = { ...everything, scopes: ["operator.read"] };

  assert.deepEqual(meet(read, { ...everything, scopes: ["operator.sessions.write"] }).scopes, ["operator.sessions.read"]);
});

const weaker: readonly [dimension: string, less: Partial<Authority>][] = [
  ["scopes", { scopes: ["operator.write"] }],
  ["no scopes", { scopes: [] }],
  ["roles", { roles: ["run"] }],
  ["owner", { owner: false }],
  ["tools", { tools: ["read"] }],
  ["no tools", { tools: [] }],
  ["sandbox", { sandbox: "confined" }],
  ["tokens", { budget: { ...unlimited.budget, tokens: 1 } }],
  ["money", { budget: { ...unlimited.budget, usd: 0 } }],
  ["turns", { budget: { ...unlimited.budget, turns: 1 } }],
  ["wall time", { budget: { ...unlimited.budget, wallMs: 1 } }],
  ["depth", { depth: 1 }],
  ["no depth", { depth: "none" }],
  ["deadline", { deadline: 1 }],
];

for (const [dimension, less] of weaker) {
  test(`less in ${dimension} alone is less, and is what both have in common`, () => {
    const lesser = { ...everything, ...less };

    assert.equal(covers(everything, lesser), true);
    assert.equal(covers(lesser, everything), false);
    assert.deepEqual(meet(everything, lesser), { ...lesser, ...meet(lesser, lesser) });
    assert.equal(same(meet(lesser, everything), lesser), true);
  });
}

test("whoever stands deeper covers nobody further up, when neither is an owner", () => {
  const at = (depth: Authority["depth"]): Authority => ({ ...everything, owner: false, depth });

  assert.deepEqual(
    [covers(at(0), at(1)), covers(at(1), at(1)), covers(at(2), at(1)), covers(at("none"), at(1)), covers(at(1), at("none"))],
    [true, true, false, false, true],
  );
});

const bounds: readonly (readonly [a: Bound, b: Bound, both: Bound])[] = [
  [5, 3, 3],
  ["unlimited", 3, 3],
  ["unlimited", "unlimited", "unlimited"],
  // A number that JSON does not have is none: what is stored must say the same when it is read.
  [Infinity, "unlimited", "unlimited"],
  [NaN, 3, 0],
  [-1, 3, 0],
];

for (const [a, b, both] of bounds) {
  test(`of the bounds ${a} and ${b} both leave ${both}`, () => {
    const within = (deadline: Bound): Authority => ({ ...everything, deadline, budget: { ...unlimited.budget, turns: deadline } });

    const { deadline, budget } = meet(within(a), within(b));

    assert.deepEqual([deadline, budget.turns], [both, both]);
  });
}

test("names come out sorted and once, in whatever order they went in", () => {
  const named = meet({ ...everything, tools: ["write", "read", "write"] }, everything).tools;

  assert.deepEqual(named, ["read", "write"]);
});
