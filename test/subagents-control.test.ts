/** Runs act on what they delegated, and on nothing else: through the tool of a model, and through the methods as the run. */
import assert from "node:assert/strict";
import test, { after, before } from "node:test";
import { type Caller, ProtocolError } from "@portreeve/protocol";
import { createCaller } from "../packages/gateway/src/dispatch/caller.ts";
import { runPrincipal } from "../packages/gateway/src/principal/principal.ts";
import type { RunRecord } from "../packages/gateway/src/store/store.ts";
import { script, spawnStep, type Step } from "./support/script.ts";
import { startGateway, type TestGateway } from "./support/start-gateway.ts";

const forever: Step = { hang: true };
let gw: TestGateway;

before(async () => {
  gw = await startGateway();
});
after(() => gw[Symbol.asyncDispose]());

async function refusal(call: Promise<unknown>): Promise<ProtocolError> {
  const error = await call.then(
    () => assert.fail("it was not refused"),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof ProtocolError);
  return error;
}

interface Family {
  readonly parent: RunRecord;
  readonly left: RunRecord;
  readonly right: RunRecord;
  readonly leaf: RunRecord;
  /** A caller that acts as the run. */
  as(run: RunRecord): Caller;
}

/** In session `name`: a parent that waits, two children, and a grandchild below the left one; all at work until they are stopped. */
async function openFamily(name: string): Promise<Family> {
  const leafSpeaks = new Promise<void>((resolve) => {
    const [speaking, family] = [new Set<string>(), new Set([`agent:main:${name}`])];
    gw.gateway.bus.subscribe("agent", ({ stream, runId, sessionKey, spawnedBy = "" }) => {
      if (!family.has(spawnedBy)) return;
      family.add(sessionKey);
      if (stream !== "assistant") return;
      speaking.add(runId);
      if (speaking.size === 2) resolve();
    });
  });
  const left = spawnStep("left", { call: [spawnStep("leaf", forever)] }, { awaitChildren: true }, { say: "never" });
  const message = script("go", { call: [left, spawnStep("right", forever)] }, { awaitChildren: true }, { say: "{{children}}" });
  await gw.callerWith("operator.write").call("chat.send", { sessionKey: name, message, idempotencyKey: `${name}-1` });
  await leafSpeaks;
  const { runs } = await gw.callerWith("operator.read").call("runs.tree", { runId: `${name}-1` });
  const find = async (label: string | undefined): Promise<RunRecord> => {
    const runId = runs.find((run) => run.label === label)?.runId ?? assert.fail(`no ${label}`);
    return (await gw.gateway.store.runs.find(runId)) ?? assert.fail(`no ${runId}`);
  };
  return {
    parent: await find(undefined),
    left: await find("left"),
    right: await find("right"),
    leaf: await find("leaf"),
    as: (run) => createCaller(gw.gateway.dispatch, runPrincipal(run)),
  };
}

test("a run that would stop or await its sibling, itself, or whoever is above it is refused by name, and nothing is stopped", async () => {
  const { parent, left, right, leaf, as } = await openFamily("guards");
  await gw.callerWith("operator.write").call("sessions.patch", { key: "elsewhere", label: "of another tree" });
  const tries = [
    [left, right.runId, "other"],
    [left, right.sessionKey, "other"],
    [left, left.runId, "self"],
    [left, left.sessionKey, "self"],
    [left, parent.runId, "ancestor"],
    [leaf, left.runId, "ancestor"],
    [leaf, parent.sessionKey, "ancestor"],
    [right, leaf.runId, "other"],
  ] as const;

  const said = [];
  for (const [actor, target] of tries) {
    const cancel = await refusal(as(actor).call("subagents.cancel", { subagent: target }));
    const wait = await refusal(as(actor).call("subagents.wait", { subagents: [target], timeoutSeconds: 0 }));
    said.push([cancel.code, cancel.details["relation"], wait.code]);
  }
  const labels = await refusal(as(left).call("subagents.cancel", { subagent: "right" }));
  const foreign = await refusal(as(left).call("subagents.list", { sessionKey: parent.sessionKey }));
  const outside = await refusal(as(left).call("subagents.cancel", { subagent: "agent:main:elsewhere" }));
  const { tasks } = await gw.callerWith("operator.read").call("status", {});

  assert.deepEqual(
    said,
    tries.map(([, , relation]) => ["NOT_DESCENDANT", relation, "NOT_DESCENDANT"]),
  );
  assert.deepEqual([labels.code, foreign.code, outside.code], ["UNKNOWN_SUBAGENT", "NOT_ALLOWED", "UNKNOWN_SUBAGENT"]);
  assert.equal(tasks.byStatus["cancelled"] ?? 0, 0);
});

