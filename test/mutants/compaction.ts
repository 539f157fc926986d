import type { Mutant } from "./mutant-list.ts";

const text = "packages/gateway/src/models/summary-text.ts";

export const compactionMutants: readonly Mutant[] = [
  {
    what: "a summary can close its quotation",
    file: text,
    from: "${escapeQuoted(summary)}",
    to: "${summary}",
    testFile: "packages/gateway/src/runs/compaction.test.ts",
    killedBy: "^a summary is quoted",
  },
  {
    what: "a compaction hides what the user last said",
    file: "packages/gateway/src/runs/compaction.ts",
    from: "pinned: kept.some(isOrder) ?",
    to: "pinned: !kept.some(isOrder) ?",
    testFile: "packages/gateway/src/runs/compaction.test.ts",
    killedBy: "^what the user last said",
  },
];
