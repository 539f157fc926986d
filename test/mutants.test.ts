/** Guards are broken on purpose, one at a time: the test named beside each must go red. */
import assert from "node:assert/strict";
import test from "node:test";
import { copyProject, type Mutation } from "./support/mutant.ts";

interface Mutant extends Mutation {
  readonly what: string;
  /** A pattern of test names in `test/invariants.test.ts`, or in the file `within`. */
  readonly killedBy: string;
  readonly within?: string;
}

const principal = "packages/gateway/src/principal/principal.ts";
const invariants = "test/invariants.test.ts";
const attemptsTest = "packages/gateway/src/identity/attempts.test.ts";
const credentialsTest = "test/credentials.test.ts";
const tlsTest = "test/tls.test.ts";
const turn = "packages/gateway/src/runs/turn.ts";

const mutants: readonly Mutant[] = [
  {
    what: "the launch of a child carries admin",
    file: principal,
    from: "return { scopes: attenuate(parent, runScopes), owner: false, depth: parentDepth + 1 };",
    to: 'return { scopes: ["operator.admin"], owner: true, depth: parentDepth + 1 };',
    killedBy: "^6\\.",
  },
  {
    what: "a child counts as the owner's run",
    file: principal,
    from: "owner: owner && depth === 0,",
    to: "owner: true,",
    killedBy: "^7\\.",
  },
  {
    what: "an owner-only tool is looked up without the policy at execution",
    file: turn,
    from: "const tool = this.#tools().find((one) => one.name === call.name);",
    to: "const tool = this.#deps.tools.find((one) => one.name === call.name);",
    killedBy: "^7\\. an owner-only",
  },
  {
    what: "lifecycle work is done with write scope instead of the capability",
    file: principal,
    from: 'if (principal.kind === "lifecycle") {\n    const isItsOwn',
    to: 'if (principal.kind === "lifecycle" && Boolean(0)) {\n    const isItsOwn',
    killedBy: "^8\\.",
  },
  {
    what: "the lifecycle capability reaches every session",
    file: principal,
    from: 'return typeof params === "object" && params !== null && "key" in params && params.key === key;',
    to: 'return typeof params === "object" && params !== null && key !== "";',
    killedBy: "^8\\.",
  },
  {
    what: "a spawn fails and still makes its calls",
    file: "packages/gateway/src/subagents/spawn.ts",
    from: 'if (outcome.kind !== "accepted" && outcome.kind !== "replayed") throw toRefusal(outcome, deps.limits);',
    to: 'if (outcome.kind !== "replayed") throw toRefusal({ kind: "parent-ended" }, deps.limits);',
    killedBy: "^3\\.",
  },
  {
    what: "an empty set of scopes means everything the caller has",
    file: principal,
    from: 'return principal.kind === "lifecycle" ? principal : { ...principal, scopes: attenuate(principal, scopes) };',
    to: 'return principal.kind === "lifecycle" || scopes.length === 0 ? principal : { ...principal, scopes: attenuate(principal, scopes) };',
    killedBy: "^9\\.",
  },
  {
    what: "a missing scope is not refused",
    file: principal,
    from: 'return covers(principal.scopes, needed) ? { kind: "permitted" } : { kind: "missing-scope", scope: needed };',
    to: 'return covers(principal.scopes, needed) || true ? { kind: "permitted" } : { kind: "missing-scope", scope: needed };',
    killedBy: "^10\\.",
  },
  {
    what: "a run that has ended may spawn",
    file: "packages/gateway/src/store/sql/admission.ts",
    from: 'parentRun?.status !== "running") return { kind: "parent-ended" };',
    to: 'parentRun === undefined) return { kind: "parent-ended" };',
    killedBy: "^11\\. a run that has ended",
  },
  {
    what: "a run carries its starter's whole authority",
    file: principal,
    from: "return { scopes: attenuate(starter, runScopes), owner: isPerson",
    to: "return { scopes: starter.scopes, owner: isPerson",
    killedBy: "^11\\. a run inherits",
  },
  {
    what: "failed attempts lock nobody out",
    file: "packages/gateway/src/store/sql/attempts.ts",
    from: "const isLocked = rule.lockMs > 0 && recent.length >= rule.maxFailures;",
    to: "const isLocked = rule.lockMs > 0 && recent.length < 0;",
    killedBy: "^the eleventh wrong secret",
    within: attemptsTest,
  },
  {
    what: "any device token passes its peer's lock",
    file: "packages/gateway/src/identity/attempts.ts",
    from: 'if (secret === "right" || offer.token === "right") return',
    to: 'if (secret === "right" || offer.token !== "absent") return',
    killedBy: "^a paired device with its right token",
    within: attemptsTest,
  },
  {
    what: "mode none is served beyond loopback",
    file: "packages/gateway/src/kit/exposure.ts",
    from: 'if (mode === "none" && !isLoopbackBind(bind)) {',
    to: 'if (mode === "none" && bind === "") {',
    killedBy: "^mode none beyond loopback",
    within: credentialsTest,
  },
  {
    what: "a page is paired silently in mode none",
    file: "packages/gateway/src/identity/grant.ts",
    from: '(method === "none" && !peer.hasOrigin)',
    to: 'method === "none"',
    killedBy: "^mode none pairs a program",
    within: credentialsTest,
  },
  {
    what: "the old secret is right after a rotation",
    file: "packages/gateway/src/identity/shared-secret.ts",
    from: "equals: (candidate) => file.look()?.equals(candidate) ?? false,",
    to: "equals: (candidate) => (file.look()?.equals(candidate) ?? false) || initial.equals(candidate),",
    killedBy: "^a secret file that changes",
    within: credentialsTest,
  },
  {
    what: "a connection on the old secret stays open",
    file: "packages/gateway/src/connection/connection.ts",
    from: 'if (this.principal?.kind === "secret") this.close(4001, "gateway auth changed");',
    to: 'if (this.principal?.kind === "run") this.close(4001, "gateway auth changed");',
    killedBy: "^a secret file that changes",
    within: credentialsTest,
  },
  {
    what: "plain text is served beyond loopback",
    file: "packages/gateway/src/kit/exposure.ts",
    from: 'if (tls.mode === "off" && !tls.insecurePlaintext && !isLoopbackBind(bind)) {',
    to: 'if (tls.mode === "off" && !tls.insecurePlaintext && bind === "") {',
    killedBy: "^plain text on",
    within: "packages/gateway/src/kit/exposure.test.ts",
  },
  {
    what: "a pinned client speaks to any certificate",
    file: "packages/client/src/pinned-socket.ts",
    from: "if (normalise(shown) !== normalise(fingerprint)) {",
    to: 'if (normalise(shown) === "") {',
    killedBy: "^another certificate than",
    within: tlsTest,
  },
];

test("every broken guard is noticed by the test that stands for it", { timeout: 600_000 }, async (t) => {
  await using copy = await copyProject();

  for (const { what, killedBy, within = invariants, ...mutation } of mutants) {
    await t.test(what, async () => {
      const { failed, ran } = await copy.run(within, killedBy, mutation);

      assert.ok(ran > 0, `no test is named ${killedBy}`);
      assert.ok(failed.length > 0, `all ${ran} tests named ${killedBy} stayed green`);
    });
  }

  for (const [file, its] of Map.groupBy(mutants, ({ within = invariants }) => within)) {
    await t.test(`without a change all of them are green in ${file}`, async () => {
      const { failed, ran } = await copy.run(file, its.map((mutant) => mutant.killedBy).join("|"));

      assert.deepEqual(failed, []);
      assert.ok(ran > 0);
    });
  }
});
