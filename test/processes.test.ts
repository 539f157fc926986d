/** Programs that tools start: they end with their run, whole groups at a time, also after a crash of the gateway. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync, watch } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import test from "node:test";
import { z } from "zod";
import { countProcesses } from "../bench/processes.ts";
import { ProcessGroups } from "../packages/gateway/src/kit/process-group.ts";
import { defineTool, type ProgramOutcome } from "../packages/gateway/src/tools/tool.ts";
import { createManualClock } from "./support/manual-clock.ts";
import { script, spawnStep } from "./support/script.ts";
import { startGateway, type TestGateway } from "./support/start-gateway.ts";

/** A tool that runs a line of shell, and tells what became of it. */
function shell() {
  const outcomes: ProgramOutcome[] = [];
  const tool = defineTool({
    name: "shell",
    description: "Runs a line.",
    parameters: z.strictObject({ line: z.string() }),
    repeat: "ask",
    async execute({ line }, { runProgram }) {
      const outcome = await runProgram({ file: "/bin/sh", args: ["-c", line] });
      outcomes.push(outcome);
      return { text: `${outcome.exitCode ?? outcome.signal}: ${outcome.stdout}` };
    },
  });
  return { tool, outcomes };
}

/** Resolves when `count` files whose names begin with `ready` are in the folder. */
function filesIn(folder: string, count: number): Promise<void> {
  return new Promise((resolve) => {
    const watcher = watch(folder, () => look());
    const look = (): void => {
      if (readdirSync(folder).filter((name) => name.startsWith("ready")).length < count) return;
      watcher.close();
      resolve();
    };
    look();
  });
}

const use = (line: string) => ({ call: [{ tool: "shell", args: { line } }] });

async function toolText(gw: TestGateway): Promise<string> {
  const { messages } = await gw.callerWith("operator.read").call("chat.history", { sessionKey: "main" });
  return messages.flatMap(({ content }) => content.flatMap((block) => (block.type === "toolResult" ? [block.text] : []))).join("\n");
}

test("a program has its output, its exit code, its workspace, and none of the gateway's environment but what every one needs", async () => {
  const { tool, outcomes } = shell();
  const env = { PATH: "/usr/bin:/bin", TZ: "UTC", PORTREEVE_TOKEN: "the-shared-secret", SOME_API_KEY: "sk-secret" };
  await using gw = await startGateway({ tools: [tool], env });
  const line = "pwd; env; echo no >&2; exit 3";

  await gw.callerWith("operator.write").call("agent", { message: script("go", use(line), { say: "x" }), idempotencyKey: "k" });

  const [outcome] = outcomes;
  const [folder, ...variables] = (outcome?.stdout ?? "").trim().split("\n");
  assert.deepEqual([outcome?.exitCode, outcome?.stderr, outcome?.isCut], [3, "no\n", false]);
  assert.equal(folder, gw.workspaceDir);
  assert.deepEqual(new Set(variables.map((one) => one.split("=")[0])), new Set(["PATH", "PWD", "TZ"]));
});

test("what a program leaves running in its group ends with its call, while the run goes on", async () => {
  const mark = "portreeve-left-31536001";
  const left: number[] = [];
  const count = defineTool({
    name: "count",
    description: "Counts.",
    parameters: z.strictObject({}),
    repeat: "safe",
    execute() {
      left.push(countProcesses(mark));
      return Promise.resolve({ text: "counted" });
    },
  });
  const { tool } = shell();
  await using gw = await startGateway({ tools: [tool, count] });
  const leaves = use(`sh -c 'sleep 31536001; : ${mark}' >/dev/null 2>&1 & echo started`);

  await gw.callerWith("operator.write").call("agent", {
    message: script("go", leaves, { call: [{ tool: "count", args: {} }] }, { say: "x" }),
    idempotencyKey: "k",
  });

  assert.match(await toolText(gw), /0: started/);
  assert.deepEqual(left, [0]);
});

/** Runs `then` beside a process that has left the group and holds the program's outputs; its id is in `$pid`. */
const besideOneThatLeft = (then: string): string =>
  `mkfifo f; setsid sh -c 'echo $$ > f; exec sleep 31536006' & read pid < f; rm f; ${then}`;

test("a program has its result once it has ended, whatever holds its outputs", { timeout: 30_000 }, async () => {
  const { tool, outcomes } = shell();
  await using gw = await startGateway({ tools: [tool] });
  const message = script("go", use("sleep 31536005 & echo x"), use(besideOneThatLeft("echo $pid")), { say: "x" });

  await gw.callerWith("operator.write").call("agent", { message, idempotencyKey: "k" });

  const [inGroup, left] = outcomes;
  process.kill(Number(left?.stdout), "SIGKILL");
  assert.deepEqual([inGroup?.exitCode, inGroup?.stdout, left?.exitCode], [0, "x\n", 0]);
});

