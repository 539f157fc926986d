import { type Mutant, tests } from "./mutant-list.ts";

const gateway = "packages/gateway/src";

export const spawnMutants: readonly Mutant[] = [
  {
    what: "what a run was limited to is not asked",
    file: `${gateway}/tools/policy.ts`,
    from: 'limitedTo === "all" || limitedTo.includes(name)',
    to: 'limitedTo === "all" || name !== ""',
    testFile: tests.toolPolicy,
    killedBy: "a run with",
  },
  {
    what: "the policies of the runs above are forgotten",
    file: `${gateway}/tools/agent-tools.ts`,
    from: "policies: [...policyOf, agentId].map",
    to: "policies: [...policyOf.slice(policyOf.length), agentId].map",
    testFile: tests.spawnLimits,
    killedBy: "a child is never more than its parent",
  },
  {
    what: "whoever resumes a session is free of its limits",
    file: `${gateway}/principal/principal.ts`,
    from: "meetLimits(limits, session.limits ?? unlimited)",
    to: "meetLimits(limits, unlimited)",
    testFile: tests.spawnTerms,
    killedBy: "a later run in a child's session",
  },
  {
    what: "a child's own time replaces its parent's deadline",
    file: `${gateway}/store/sql/claiming.ts`,
    from: "const atMs = Math.min(run.deadline_at_ms ?? Infinity, nowMs + own);",
    to: "const atMs = own === Infinity ? (run.deadline_at_ms ?? Infinity) : nowMs + own;",
    testFile: tests.spawnTerms,
    killedBy: "a child ends no later",
  },
  {
    what: "a call is reserved in the nearest budget alone",
    file: `${gateway}/store/sql/budgets.ts`,
    from: "for (const { budget_id } of chain) sql.run(hold,",
    to: "for (const { budget_id } of chain.slice(0, 1)) sql.run(hold,",
    testFile: tests.spawnBudgets,
    killedBy: "a call is reserved over all budgets",
  },
  {
    what: "a child is given what its parent was given, not what that has left",
    file: `${gateway}/store/sql/admission.ts`,
    from: "budget: { ...unlimited.budget, tokens, usd, turns } });",
    to: "budget: unlimited.budget });",
    testFile: tests.spawnBudgets,
    killedBy: "a child gets what its parent has left",
  },
  {
    what: "a worker that lost its run reserves for it",
    file: `${gateway}/store/sql/budgets.ts`,
    from: "const run = findHeld(sql, runId, epoch);",
    to: "const run = epoch < 0 ? findHeld(sql, runId, epoch) : findRun(sql, runId);",
    testFile: tests.spawnBudgets,
    killedBy: "a worker whose run was taken over",
  },
  {
    what: "lines of a result are not marked",
    file: `${gateway}/models/completion-text.ts`,
    from: 'return escape(text).replaceAll(/^/gm, "> ");',
    to: "return escape(text);",
    testFile: tests.injection,
    killedBy: "payload 2. alone, as text",
  },
  {
    what: "tags in a result are not escaped",
    file: `${gateway}/models/completion-text.ts`,
    from: '.replaceAll("<", "&lt;")',
    to: '.replaceAll("<", "<")',
    testFile: tests.injection,
    killedBy: "payload [0-4] alone, as text",
  },
];
