import { type Mutant, tests } from "./mutant-list.ts";

const programs = { file: "packages/gateway/src/runs/run-processes.ts", testFile: tests.processes };

export const programMutants: readonly Mutant[] = [
  {
    what: "a message steers a run that may do more than its sender",
    file: "packages/gateway/src/store/sql/absorbing.ts",
    from: "return queued.filter((one) => mayActAs(toRunRecord(one).authority, authority));",
    to: "return authority === undefined ? [] : queued;",
    testFile: tests.queueModes,
    killedBy: "a message steers no run that may do more",
  },
  {
    what: "a person's note is put to a run that may do more",
    file: "packages/gateway/src/store/sql/notes.ts",
    from: "runIdOf(note.started_by) !== undefined || mayActAs(toRunRecord(note).authority, authority));",
    to: "runIdOf(note.started_by) !== undefined || mayActAs(authority, authority));",
    testFile: tests.notes,
    killedBy: "put to no run that may do more than that person",
  },
  {
    what: "a stop does not wait for programs of a claim that was lost",
    file: "packages/gateway/src/runs/worker.ts",
    from: "const turns = [...this.#turns].filter(",
    to: "const turns = [...this.#active.values()].filter(",
    testFile: tests.processes,
    killedBy: "lost its claim while the machine slept",
  },
  {
    what: "a turn's other tools go on when it is over",
    file: "packages/gateway/src/runs/turn.ts",
    from: 'this.#host.interrupt("over");',
    to: "",
    testFile: tests.processes,
    killedBy: "what one tool answered stops the others",
  },
  {
    ...programs,
    what: "a stop looks past a program that is being started",
    from: "await Promise.allSettled(this.#starts);",
    to: "",
    testFile: tests.runProcesses,
    killedBy: "being started when its turn ended",
  },
  {
    what: "a program has the gateway's environment",
    file: "packages/gateway/src/compose.ts",
    from: "return { programEnv: Object.fromEntries(kept),",
    to: "return { programEnv: { ...Object.fromEntries(kept), ...env } as Record<string, string>,",
    testFile: tests.processes,
    killedBy: "none of the gateway's environment",
  },
  {
    ...programs,
    what: "what a program left running goes on",
    from: "await this.#end(pid);\n    await letGo();",
    to: "await letGo();",
    killedBy: "what a program leaves running",
  },
  {
    ...programs,
    what: "whatever has the number of a run's process is ended",
    from: "const isGone = !programs.isStill(pid, startedAt) ||",
    to: "const isGone = startedAt === undefined || programs.isStill(pid, undefined) ||",
    killedBy: "nothing that has its number by chance",
  },
  {
    ...programs,
    what: "what a killed gateway left running goes on",
    from: "const isGone = !programs.isStill(pid, startedAt) || (await programs.stop(pid, patience));",
    to: "const isGone = !programs.isStill(pid, startedAt) || programs !== undefined;",
    killedBy: "the next start ends",
  },
];
