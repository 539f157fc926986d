import assert from "node:assert/strict";
import test from "node:test";
import type { HeldProgram, Programs } from "../kit/process-group.ts";
import type { ProcessStore } from "../store/process-store.ts";
import { RunProcesses } from "./run-processes.ts";

/** A machine on which a program is there when the test says so. */
function slowMachine() {
  const start = Promise.withResolvers<HeldProgram>();
  const outcome = Promise.withResolvers<Awaited<HeldProgram["outcome"]>>();
  const happened: string[] = [];
  const programs: Programs = {
    start: () => start.promise,
    isStill: () => true,
    stop(pid) {
      happened.push(`stopped ${pid}`);
      outcome.resolve({ exitCode: undefined, signal: "SIGTERM", stdout: "", stderr: "", isCut: false });
      return Promise.resolve(true);
    },
  };
  const held: HeldProgram = {
    pid: 7,
    startedAt: "then",
    begin: () => void happened.push("begun"),
    outcome: outcome.promise,
    ended: outcome.promise.then(() => undefined),
    letGo: () => Promise.resolve(),
  };
  return { programs, happened, arrive: () => start.resolve(held) };
}

const forgetful: ProcessStore = { note: () => Promise.resolve(), forget: () => Promise.resolve(), list: () => Promise.resolve([]) };

function open(programs: Programs, store: ProcessStore = forgetful) {
  const turn = new AbortController();
  const processes = new RunProcesses({ store, programs, runId: "run_1", cwd: "/", env: {}, signal: turn.signal });
  return { turn, processes };
}

test("a program that was being started when its turn ended never begins, and whoever stops the turn waits for its end", async () => {
  const { programs, happened, arrive } = slowMachine();
  const { turn, processes } = open(programs);
  const run = processes.run({ file: "make" }).catch((error: unknown) => error);

  turn.abort("over");
  const stopped = processes.stop().then(() => happened.push("answered"));
  arrive();
  await stopped;

  assert.deepEqual(happened, ["stopped 7", "answered"]);
  assert.equal(await run, "over");
});

test("a program that has ended is ended, whether or not that can be written down", async () => {
  const { programs, happened, arrive } = slowMachine();
  const store = { ...forgetful, forget: () => Promise.reject(new Error("the disk is full")) };
  const { turn, processes } = open(programs, store);
  const run = processes.run({ file: "make" }).catch((error: unknown) => error);
  arrive();

  turn.abort("over");
  await run;
  await processes.stop();

  assert.deepEqual([happened, processes.survivors], [["stopped 7"], []]);
});
