import { type Mutant, tests } from "./mutant-list.ts";

export const importingMutants: readonly Mutant[] = [
  {
    what: "a device whose key was refused here is paired by an import",
    file: "packages/gateway/src/store/sql/importing.ts",
    from: 'if (state.refused) return "refused";',
    to: "",
    testFile: tests.importing,
    killedBy: "^a device that was revoked there",
  },
  {
    what: "an imported job runs with nobody's word",
    file: "packages/gateway/src/importing/import.ts",
    from: "enabled: false,",
    to: "enabled: wasEnabled,",
    testFile: tests.importing,
    killedBy: "^jobs that this gateway cannot run",
  },
  {
    what: "an import follows a link",
    file: "packages/gateway/src/importing/source-folder.ts",
    from: "if (found.isSymbolicLink())",
    to: "if (found.isFIFO())",
    testFile: tests.importing,
    killedBy: "^a file that is broken, a link",
  },
];
