import assert from "node:assert/strict";
import test from "node:test";
import { method, type MethodDefinition } from "@portreeve/protocol";
import { z } from "zod";
import { covers, nothing } from "./lattice.ts";
import {
  authorityOf,
  authorityOfChild,
  authorityOfJob,
  authorityToStart,
  devicePrincipal,
  lifecyclePrincipal,
  narrowed,
  permits,
  type Principal,
  type RunAuthority,
  runPrincipal,
  secretPrincipal,
  withinScopes,
} from "./principal.ts";

const admin = ["operator.admin", "operator.pairing"];
const run = (authority: RunAuthority) =>
  runPrincipal({ runId: "run_1", sessionKey: "agent:main:main", rootSessionKey: "agent:main:main", authority });
const principals: Readonly<Record<string, Principal>> = {
  "a device with admin": devicePrincipal({ deviceId: "d", role: "operator", scopes: admin }),
  "a device that may read": devicePrincipal({ deviceId: "d", role: "operator", scopes: ["operator.read"] }),
  "a device that may do nothing": devicePrincipal({ deviceId: "d", role: "operator", scopes: [] }),
  "a node": devicePrincipal({ deviceId: "d", role: "node", scopes: [] }),
  "a node with a scope, which no node has": devicePrincipal({ deviceId: "d", role: "node", scopes: admin }),
  "the local secret": secretPrincipal(admin),
  "the owner's run": run({ scopes: ["operator.write"], owner: true, depth: 0 }),
  "a run that says it holds admin": run({ scopes: admin, owner: true, depth: 0 }),
  "a child": run({ scopes: ["operator.write"], owner: false, depth: 2 }),
  "a child that says it is the owner's": run({ scopes: ["operator.write"], owner: true, depth: 2 }),
  "a lifecycle capability": lifecyclePrincipal("agent:main:subagent:x"),
};

for (const [name, principal] of Object.entries(principals)) {
  test(`${name} hands on no more than it has: to a run it starts, to a child, to one call`, () => {
    const held = authorityOf(principal);

    const started = run(authorityToStart(principal));
    const child = run(authorityOfChild(principal));
    const call = narrowed(principal, ["operator.admin", "operator.read"]);

    for (const derived of [started, child]) {
      // The capability stands nowhere and is no run's: a run made of it may exist, and do nothing.
      if (held.depth === "none") assert.deepEqual(derived.scopes, []);
      else assert.equal(covers({ ...held, roles: "all" }, authorityOf(derived)), true);
      assert.ok(!derived.scopes.includes("operator.admin"));
    }
    assert.equal(covers(held, authorityOf(call)), true);
    assert.equal(child.owner, false);
    assert.equal(child.depth, held.depth === "none" ? 0 : held.depth + 1);
  });
}

const { tools, sandbox, budget, deadline } = nothing;
const noLimitsLeft = { tools, sandbox, budget, deadline };
const started: readonly [name: keyof typeof principals, authority: RunAuthority][] = [
  ["a device with admin", { scopes: ["operator.write"], owner: true, depth: 0 }],
  ["a device that may read", { scopes: ["operator.read"], owner: false, depth: 0 }],
  ["a device that may do nothing", { scopes: [], owner: false, depth: 0 }],
  ["a node with a scope, which no node has", { scopes: [], owner: false, depth: 0 }],
  ["the local secret", { scopes: ["operator.write"], owner: true, depth: 0 }],
  ["a child", { scopes: ["operator.write"], owner: false, depth: 2 }],
  ["a lifecycle capability", { scopes: [], owner: false, depth: 0, limits: noLimitsLeft }],
];

for (const [name, authority] of started) {
  test(`a run that ${name} starts holds ${JSON.stringify(authority)}`, () => {
    assert.deepEqual(authorityToStart(principals[name] ?? assert.fail()), authority);
  });
}

test("a job of the owner runs without the owner's tools, and with those it was given alone", () => {
  const job = authorityOfJob(principals["a device with admin"] ?? assert.fail(), ["ls"]);

  assert.deepEqual([job.scopes, job.owner, job.depth, job.limits?.tools], [["operator.write"], false, 0, ["ls"]]);
});

test("a run whose device holds less by now holds no more than that", () => {
  const job = authorityOfJob(principals["a device with admin"] ?? assert.fail());

  assert.deepEqual(job, { scopes: ["operator.write"], owner: false, depth: 0 });
  assert.deepEqual(withinScopes(job, ["operator.read"]).scopes, ["operator.read"]);
  assert.deepEqual(withinScopes(job, []).scopes, []);
});

test("a run that the owner's run starts is nobody's owner", () => {
  assert.equal(authorityToStart(run({ scopes: ["operator.write"], owner: true, depth: 0 })).owner, false);
});

const shape = { summary: "Synthetic.", kind: "query", params: () => z.strictObject({}), result: () => z.object({}) } as const;
const everybody = { ...shape, callers: ["operator", "node", "run"] } as const;
// @ts-expect-error: a method without a scope does not compile
const unclassified = method({ ...everybody });
const denied: readonly [what: string, definition: MethodDefinition, permitted: readonly string[]][] = [
  ["no scope", unclassified, []],
  ["an empty scope", method({ ...everybody, scope: "" }), []],
  ["nobody who may call it", method({ ...shape, scope: "none", callers: [] }), []],
  ["a scope that nobody knows", method({ ...everybody, scope: "operator.unheard-of" }), ["a device with admin", "the local secret"]],
  ["a scope that is no operator's", method({ ...everybody, scope: "unheard-of" }), []],
  [
    "a scope by parameters that answers none",
    // Past the type system, as a table that was loaded from elsewhere would be.
    method({ ...everybody, scope: { byParams: () => undefined as unknown as string, malformed: "", oneOf: [] } }),
    [],
  ],
];

for (const [what, definition, permitted] of denied) {
  test(`a method with ${what} is denied by default`, () => {
    const allowed = Object.entries(principals).filter(([name, principal]) => {
      if (name.endsWith("which no node has") || name.startsWith("a run that says")) return false;
      return [undefined, {}].some((params) => isPermitted(principal, definition, params));
    });

    assert.deepEqual(
      allowed.map(([name]) => name),
      permitted,
    );
  });
}

/** What throws is refused, too: dispatch never gets to the handler. */
function isPermitted(principal: Principal, definition: MethodDefinition, params: unknown): boolean {
  try {
    return permits(principal, "synthetic", definition, params).kind === "permitted";
  } catch {
    return false;
  }
}
