import { type Mutant, tests } from "./mutant-list.ts";

export const configMutants: readonly Mutant[] = [
  {
    what: "what stands at a mistyped key is shown",
    file: "packages/gateway/src/kit/config-redaction.ts",
    from: 'schema === undefined || schema.sensitive === true || schema.type === "object"',
    to: 'schema?.sensitive === true || schema?.type === "object"',
    testFile: tests.configRedaction,
    killedBy: "^what stands at a key that the schema does not have",
  },
  {
    what: "a secret can be written to where it is shown",
    file: "packages/gateway/src/kit/config-redaction.ts",
    from: "known !== sentinel && isSecret(known, at)",
    to: "isSecret(known, at)",
    testFile: tests.configRedaction,
    killedBy: "^a sentinel stands for the secret",
  },
  {
    what: "a stored key follows its provider to a new address",
    file: "packages/gateway/src/kit/config-change.ts",
    from: 'typeof given !== "string" || given === sentinel',
    to: "given === sentinel",
    testFile: tests.configChange,
    killedBy: "another address, the key as it was",
  },
  {
    what: "a method points an agent at the gateway's own files",
    file: "packages/gateway/src/handlers/config.ts",
    from: "folder === valueAt(before, path) || (await isSeenByAgents(folder))",
    to: "folder === valueAt(before, path) || (await isSeenByAgents(folder)) || true",
    testFile: tests.config,
    killedBy: "^no method points an agent",
  },
  {
    what: "whoever saw another file changes this one",
    file: "packages/gateway/src/handlers/config.ts",
    from: "baseHash !== undefined && baseHash !== hash",
    to: "baseHash === undefined && baseHash !== hash",
    testFile: tests.config,
    killedBy: "^whoever did not see the file",
  },
];
