import { type Mutant, tests } from "./mutant-list.ts";

const dispatch = { file: "packages/gateway/src/dispatch/dispatch.ts", testFile: tests.policy };

export const dispatchMutants: readonly Mutant[] = [
  {
    ...dispatch,
    what: "a method of a fixed scope is not authorised",
    from: "if (!isKnownByParams) assertPermitted",
    to: "if (isKnownByParams && Boolean(0)) assertPermitted",
    killedBy: "in process, the local secret",
  },
  {
    ...dispatch,
    what: "a method whose scope depends on parameters is not authorised",
    from: "if (isKnownByParams) assertPermitted",
    to: "if (isKnownByParams && Boolean(0)) assertPermitted",
    killedBy: "in process, the local secret",
  },
  {
    ...dispatch,
    what: "the scope is looked up before the parameters are parsed",
    from: "parsed.ok ? parsed.params : undefined));",
    to: "undefined));",
    killedBy: "in process, the local secret",
  },
  {
    ...dispatch,
    what: "a caller of the wrong role is not refused",
    from: 'if (permission.kind === "wrong-caller") throw',
    to: 'if (permission.kind === "wrong-caller") return;\n  if (Boolean(0)) throw',
    killedBy: "in process, a run",
  },
  {
    what: "a caller in process cannot narrow itself",
    file: "packages/gateway/src/dispatch/caller.ts",
    from: "options.scopes === undefined ? principal : narrowed(principal, options.scopes)",
    to: "principal",
    testFile: tests.invariants,
    killedBy: "^9\\.",
  },
  {
    what: "an owner-only tool is looked up without the policy at execution",
    file: "packages/gateway/src/runs/turn.ts",
    from: "const tool = this.#tools().find((one) => one.name === call.name);",
    to: "const tool = this.#deps.tools.find((one) => one.name === call.name);",
    testFile: tests.invariants,
    killedBy: "^7\\. an owner-only",
  },
  {
    what: "a spawn fails and still makes its calls",
    file: "packages/gateway/src/subagents/spawn.ts",
    from: 'if (outcome.kind !== "accepted" && outcome.kind !== "replayed") throw toRefusal(outcome, deps.limits);',
    to: 'if (outcome.kind !== "replayed") throw toRefusal({ kind: "parent-ended" }, deps.limits);',
    testFile: tests.invariants,
    killedBy: "^3\\.",
  },
  {
    what: "a run that has ended may spawn",
    file: "packages/gateway/src/store/sql/admission.ts",
    from: 'parentRun?.status !== "running"',
    to: "parentRun === undefined",
    testFile: tests.invariants,
    killedBy: "^11\\. a run that has ended",
  },
  {
    what: "a run that starts another further up climbs",
    file: "packages/gateway/src/store/sql/admission.ts",
    from: "Math.max(run.authority.depth, session.depth)",
    to: "session.depth",
    testFile: tests.store,
    killedBy: "whoever stands deep",
  },
  {
    what: "a run that spawns further up climbs",
    file: "packages/gateway/src/store/sql/admission.ts",
    from: "Math.max(found?.depth ?? 0, parentRun?.depth ?? 0) + 1",
    to: "(found?.depth ?? 0) + 1",
    testFile: tests.store,
    killedBy: "whoever stands deep",
  },
];
