/** What a run holds and sees: of whoever started it, of its session, of the agents above it. */
import assert from "node:assert/strict";
import test from "node:test";
import { type Limits, nothing, unlimited } from "./lattice.ts";
import {
  attenuateScopes,
  authorityOf,
  authorityOfChild,
  authorityToStart,
  devicePrincipal,
  lifecyclePrincipal,
  mayActAs,
  type RunAuthority,
  runIdOf,
  runPrincipal,
  secretPrincipal,
  sessionViewOf,
  treeOf,
  withinSession,
} from "./principal.ts";

const plain: RunAuthority = { scopes: ["operator.write"], owner: false, depth: 0 };
const run = (authority: RunAuthority) =>
  runPrincipal({ runId: "run_1", sessionKey: "agent:helper:x", rootSessionKey: "agent:main:main", authority });
const fewTools: Limits = { ...unlimited, tools: ["ls", "read"] };
const fewTurns: Limits = { ...unlimited, budget: { ...unlimited.budget, turns: 3 } };

test("a run is the owner's when its row says so and it stands at the top, and only then", () => {
  const owners = [{ ...plain, owner: true }, { ...plain, owner: true, depth: 1 }, plain].map((authority) => run(authority).owner);

  assert.deepEqual(owners, [true, false, false]);
});

test("a run's principal is named by its run, and no other's is", () => {
  assert.equal(runIdOf(run(plain).id), "run_1");
  assert.deepEqual(
    [secretPrincipal([]), devicePrincipal({ deviceId: "run:", role: "operator", scopes: [] })].map(({ id }) => runIdOf(id)),
    [undefined, undefined],
  );
});

test("a device is let in by its own token unless it is said otherwise", () => {
  const device = { deviceId: "d", role: "operator", scopes: [] } as const;
  const letIn = [device, { ...device, viaDeviceToken: true }, { ...device, viaDeviceToken: false }];

  assert.deepEqual(
    letIn.map((one) => devicePrincipal(one).viaDeviceToken),
    [true, true, false],
  );
});

test("a node acts as a node; a person as themselves and through a run; a run as a run; a capability as nobody", () => {
  assert.deepEqual(
    [
      devicePrincipal({ deviceId: "d", role: "node", scopes: [] }),
      devicePrincipal({ deviceId: "d", role: "operator", scopes: [] }),
      secretPrincipal([]),
      run(plain),
      lifecyclePrincipal("k"),
    ].map((principal) => authorityOf(principal).roles),
    [["node"], ["operator", "run"], ["operator", "run"], ["run"], nothing.roles],
  );
});

test("only scopes that are held are handed on", () => {
  assert.deepEqual(attenuateScopes(secretPrincipal(["operator.write"]), ["operator.read", "operator.pairing"]), ["operator.read"]);
});

test("a run lies within its session's limits, and is under the policies of both, named once and in order", () => {
  assert.deepEqual(withinSession(plain, {}), plain);
  assert.deepEqual(withinSession(plain, { limits: fewTools }), { ...plain, limits: fewTools });
  assert.deepEqual(withinSession({ ...plain, limits: fewTurns }, { limits: fewTools }), {
    ...plain,
    limits: { ...fewTools, budget: fewTurns.budget },
  });
  assert.deepEqual(withinSession({ ...plain, policyOf: ["b"] }, { policyOf: ["b", "a"] }), { ...plain, policyOf: ["a", "b"] });
  assert.deepEqual(withinSession({ ...plain, policyOf: ["b"] }, {}), { ...plain, policyOf: ["b"] });
});

test("a child is under its parent's policies and those it is started with; a run that a run starts, under that one's", () => {
  const parent = run({ ...plain, policyOf: ["b"] });

  assert.deepEqual(authorityOfChild(parent, {}, ["a"]), { ...plain, depth: 1, policyOf: ["a", "b"] });
  assert.deepEqual(authorityOfChild(parent), { ...plain, depth: 1, policyOf: ["b"] });
  assert.deepEqual(authorityOfChild(secretPrincipal(["operator.write"])), { ...plain, depth: 1 });
  assert.deepEqual(authorityToStart(parent), { ...plain, policyOf: ["b"] });
});

const acting: readonly (readonly [what: string, have: RunAuthority, need: RunAuthority, may: boolean])[] = [
  ["one like it", plain, plain, true],
  ["one of less", plain, { ...plain, scopes: ["operator.read"] }, true],
  ["one of more", { ...plain, scopes: ["operator.read"] }, plain, false],
  ["the owner's", plain, { ...plain, owner: true }, false],
  ["one further up", { ...plain, depth: 1 }, plain, false],
  ["one that is limited, without a limit of its own", plain, { ...plain, limits: fewTools }, true],
  ["one without a limit, when it has one", { ...plain, limits: fewTools }, plain, false],
  ["one under a policy it is not under", plain, { ...plain, policyOf: ["a"] }, true],
  ["one that is not under its policy", { ...plain, policyOf: ["a"] }, plain, false],
  ["one under another policy", { ...plain, policyOf: ["a"] }, { ...plain, policyOf: ["b"] }, false],
  ["one under one of its two policies", { ...plain, policyOf: ["a", "b"] }, { ...plain, policyOf: ["a"] }, false],
  ["one under the same policies and more", { ...plain, policyOf: ["a"] }, { ...plain, policyOf: ["a", "b"] }, true],
];

for (const [what, have, need, may] of acting) {
  test(`a run may ${may ? "" : "not "}act as ${what}`, () => {
    assert.equal(mayActAs(have, need), may);
  });
}

test("a run sees its own session, its tree, its agent's or all, as is configured; people see all", () => {
  const top = runPrincipal({ runId: "run_1", sessionKey: "agent:main:main", rootSessionKey: "agent:main:main", authority: plain });
  const views = (["self", "tree", "agent", "all"] as const).map((visibility) => sessionViewOf(run(plain), visibility));

  assert.deepEqual(views, [{ key: "agent:helper:x" }, { around: "agent:helper:x" }, { agentId: "helper" }, {}]);
  assert.deepEqual(sessionViewOf(top, "tree"), { rootKey: "agent:main:main" });
  for (const person of [secretPrincipal([]), lifecyclePrincipal("k")]) assert.deepEqual(sessionViewOf(person, "self"), {});
  assert.deepEqual([treeOf(run(plain)), treeOf(secretPrincipal([]))], ["agent:main:main", undefined]);
});

test("a run in a session that is no agent's sees no agent's sessions", () => {
  const odd = runPrincipal({ runId: "run_1", sessionKey: "odd", rootSessionKey: "odd", authority: plain });

  assert.deepEqual(sessionViewOf(odd, "agent"), { agentId: "odd" });
});
