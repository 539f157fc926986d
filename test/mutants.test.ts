/** Guards are broken on purpose, one at a time: the test named beside each must go red. */
import assert from "node:assert/strict";
import test from "node:test";
import { copyProject, type Mutation } from "./support/mutant.ts";

interface Mutant extends Mutation {
  readonly what: string;
  /** A pattern of test names in `tests`. */
  readonly killedBy: string;
  /** Default: `test/invariants.test.ts`. */
  readonly tests?: string;
}

const principal = "packages/gateway/src/principal/principal.ts";
const turn = "packages/gateway/src/runs/turn.ts";

const mutants: readonly Mutant[] = [
  {
    what: "the launch of a child carries admin",
    file: principal,
    from: "return toRun(attenuate(authorityOf(parent), { ...launch, depth: depthOf(parent) + 1 }));",
    to: 'return { scopes: ["operator.admin"], owner: true, depth: depthOf(parent) + 1 };',
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
    from: 'return principal.kind === "lifecycle" ? principal',
    to: 'return principal.kind === "lifecycle" || scopes.length === 0 ? principal',
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
    from: 'parentRun?.status !== "running"',
    to: "parentRun === undefined",
    killedBy: "^11\\. a run that has ended",
  },
  {
    what: "a run carries its starter's whole authority",
    file: principal,
    from: "const launch = { ...unlimited, scopes: runScopes,",
    to: 'const launch = { ...unlimited, scopes: ["operator.admin"],',
    killedBy: "^11\\. a run inherits",
  },
  {
    what: "an approval leaves no row in the audit",
    file: "packages/gateway/src/store/sql/audit.ts",
    from: 'const last = await tx.selectFrom("audit")',
    to: 'if (entry.kind === "device.approved") return;\n  const last = await tx.selectFrom("audit")',
    killedBy: "^an approval that cannot be written down",
    tests: "test/audit.test.ts",
  },
  {
    what: "a row of the audit may be changed",
    file: "packages/gateway/src/store/sql/audit-reads.ts",
    from: 'return row.hash === hashOf(row) ? undefined : "changed-row";',
    to: 'return hashOf(row) === "" ? "changed-row" : undefined;',
    killedBy: "^a changed actor breaks",
    tests: "test/audit.test.ts",
  },
  {
    what: "whoever is refused waits for the count",
    file: "packages/gateway/src/dispatch/dispatch.ts",
    from: "deps.countRefusal({",
    to: "await deps.countRefusal({",
    killedBy: "^a count that never ends",
    tests: "test/audit.test.ts",
  },
];

const invariants = "test/invariants.test.ts";

test("every broken guard is noticed by the test that stands for it", { timeout: 600_000 }, async (t) => {
  await using copy = await copyProject();

  for (const { what, killedBy, tests = invariants, ...mutation } of mutants) {
    await t.test(what, async () => {
      const { failed, ran } = await copy.run(tests, killedBy, mutation);

      assert.ok(ran > 0, `no test is named ${killedBy}`);
      assert.ok(failed.length > 0, `all ${ran} tests named ${killedBy} stayed green`);
    });
  }

  await t.test("without a change all of them are green", async () => {
    for (const [file, own] of Map.groupBy(mutants, ({ tests = invariants }) => tests)) {
      const { failed, ran } = await copy.run(file, own.map((mutant) => mutant.killedBy).join("|"));

      assert.deepEqual(failed, [], file);
      assert.ok(ran >= new Set(own.map((mutant) => mutant.killedBy)).size, file);
    }
  });
});
