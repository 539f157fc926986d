import { type Mutant, tests } from "./mutant-list.ts";

export const auditMutants: readonly Mutant[] = [
  {
    what: "an approval leaves no row in the audit",
    file: "packages/gateway/src/store/sql/audit.ts",
    from: 'const last = await tx.selectFrom("audit")',
    to: 'if (entry.kind === "device.approved") return;\n  const last = await tx.selectFrom("audit")',
    testFile: tests.audit,
    killedBy: "^an approval that cannot be written down",
  },
  {
    what: "a row of the audit may be changed",
    file: "packages/gateway/src/store/sql/audit-reads.ts",
    from: 'return row.hash === hashOf(row) ? undefined : "changed-row";',
    to: 'return hashOf(row) === "" ? "changed-row" : undefined;',
    testFile: tests.audit,
    killedBy: "^a changed actor breaks",
  },
  {
    what: "whoever is refused waits for the count",
    file: "packages/gateway/src/dispatch/dispatch.ts",
    from: "deps.countRefusal({",
    to: "await deps.countRefusal({",
    testFile: tests.audit,
    killedBy: "^a count that never ends",
  },
];
