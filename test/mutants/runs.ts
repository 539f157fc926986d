import { type Mutant, tests } from "./mutant-list.ts";

const deliveries = { file: "packages/gateway/src/store/sql/deliveries.ts", testFile: tests.runViews };

const control = { file: "packages/gateway/src/subagents/control.ts", testFile: tests.subagents };

const messages = { testFile: tests.sessionMessages };

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
  {
    ...control,
    what: "a run acts on everything in its tree",
    from: 'deps.store.runViews.listBelow(sessionKey, { depth: "all", limit: reach })',
    to: "deps.store.runViews.list({ rootKey: treeOf(principal), limit: reach })",
    killedBy: "a run that would stop or await its sibling, itself",
  },
  {
    ...control,
    what: "a run acts for a session that it names",
    from: 'throw new ProtocolError("NOT_ALLOWED", "not allowed: sessionKey (a run acts for its own session)");',
    to: "return toSessionKey(asked, defaultAgentId);",
    killedBy: "a run that would stop or await its sibling, itself",
  },
  {
    ...control,
    what: "a run hears of sessions of other trees",
    from: "const view = { rootKey: treeOf(principal) };",
    to: "const view = { rootKey: treeOf(principal) === undefined ? undefined : undefined };",
    killedBy: "a run that would stop or await its sibling, itself",
  },
  {
    what: "a sub-agent gets tools that are not for sub-agents",
    file: "packages/gateway/src/tools/policy.ts",
    from: "(!notForChildren || depth === 0)",
    to: "(!notForChildren || depth >= 0)",
    testFile: tests.toolPolicy,
    killedBy: "a leaf has the file tools",
  },
  {
    what: "the session of a result that nobody has read is archived",
    file: "packages/gateway/src/store/sql/sessions.ts",
    from: '.where((build) => build.not(build.exists(unsettledResultsOf(build))))\n    .returning("session_key")',
    to: '.returning("session_key")',
    testFile: tests.runViews,
    killedBy: "the session of a result that reached nobody",
  },
  {
    ...messages,
    what: "sessions answer each other for ever",
    file: "packages/gateway/src/subagents/session-messages.ts",
    from: "if (hops < maxHops) continue;",
    to: "if (hops <= maxHops * 100) continue;",
    killedBy: "with visibility all a run speaks beyond its tree",
  },
  {
    ...messages,
    what: "a run speaks to every session",
    file: "packages/gateway/src/handlers/messages.ts",
    from: "deps.store.sessions.find(key, sessionViewOf(principal, deps.sessionRules.visibility))",
    to: "deps.store.sessions.find(key)",
    killedBy: "a run speaks to a session of its tree",
  },
  {
    ...messages,
    what: "what a run says to another session reads as a person's",
    file: "packages/gateway/src/handlers/messages.ts",
    from: 'principal.kind === "run" ? quoteMessage',
    to: "Boolean(0) ? quoteMessage",
    killedBy: "a run speaks to a session of its tree",
  },
  {
    ...messages,
    what: "a run that sees its own session sees its tree",
    file: "packages/gateway/src/principal/principal.ts",
    from: "self: { key },",
    to: "self: { rootKey },",
    killedBy: "with visibility self",
  },
  {
    what: "a command acts as the gateway's owner",
    file: "packages/gateway/src/handlers/commands.ts",
    from: "const caller = deps.callerFor(principal);",
    to: 'const caller = deps.callerFor({ ...principal, scopes: ["operator.admin"] } as typeof principal);',
    testFile: tests.commands,
    killedBy: "a command asks for no more",
  },
  {
    what: "text that only begins like a command is one",
    file: "packages/gateway/src/commands/parse.ts",
    from: "const simple = Object.hasOwn(aliases, whole) ? aliases[whole] : undefined;",
    to: 'const simple = aliases[whole.split(" ")[0] ?? ""];',
    testFile: tests.commands,
    killedBy: "goes to the model unchanged",
  },
];