test("a program that is stopped lets go of its tool, whatever holds its outputs", async () => {
  const { tool } = shell();
  await using gw = await startGateway({ tools: [tool] });
  const started = filesIn(gw.workspaceDir, 1);
  const message = script("go", use(besideOneThatLeft("echo > ready-$pid; while true; do sleep 1; done")));
  await gw.callerWith("operator.write").call("chat.send", { sessionKey: "main", message, idempotencyKey: "k" });
  await started;

  await gw.callerWith("operator.write").call("chat.abort", { sessionKey: "main" });

  const ready = readdirSync(gw.workspaceDir).find((name) => name.startsWith("ready-"));
  process.kill(Number(ready?.slice("ready-".length)), "SIGKILL");
  assert.deepEqual(
    gw.logLines.filter(({ message: said }) => said.includes("did not let go")),
    [],
  );
});

test("a stop waits also for the programs of a turn that lost its claim while the machine slept", async () => {
  const { tool } = shell();
  const clock = createManualClock();
  await using gw = await startGateway({ tools: [tool], clock });
  const mark = "portreeve-slept-31536009";
  const writer = gw.callerWith("operator.write");
  const started = filesIn(gw.workspaceDir, 1);
  const stubborn = use(`trap '' TERM; echo > ready-$$; while true; do sleep 1; : ${mark}; done`);
  await writer.call("chat.send", { sessionKey: "main", message: script("go", stubborn, { hang: true }), idempotencyKey: "k" });
  await started;

  // Nobody renewed the lease meanwhile, and another process took the run up.
  using db = new DatabaseSync(join(gw.stateDir, "portreeve.db"));
  db.exec("update runs set lease_owner = 'another', epoch = epoch + 1");
  clock.advance(10_000);
  const answer = await writer.call("chat.abort", { sessionKey: "main" });

  assert.equal(countProcesses(mark), 0);
  assert.deepEqual(answer.runIds, ["k"]);
});

test("a turn that cannot write what one tool answered stops the others", async () => {
  const stopped = Promise.withResolvers<unknown>();
  const parameters = z.strictObject({});
  let other: DatabaseSync | undefined;
  const wait = defineTool({
    name: "wait",
    description: "Waits to be stopped.",
    parameters,
    repeat: "safe",
    execute: (_args, { signal }) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener("abort", () => (stopped.resolve(signal.reason), reject(new Error("stopped"))), { once: true });
      }),
  });
  const lock = defineTool({
    name: "lock",
    description: "Holds the database as another program may.",
    parameters,
    repeat: "safe",
    execute() {
      other = new DatabaseSync(join(gw.stateDir, "portreeve.db"));
      other.exec("begin immediate");
      return Promise.resolve({ text: "held" });
    },
  });
  await using gw = await startGateway({ tools: [wait, lock] });
  const both = {
    call: [
      { tool: "wait", args: {} },
      { tool: "lock", args: {} },
    ],
  };
  await gw.callerWith("operator.write").call("chat.send", { sessionKey: "main", message: script("go", both), idempotencyKey: "k" });

  const reason = await stopped.promise;
  other?.exec("rollback");
  other?.close();

  assert.equal(reason, "over");
});

test("an abort answers when the last program of the tree has ended, also one that does not want to", async () => {
  const { tool } = shell();
  await using gw = await startGateway({ tools: [tool] });
  const mark = "portreeve-stubborn-31536002";
  const stubborn = use(`trap '' TERM; echo > ready-$$; while true; do sleep 1; : ${mark}; done`);
  const started = filesIn(gw.workspaceDir, 3);
  await gw.callerWith("operator.write").call("chat.send", {
    sessionKey: "main",
    message: script("go", { call: [spawnStep("a", stubborn), spawnStep("b", stubborn)] }, stubborn),
    idempotencyKey: "k",
  });
  await started;
  assert.ok(countProcesses(mark) >= 3);

  const answer = await gw.callerWith("operator.write").call("chat.abort", { sessionKey: "main" });

  assert.equal(countProcesses(mark), 0);
  assert.deepEqual([answer.aborted, answer.runIds.length], [true, 3]);
});

