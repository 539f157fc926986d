/** What a broken guard is: one fragment of one file replaced, and the test that must go red. */
import type { Mutation } from "../support/mutant.ts";

export interface Mutant extends Mutation {
  readonly what: string;
  readonly testFile: string;
  /** A pattern of test names in `testFile`. */
  readonly killedBy: string;
}

export const tests = {
  attachmentNames: "packages/gateway/src/kit/attachments.test.ts",
  attachments: "test/attachments.test.ts",
  audit: "test/audit.test.ts",
  config: "test/config.test.ts",
  configChange: "packages/gateway/src/kit/config-change.test.ts",
  configRedaction: "packages/gateway/src/kit/config-redaction.test.ts",
  importing: "test/import.test.ts",
  claims: "test/contract/claims.test.ts",
  clock: "test/clock-moved-back.test.ts",
  approvals: "packages/gateway/src/identity/pairing.test.ts",
  cleanUp: "test/contract/clean-up.test.ts",
  cron: "test/contract/cron.test.ts",
  departed: "test/departed-runs.test.ts",
  grant: "packages/gateway/src/identity/grant.test.ts",
  lattice: "packages/gateway/src/principal/lattice.test.ts",
  listener: "packages/gateway/src/connection/listener.test.ts",
  leases: "test/leases.test.ts",
  model: "test/authority/model.test.ts",
  lives: "test/authority/store.test.ts",
  processes: "test/processes.test.ts",
  runProcesses: "packages/gateway/src/runs/run-processes.test.ts",
  stallWatch: "packages/gateway/src/runs/stall-watch.test.ts",
  suspects: "packages/gateway/src/runs/suspects.test.ts",
  takeovers: "test/contract/takeovers.test.ts",
  queueModes: "test/contract/queue-modes.test.ts",
  notes: "test/contract/notes.test.ts",
  pace: "packages/gateway/src/kit/pace.test.ts",
  places: "packages/gateway/src/connection/places.test.ts",
  policy: "test/authority/policy.test.ts",
  requests: "test/invariants/requests.test.ts",
  spawnBudgets: "test/contract/budgets.test.ts",
  spawnLimits: "test/contract/spawn-limits.test.ts",
  spawnTerms: "test/contract/spawn-terms.test.ts",
  injection: "packages/gateway/src/models/completion-injection.test.ts",
  spawning: "test/invariants/spawning.test.ts",
  principal: "packages/gateway/src/principal/principal.test.ts",
  simulation: "test/simulation/simulation.test.ts",
  toolPolicy: "packages/gateway/src/tools/policy.test.ts",
  commands: "test/commands.test.ts",
  sessionMessages: "test/session-messages.test.ts",
  subagents: "test/subagents-control.test.ts",
  runViews: "test/contract/run-views.test.ts",
  stored: "test/authority/stored-states.test.ts",
  store: "test/contract/store.test.ts",
  nodes: "test/nodes.test.ts",
  nodeWork: "test/contract/node-work.test.ts",
  invocations: "packages/gateway/src/nodes/invocations.test.ts",
  execApprovals: "test/approvals.test.ts",
  approvalStore: "test/contract/approvals.test.ts",
  approvalAsk: "packages/gateway/src/approvals/approval-ask.test.ts",
  writeQueue: "packages/gateway/src/store/sql/write-queue.test.ts",
  approvers: "packages/gateway/src/principal/approvers.test.ts",
} as const;
