/** The engine broken on purpose: some seed must find each. */
import { type Mutant, tests } from "./mutant-list.ts";

const inSimulation = { testFile: tests.simulation, killedBy: "in every world" };
const store = (name: string) => ({ ...inSimulation, file: `packages/gateway/src/store/sql/${name}.ts` });
const runs = (name: string) => ({ ...inSimulation, file: `packages/gateway/src/runs/${name}.ts` });

export const engineMutants: readonly Mutant[] = [
  {
    ...store("run-rows"),
    what: "the epoch of a worker's write is not compared",
    from: "return found?.epoch === epoch && found.status",
    to: "return found?.status",
  },
  {
    ...store("claiming"),
    what: "a claim does not move the epoch on",
    from: "const epoch = run.epoch + 1;",
    to: "const epoch = Math.max(1, run.epoch);",
  },
  {
    ...store("claiming"),
    what: "results are consumed after the turn that reads them began",
    from: "for (const one of unread) sql.run(consume, { inboxId: one.inbox_id, runId: run.run_id, nowMs });",
    to: "for (const one of unread) setTimeout(() => { try { sql.run(consume, { inboxId: one.inbox_id, runId: run.run_id, nowMs }); } catch {} }, 5);",
  },
  {
    ...store("claiming"),
    what: "a session may have two running runs",
    from: "return others.some((other) => other.run_id !== run.run_id ||",
    to: "return others.some((other) => other.run_id === run.run_id &&",
  },
  {
    ...runs("worker"),
    what: "a worker takes over what it carries itself when it is late",
    from: "this.#active.get(runId)?.claim.epoch === epoch;",
    to: "this.#active.get(runId)?.claim.epoch === -epoch;",
  },
  {
    ...store("candidates"),
    what: "one child more than may run at once",
    from: "return running >= children.most;",
    to: "return running > children.most;",
  },
  {
    ...store("admission"),
    what: "one child more than a session may have",
    from: "?.n ?? 0) >= limits.maxChildrenPerAgent;",
    to: "?.n ?? 0) > limits.maxChildrenPerAgent;",
  },
  {
    ...store("admission"),
    what: "half of the keys are forgotten",
    from: "sql.first(byIdempotencyKey, { startedBy, askedIn, key });",
    to: 'sql.first(byIdempotencyKey, { startedBy, askedIn, key: /[13579]\\.$/.test(key) ? "" : key });',
  },
  {
    ...store("cancelling"),
    what: "a stopped session is told what became of what was spawned for it",
    from: 'stopped.sessions.has(run.parent_session_key ?? "")',
    to: "Boolean(0)",
    testFile: tests.store,
    killedBy: "stopping a session stops what",
  },
  {
    ...store("cancelling"),
    what: "a reply that is whole is kept a second time by a cancel",
    from: 'partial?.epoch !== row.epoch || last === "reply" || last === "repair"',
    to: "partial?.epoch !== row.epoch || last === undefined",
  },
  {
    ...store("ending"),
    what: "a run that ends leaves the results nobody waits for",
    from: "  ensureAnnounceRun(sql, ids, run.session_key, nowMs);\n}",
    to: "}",
  },
  {
    ...store("write-queue"),
    what: "a write is acknowledged before it is committed",
    from: '        sql.exec("commit");\n      } catch (error) {\n        rollBack(sql);',
    to: '        for (const tell of settle.splice(0)) tell();\n        sql.exec("commit");\n      } catch (error) {\n        rollBack(sql);',
  },
  {
    ...runs("worker"),
    what: "only hints lead to work",
    from: "    this.#pump();\n    this.#watchDeadlines();\n    this.#setTimer",
    to: "    this.#setTimer",
    testFile: "test/lost-hints.test.ts",
    killedBy: "work that no hint tells of",
  },
  {
    ...runs("worker"),
    what: "a process carries a run on twice",
    from: "    this.#giveUp(runId);\n    for (const absorbed",
    to: "    for (const absorbed",
  },
  {
    ...runs("worker"),
    what: "a gateway that cannot give up its leases does not stop",
    from: '      this.#deps.log.error({ err: error }, "leases could not be given up; the next start takes them");',
    to: "      throw error;",
  },
  {
    ...runs("tool-call"),
    what: "a tool that may not run twice leaves no intent",
    from: "if (hasBegun) return unknownEffect(call);",
    to: "",
  },
  {
    ...runs("run-events"),
    what: "something is told of a run after its end",
    from: "    this.#isOver = true;\n",
    to: "",
    testFile: "packages/gateway/src/runs/run-events.test.ts",
    killedBy: "nothing is told after the end",
  },
  {
    what: "whoever held a run writes on when a process has started since",
    file: "packages/gateway/src/store/sql/runs.ts",
    from: '({ lease_until_ms: 0, epoch: build("epoch", "+", 1) })',
    to: '({ lease_until_ms: 0, epoch: build("epoch", "+", 0) })',
    testFile: tests.store,
    killedBy: "whoever held a run when all leases were ended",
  },
];