test("a stop that cannot stop a tool is an error with counts, and the run has ended all the same", async () => {
  const entered = Promise.withResolvers<void>();
  const never = Promise.withResolvers<never>();
  const deaf = defineTool({
    name: "deaf",
    description: "Does not listen.",
    parameters: z.strictObject({}),
    repeat: "ask",
    execute() {
      entered.resolve();
      return never.promise;
    },
  });
  const gw = await startGateway({ tools: [deaf] });
  await gw.callerWith("operator.write").call("chat.send", {
    sessionKey: "main",
    message: script("go", { call: [{ tool: "deaf", args: {} }] }),
    idempotencyKey: "k",
  });
  await entered.promise;

  const refused = assert.rejects(
    gw.callerWith("operator.write").call("chat.abort", { sessionKey: "main" }),
    (error: Error & { code?: string; details?: { stopped?: number; failed?: readonly unknown[] } }) => {
      assert.deepEqual([error.code, error.details?.stopped, error.details?.failed?.length], ["STOP_INCOMPLETE", 0, 1]);
      return true;
    },
  );
  await refused;
  const { status } = await gw.callerWith("operator.write").call("agent.wait", { runId: "k" });
  never.reject(new Error("over"));
  await gw[Symbol.asyncDispose]();

  assert.equal(status, "error");
});

test("a held program does not run before it is begun, and never when whoever held it is gone", async () => {
  const input = { file: "/bin/echo", args: ["ran"], cwd: "/", env: {}, maxOutputBytes: 100, onOutput: () => undefined };
  const programs = new ProcessGroups();
  const begun = await programs.start(input);
  const dropped = await programs.start(input);

  begun.begin();
  assert.equal(await programs.stop(dropped.pid, { graceMs: 300, killMs: 1_000 }), true);

  assert.deepEqual([(await begun.outcome).stdout, (await dropped.outcome).stdout], ["ran\n", ""]);
});

test("the next start ends what a killed gateway left running, and nothing that has its number by chance", async () => {
  const root = spawn("/bin/sleep", ["31536003"], { detached: true, stdio: "ignore" });
  const stranger = spawn("/bin/sleep", ["31536004"], { detached: true, stdio: "ignore" });
  assert.ok(root.pid !== undefined && stranger.pid !== undefined);
  const startedAt = readFileSync(`/proc/${root.pid}/stat`, "utf8").split(") ")[1]?.split(" ")[19];
  const gw = await startGateway();
  try {
    await gw.gateway.store.processes.note({ pid: root.pid, startedAt, runId: "run_1" });
    await gw.gateway.store.processes.note({ pid: stranger.pid, startedAt: "1", runId: "run_2" });

    await gw.restart();

    assert.equal(new ProcessGroups().isStill(root.pid, startedAt), false);
    assert.equal(stranger.exitCode ?? stranger.signalCode, null);
    assert.deepEqual(await gw.gateway.store.processes.list(), []);
  } finally {
    for (const sleeper of [root, stranger]) sleeper.kill("SIGKILL");
    await gw[Symbol.asyncDispose]();
  }
});

/** A group whose leader has ended and left a process that sleeps so long; `startedAt` is the leader's. */
async function startHeadless(seconds: number): Promise<{ readonly pid: number; readonly startedAt: string }> {
  const leader = spawn("/bin/sh", ["-c", `sleep ${seconds} & read _`], { detached: true, stdio: ["pipe", "ignore", "ignore"] });
  assert.ok(leader.pid !== undefined);
  const startedAt = readFileSync(`/proc/${leader.pid}/stat`, "utf8").split(") ")[1]?.split(" ")[19] ?? "";
  leader.stdin.end("\n");
  await once(leader, "exit");
  return { pid: leader.pid, startedAt };
}

test("the next start ends what a program left in its group, also when the program itself has ended", async () => {
  const [left, strange] = [await startHeadless(31_536_007), await startHeadless(31_536_008)];
  const gw = await startGateway();
  try {
    await gw.gateway.store.processes.note({ ...left, runId: "run_1" });
    // It began before that: its group has the number by chance.
    await gw.gateway.store.processes.note({ pid: strange.pid, startedAt: "99999999999", runId: "run_2" });

    await gw.restart();

    assert.deepEqual([countProcesses("31536007"), countProcesses("31536008")], [0, 1]);
    assert.deepEqual(await gw.gateway.store.processes.list(), []);
  } finally {
    process.kill(-strange.pid, "SIGKILL");
    await gw[Symbol.asyncDispose]();
  }
});

test("processes are noted once a number and forgotten", async () => {
  const gw = await startGateway();
  await gw.gateway.store.processes.note({ pid: 7, startedAt: "1", runId: "run_1" });
  await gw.gateway.store.processes.note({ pid: 7, startedAt: undefined, runId: "run_2" });
  assert.deepEqual(await gw.gateway.store.processes.list(), [{ pid: 7, startedAt: undefined, runId: "run_2" }]);
  await gw.gateway.store.processes.forget(7);
  assert.deepEqual(await gw.gateway.store.processes.list(), []);
  await gw[Symbol.asyncDispose]();
});