test("a run sees and stops what it delegated, however deep, and its operator does so for it", async () => {
  const { parent, left, right, leaf, as } = await openFamily("reach");

  const children = await as(parent).call("subagents.list", {});
  const all = await as(parent).call("subagents.list", { depth: "all" });
  const waited = await as(parent).call("subagents.wait", { subagents: ["left", leaf.sessionKey], timeoutSeconds: 0 });
  const byGrandparent = await as(parent).call("subagents.cancel", { subagent: "leaf" });
  const byOperator = await gw.callerWith("operator.write").call("subagents.cancel", { sessionKey: "reach", subagent: "ri" });
  const ended = await as(parent).call("subagents.wait", { subagents: ["leaf", "right"] });

  assert.deepEqual(children.subagents.map(({ label = "" }) => label).sort(), ["left", "right"]);
  assert.deepEqual(all.subagents.map(({ label = "" }) => label).sort(), ["leaf", "left", "right"]);
  assert.deepEqual([waited.status, waited.subagents.map(({ hasEnded }) => hasEnded)], ["timeout", [false, false]]);
  assert.deepEqual(byGrandparent.cancelledRunIds, [leaf.runId]);
  assert.deepEqual(byOperator.cancelledRunIds, [right.runId]);
  assert.deepEqual([ended.status, ended.subagents.map(({ status }) => status)], ["ended", ["cancelled", "cancelled"]]);
  assert.equal((await gw.gateway.store.runs.find(left.runId))?.status === "cancelled", false);
});

test("a run stops all that it delegated at once, and neither itself nor what is beside it", async () => {
  const { parent, left, right, leaf, as } = await openFamily("all-of-it");

  const foreign = await refusal(as(left).call("subagents.cancelAll", { sessionKey: parent.sessionKey }));
  const byLeft = await as(left).call("subagents.cancelAll", {});
  const byParent = await as(parent).call("subagents.cancelAll", {});
  const again = await gw.callerWith("operator.write").call("subagents.cancelAll", { sessionKey: "all-of-it" });

  assert.equal(foreign.code, "NOT_ALLOWED");
  assert.deepEqual([byLeft.sessionKey, byLeft.cancelledRunIds], [left.sessionKey, [leaf.runId]]);
  assert.ok(byParent.cancelledRunIds.includes(right.runId));
  assert.ok(!byParent.cancelledRunIds.includes(parent.runId));
  assert.deepEqual(again.cancelledRunIds, []);
});

test("a sub-agent is meant by its task name, and by what only its task name begins with", async () => {
  const caller = gw.callerWith("operator.write");
  const ask = { sessionKey: "named", task: script("x", forever) };
  for (const taskName of ["survey_files", "sum_up"]) await caller.call("subagents.spawn", { ...ask, taskName, idempotencyKey: taskName });

  const exact = await caller.call("subagents.wait", { sessionKey: "named", subagents: ["sum_up"], timeoutSeconds: 0 });
  const cut = await caller.call("subagents.cancel", { sessionKey: "named", subagent: "surv" });
  const both = await refusal(caller.call("subagents.wait", { sessionKey: "named", subagents: ["nobody"], timeoutSeconds: 0 }));

  assert.deepEqual([exact.subagents[0]?.taskName, cut.subagent.taskName, both.code], ["sum_up", "survey_files", "UNKNOWN_SUBAGENT"]);
});

