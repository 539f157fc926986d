/** The reference's ledger of background tasks: delegated runs in its words, and what operators decide about them. */
import assert from "node:assert/strict";
import test, { after, before } from "node:test";
import { ProtocolError, type Task } from "@portreeve/protocol";
import { script, spawnStep, type Step } from "./support/script.ts";
import { startGateway, type TestGateway } from "./support/start-gateway.ts";

let gw: TestGateway;

before(async () => {
  gw = await startGateway();
});
after(() => gw[Symbol.asyncDispose]());

/** Speaks in a session; resolves when that run has ended, however. */
async function speak(sessionKey: string, ...steps: readonly Step[]): Promise<void> {
  const message = script("go", ...steps);
  await gw
    .callerWith("operator.write")
    .call("agent", { message, sessionKey, idempotencyKey: sessionKey })
    .catch((error: unknown) => assert.ok(error instanceof ProtocolError && error.code === "RUN_FAILED"));
}

async function tasksOf(sessionKey: string): Promise<readonly Task[]> {
  return (await gw.callerWith("operator.read").call("tasks.list", { sessionKey })).tasks;
}

async function onlyTask(sessionKey: string): Promise<Task> {
  const [task, ...others] = await tasksOf(sessionKey);
  assert.equal(others.length, 0);
  return task ?? assert.fail("there is no task");
}

const failing: Step = { fail: { kind: "auth", retryable: false } };

test("what a session delegated is listed and told; what a person asked is no task", async () => {
  const nested: Step[] = [{ call: [spawnStep("deeper", { say: "found it" })] }, { awaitChildren: true }, { say: "as it said" }];
  await speak("work", { call: [spawnStep("survey", ...nested)] }, { awaitChildren: true }, { say: "done" });
  const survey = await onlyTask("work");
  const deeper = await onlyTask(survey.childSessionKey);

  const { task } = await gw.callerWith("operator.read").call("tasks.get", { taskId: deeper.id });
  const { task: byWireId } = await gw.callerWith("operator.read").call("tasks.get", { taskId: survey.runId });

  assert.deepEqual(
    [survey.title, survey.status, survey.deliveryStatus, survey.parentTaskId, survey.sessionKey, survey.prompt],
    ["survey", "completed", "delivered", undefined, "agent:main:work", undefined],
  );
  assert.deepEqual(
    [task.parentTaskId, task.ownerKey, task.toolUseCount, task.terminalOutcome],
    [survey.id, survey.childSessionKey, 0, "succeeded"],
  );
  assert.match(task.prompt ?? "", /^do deeper/);
  assert.match(task.result ?? "", /^found it/);
  assert.ok(task.updatedAt >= (task.endedAt ?? Infinity) && (task.endedAt ?? 0) >= (task.startedAt ?? Infinity));
  assert.deepEqual([byWireId.id, byWireId.toolUseCount], [survey.id, 2]);
  await assert.rejects(gw.callerWith("operator.read").call("tasks.get", { taskId: "work" }), /unknown task "work"/);
});

test("pages follow each other without a gap, and statuses are those of the ledger", async () => {
  await speak("many", { call: ["a", "b", "c"].map((label) => spawnStep(label, { say: label })) }, { awaitChildren: true }, { say: "x" });
  await speak("broken", { call: [spawnStep("broken", failing)] }, { awaitChildren: true }, { say: "x" });
  const caller = gw.callerWith("operator.read");

  const seen: string[] = [];
  let cursor: string | undefined;
  do {
    const page = await caller.call("tasks.list", { sessionKey: "many", limit: 2, ...(cursor === undefined ? {} : { cursor }) });
    seen.push(...page.tasks.map(({ title }) => title));
    cursor = page.nextCursor;
  } while (cursor !== undefined);
  const failed = await caller.call("tasks.list", { status: "failed" });
  const others = await caller.call("tasks.list", { status: ["completed", "queued"], sessionKey: "broken" });

  assert.deepEqual(seen, ["c", "b", "a"]);
  assert.deepEqual(
    failed.tasks.map(({ title, error }) => [title, error !== undefined]),
    [["broken", true]],
  );
  assert.deepEqual(others.tasks, []);
  await assert.rejects(caller.call("tasks.list", { cursor: "1 or 1" }), /nextCursor/);
});

test("a task is cancelled once, with everything below it, by whoever may", async () => {
  const forever: Step = { hang: true };
  const speaks = new Promise<void>((resolve) => {
    const subscription = gw.gateway.bus.subscribe("agent", ({ stream, spawnedBy }) => {
      if (stream !== "assistant" || spawnedBy === undefined || !spawnedBy.includes(":subagent:")) return;
      subscription[Symbol.dispose]();
      resolve();
    });
  });
  const child = spawnStep("stuck", { call: [spawnStep("deeper", forever)] }, { awaitChildren: true });
  const parent = speak("stop", { call: [child] }, { awaitChildren: true }, { say: "it was stopped" });
  await speaks;
  const stuck = await onlyTask("stop");
  const writer = gw.callerWith("operator.write");

  const cancelled = await writer.call("tasks.cancel", { taskId: stuck.id });
  await parent;
  const again = await writer.call("tasks.cancel", { taskId: stuck.id });
  const unknown = await writer.call("tasks.cancel", { taskId: "run_none" });
  const deeper = await onlyTask(stuck.childSessionKey);

  assert.deepEqual([stuck.status, stuck.deliveryStatus], ["running", "pending"]);
  assert.deepEqual([cancelled.found, cancelled.cancelled, cancelled.task?.status], [true, true, "cancelled"]);
  assert.deepEqual([again.found, again.cancelled, again.reason], [true, false, "it has ended already: cancelled"]);
  assert.deepEqual([unknown.found, unknown.cancelled], [false, false]);
  assert.equal(deeper.status, "cancelled");
  await assert.rejects(gw.callerWith("operator.read").call("tasks.cancel", { taskId: stuck.id }), /missing scope/);
});

test("results that no turn has safely read are delivered again or dismissed, each answered for itself", async () => {
  for (const key of ["lost", "left"]) await speak(key, { call: [spawnStep(key, { say: "found" })] }, { awaitChildren: true }, failing);
  const [lost, left] = [await onlyTask("lost"), await onlyTask("left")];
  await gw.callerWith("operator.admin").call("sessions.delete", { key: "left" });
  const writer = gw.callerWith("operator.write");
  const { deliveryStatus: orphaned } = await onlyTask("left");

  const { results: retried } = await writer.call("tasks.retry", { taskIds: [lost.id, left.id, "run_none", lost.id] });
  const { results: dismissed } = await writer.call("tasks.dismiss", { taskIds: [left.id, left.id] });

  assert.deepEqual([lost.deliveryStatus, orphaned], ["failed", "parent_missing"]);
  assert.deepEqual(
    retried.map(({ ok, duplicateRisk }) => [ok, duplicateRisk]),
    [
      [true, true],
      [false, undefined],
      [false, undefined],
      [false, undefined],
    ],
  );
  assert.match(retried[1]?.reason ?? "", /agent:main:left, which is gone/);
  assert.deepEqual(
    dismissed.map(({ ok, task }) => [ok, task?.deliveryStatus]),
    [
      [true, "dismissed"],
      [false, "dismissed"],
    ],
  );
  await assert.rejects(writer.call("tasks.retry", { taskIds: [] }), /taskIds/);
});
