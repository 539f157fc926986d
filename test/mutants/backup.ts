import type { Mutant } from "./mutant-list.ts";

const restoring = "packages/gateway/src/store/sql/restoring.ts";
const backup = "test/backup.test.ts";

export const backupMutants: readonly Mutant[] = [
  {
    what: "a manifest may name a file of a sub-agent anywhere",
    file: "packages/gateway/src/backup/manifest.ts",
    from: "problemWithName(file) === undefined && others.length === 0",
    to: 'file !== ""',
    testFile: backup,
    killedBy: "in a place of its own choosing",
  },
  {
    what: "a backup carries the key of the device tokens",
    file: "packages/gateway/src/backup/manifest.ts",
    from: '"gateway-key.pem", "secret",',
    to: '"gateway-key.pem", "token-key", "secret",',
    testFile: backup,
    killedBy: "^no device token of before the restore",
  },
  {
    what: "a restore revives removed devices",
    file: restoring,
    from: ".filter((id) => !paired.has(id))",
    to: ".filter((id) => paired.size < 0 && !paired.has(id))",
    testFile: backup,
    killedBy: "^restored over the state that knows better",
  },
  {
    what: "a restore gives back what was taken from a device",
    file: restoring,
    from: "const scopes = isNarrowed ? meet(then.scopes, left.scopes) : normaliseScopes(then.scopes);",
    to: "const scopes = normaliseScopes(then.scopes);",
    testFile: backup,
    killedBy: "^a device that was let in for less",
  },
  {
    what: "a restore revives unused invitations",
    file: restoring,
    from: 'tx.deleteFrom("setup_codes").where("used_at_ms", "is", null)',
    to: 'tx.deleteFrom("setup_codes").where("used_at_ms", "<", 0)',
    testFile: backup,
    killedBy: "^what could be used once",
  },
  {
    what: "a restore takes a database with triggers",
    file: "packages/gateway/src/store/restoring.ts",
    from: "if (foreign !== undefined) throw",
    to: "if (foreign === undefined) throw",
    testFile: backup,
    killedBy: "^a trigger that would grant",
  },
];