test("a sub-agent is meant by its number, which stays its own, and which no label can take", async () => {
  const { parent, left, right, leaf, as } = await openFamily("numbers");
  const caller = gw.callerWith("operator.write");
  const before = await as(parent).call("subagents.list", { depth: "all" });
  const forged = { sessionKey: "numbers", label: "#1", task: script("x", forever), idempotencyKey: "forged" };
  const { childSessionKey } = await caller.call("subagents.spawn", forged);
  await caller.call("chat.send", { sessionKey: right.sessionKey, message: "and?", queueMode: "steer", idempotencyKey: "numbers-2" });

  const after = await as(parent).call("subagents.list", { depth: "all" });
  const children = await as(parent).call("subagents.list", {});
  const first = await as(parent).call("subagents.wait", { subagents: ["#1", "#4"], timeoutSeconds: 0 });
  const inner = await as(left).call("subagents.cancel", { subagent: "#1" });
  const none = await refusal(as(right).call("subagents.cancel", { subagent: "#1" }));
  const beyond = await refusal(as(parent).call("subagents.cancel", { subagent: "#5" }));
  const numberOf = ({ subagents }: typeof after, key: string) => subagents.find(({ sessionKey }) => sessionKey === key)?.number;

  const keys = [left.sessionKey, right.sessionKey, leaf.sessionKey];
  assert.deepEqual(
    keys.map((key) => numberOf(before, key)),
    [1, 2, 3],
  );
  assert.deepEqual(
    [...keys, childSessionKey].map((key) => numberOf(after, key)),
    [1, 2, 3, 4],
  );
  assert.equal(numberOf(children, childSessionKey), 4);
  assert.deepEqual(
    first.subagents.map((one) => one.childSessionKey),
    [left.sessionKey, childSessionKey],
  );
  assert.deepEqual(inner.cancelledRunIds, [leaf.runId]);
  assert.deepEqual([none.code, beyond.code], ["UNKNOWN_SUBAGENT", "UNKNOWN_SUBAGENT"]);
  assert.match(beyond.message, /no sub-agent #5: there have been 4/);
});

test("two sub-agents of one name are an error that lists both", async () => {
  const caller = gw.callerWith("operator.write");
  const spawned = [];
  for (const key of ["twin-1", "twin-2"])
    spawned.push(
      await caller.call("subagents.spawn", { sessionKey: "twins", label: "twin", task: script("x", forever), idempotencyKey: key }),
    );

  const error = await refusal(caller.call("subagents.cancel", { sessionKey: "twins", subagent: "twin" }));

  assert.equal(error.code, "AMBIGUOUS_SUBAGENT");
  for (const { runId } of spawned) assert.match(error.remedy ?? "", new RegExp(runId));
});

test("a model lists, awaits and stops its own with the tool, and learns what is not its to stop", async () => {
  const steps: Step[] = [
    { call: [spawnStep("stuck", forever)] },
    {
      call: [
        { tool: "subagents", args: { action: "list" } },
        { tool: "subagents", args: { action: "wait", subagents: ["stuck"], timeoutSeconds: 0 } },
        { tool: "subagents", args: { action: "cancel", subagent: "agent:main:tool" } },
        { tool: "session_status", args: {} },
        { tool: "agents_list", args: {} },
      ],
    },
    { call: [{ tool: "subagents", args: { action: "cancel", subagent: "stuck" } }] },
    { awaitChildren: true },
    { say: "{{children}}" },
  ];

  const { result } = await gw
    .callerWith("operator.write")
    .call("agent", { message: script("go", ...steps), sessionKey: "tool", idempotencyKey: "tool-1" });
  const { messages } = await gw.callerWith("operator.read").call("chat.history", { sessionKey: "tool" });
  const results = messages.flatMap(({ content }) => content.flatMap((block) => (block.type === "toolResult" ? [block.text] : [])));
  const [, ...said] = results.map((text) => JSON.parse(text) as Record<string, unknown>);
  const find = (key: string) => said.find((one) => Object.hasOwn(one, key));

  assert.match(JSON.stringify(find("subagents")), /"label":"stuck"/);
  assert.ok(said.some(({ status }) => status === "timeout"));
  assert.deepEqual([find("code")?.["status"], find("code")?.["code"]], ["forbidden", "NOT_DESCENDANT"]);
  assert.deepEqual(find("queue")?.["children"], { total: 1, open: 1 });
  assert.deepEqual(find("agents")?.["own"], "main");
  assert.match(result.payloads[0]?.text ?? "", /stuck/);
});

test("a session's status is for whoever may see the session, with its tokens and what waits in it", async () => {
  const { left, as } = await openFamily("status");
  const reader = gw.callerWith("operator.read");

  const whole = await reader.call("sessions.status", { key: "status" });
  const own = await as(left).call("sessions.status", {});
  const hidden = await refusal(as(left).call("sessions.status", { key: "agent:main:reach" }));
  const unknown = await refusal(reader.call("sessions.status", { key: "nowhere" }));

  assert.deepEqual([whole.children, whole.queue.map(({ wireId }) => wireId)], [{ total: 2, open: 2 }, ["status-1"]]);
  assert.ok(whole.usage.totalTokens > 0 && (whole.contextTokens ?? 0) > 0);
  assert.equal(own.session.key, left.sessionKey);
  assert.deepEqual([hidden.code, unknown.code], ["UNKNOWN_SESSION", "UNKNOWN_SESSION"]);
});
