import { type Mutant, tests } from "./mutant-list.ts";

const firing = "packages/gateway/src/store/sql/cron-firing.ts";
const inSimulation = { testFile: tests.simulation, killedBy: "in every world" };

/** Jobs: when they start, and with what authority. */
export const cronMutants: readonly Mutant[] = [
  {
    what: "a time of a job comes to pass as often as somebody looks",
    file: firing,
    from: "job.enabled === 1 && job.next_run_at_ms === dueAtMs && dueAtMs <= nowMs",
    to: "job.enabled === 1 && dueAtMs <= nowMs",
    testFile: tests.cron,
    killedBy: "a time comes to pass once",
  },
  {
    what: "a job keeps what its device held once",
    file: firing,
    from: "authority: withinScopes(authority, held),",
    to: "authority: { ...authority, depth: held.length < 0 ? 1 : 0 },",
    testFile: tests.cron,
    killedBy: "a job's run holds no more",
  },
  {
    what: "a device that may not start runs starts them by a job",
    file: firing,
    from: 'if (!covers(scopes, "operator.write")) return',
    to: 'if (!covers(scopes, "operator.read")) return',
    testFile: tests.cron,
    killedBy: "a job of a device that may not start runs",
  },
  {
    what: "the jobs of a removed device wait until it is paired again",
    file: "packages/gateway/src/store/sql/device-management.ts",
    from: 'await disableJobs(tx, deviceId, actor, nowMs);\n  await appendAudit(tx, { kind: "device.removed"',
    to: 'await appendAudit(tx, { kind: "device.removed"',
    testFile: tests.cron,
    killedBy: "the jobs of a device are disabled .* removed",
  },
  {
    what: "a job runs as the owner who wrote it",
    file: "packages/gateway/src/principal/principal.ts",
    from: "{ ...launch, tools, owner: false, depth: depthOf(creator) }",
    to: "{ ...launch, tools, owner: true, depth: depthOf(creator) }",
    testFile: "packages/gateway/src/principal/principal.test.ts",
    killedBy: "^a job of the owner",
  },
  {
    what: "a process that slept starts a job for a time that came to pass meanwhile",
    file: firing,
    from: "job.enabled === 1 && job.next_run_at_ms === dueAtMs && dueAtMs <= nowMs",
    to: "job.enabled === 1 && dueAtMs <= nowMs",
    ...inSimulation,
  },
  {
    what: "a change gives a job a time back that came to pass meanwhile",
    file: "packages/gateway/src/store/sql/cron.ts",
    from: 'if (isChanged || (before.enabled === 1) !== seen.enabled) return "changed";',
    to: "",
    ...inSimulation,
  },
  {
    what: "a job starts again for every time that was missed",
    file: "packages/gateway/src/cron/scheduler.ts",
    from: "const next = await nextAfter(facts, this.#deps.clock.now());",
    to: "const next = await nextAfter(facts, this.#deps.clock.now() - 30_000);",
    ...inSimulation,
  },
];
