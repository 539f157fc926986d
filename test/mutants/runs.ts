import { type Mutant, tests } from "./mutant-list.ts";

const deliveries = { file: "packages/gateway/src/store/sql/deliveries.ts", testFile: tests.runViews };

export const runMutants: readonly Mutant[] = [
  {
    what: "a run finds runs of other trees",
    file: "packages/gateway/src/store/sql/run-views.ts",
    from: "(rootKey !== undefined && found.root_session_key !== rootKey)",
    to: "Boolean(0)",
    testFile: tests.runViews,
    killedBy: "a run of another tree is neither",
  },
  {
    what: "a run lists runs of other trees",
    file: "packages/gateway/src/store/sql/run-views.ts",
    from: '.$if(rootKey !== undefined, (query) => query.where("root_session_key", "=", rootKey ?? ""))',
    to: "",
    testFile: tests.runViews,
    killedBy: "a run of another tree is neither",
  },
  {
    ...deliveries,
    what: "what carried a result before is not fenced",
    from: 'sql.run(closeRow, { inboxId: newest.inbox_id, as: "superseded", by, atMs: newest.consumed_at_ms ?? nowMs });',
    to: "",
    killedBy: "delivered again in a turn of its own, exactly once",
  },
  {
    ...deliveries,
    what: "a result that a turn will read is delivered again",
    from: "newest === undefined || !isOpenToDecision(status)",
    to: "newest === undefined || (Boolean(0) && isOpenToDecision(status))",
    killedBy: "one that is under way or has counted can not",
  },
  {
    what: "a cancelled announcement is made again",
    file: "packages/gateway/src/store/sql/cancelling.ts",
    from: 'if (run.trigger === "announce" && run.started_at_ms === null) takeUnread(sql, run);',
    to: "",
    testFile: tests.runViews,
    killedBy: "what a cancelled announcement was to read",
  },
];
