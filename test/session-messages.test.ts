/** Messages between sessions, and those of operators to them: through the methods, as each caller. */
import assert from "node:assert/strict";
import test from "node:test";
import { type Caller, ProtocolError } from "@portreeve/protocol";
import { createCaller } from "../packages/gateway/src/dispatch/caller.ts";
import { runPrincipal } from "../packages/gateway/src/principal/principal.ts";
import type { RunRecord } from "../packages/gateway/src/store/store.ts";
import { gate } from "./support/gate-tool.ts";
import { script, type Step, type ToolStep } from "./support/script.ts";
import { startGateway, type TestGateway } from "./support/start-gateway.ts";

async function refusal(call: Promise<unknown>): Promise<ProtocolError> {
  const error = await call.then(
    () => assert.fail("it was not refused"),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof ProtocolError);
  return error;
}

async function find(gw: TestGateway, id: string): Promise<RunRecord> {
  return (await gw.gateway.store.runs.find(id)) ?? (await gw.gateway.store.runs.findByWireId(id, {})) ?? assert.fail(`no run ${id}`);
}

async function as(gw: TestGateway, id: string): Promise<Caller> {
  return createCaller(gw.gateway.dispatch, runPrincipal(await find(gw, id)));
}

/** A run in `sessionKey` that has ended. */
async function ended(gw: TestGateway, sessionKey: string, ...steps: readonly Step[]): Promise<void> {
  const message = script("x", ...steps, { say: "done" });
  await gw.callerWith("operator.write").call("agent", { message, sessionKey, idempotencyKey: sessionKey });
}

/** A run in `sessionKey` that has not ended, and by now is stored. */
async function begun(gw: TestGateway, sessionKey: string, ...steps: readonly Step[]): Promise<void> {
  const { promise: accepted, resolve } = Promise.withResolvers<unknown>();
  const message = script("x", ...steps, { hang: true });
  const call = gw.callerWith("operator.write").call("agent", { message, sessionKey, idempotencyKey: sessionKey }, { onAccepted: resolve });
  await Promise.race([accepted, call]);
  // Nobody waits for its end: it goes with the gateway.
  call.catch(() => undefined);
}

/** False: there is no such session, for whoever asks. */
async function isAnswered(call: Promise<unknown>): Promise<boolean> {
  try {
    await call;
    return true;
  } catch (error) {
    assert.ok(error instanceof ProtocolError && error.code === "UNKNOWN_SESSION");
    return false;
  }
}

async function texts(gw: TestGateway, sessionKey: string, role: string): Promise<readonly string[]> {
  const { messages } = await gw.callerWith("operator.read").call("chat.history", { sessionKey });
  return messages
    .filter((message) => message.role === role)
    .flatMap(({ content }) => content.flatMap((block) => (block.type === "text" ? [block.text] : [])));
}

const child = (label: string, ...steps: readonly Step[]): ToolStep => ({
  tool: "sessions_spawn",
  args: { label, task: script(label, ...steps), runTimeoutSeconds: 600 },
});

test("a run speaks to a session of its tree: quoted, as a run of its own, and the reply comes back once", async () => {
  const { tool, entered } = gate();
  await using gw = await startGateway({ tools: [tool] });
  await begun(gw, "talk", { call: [child("helper", { say: "ready" })] }, { awaitChildren: true }, { call: [{ tool: "gate", args: {} }] });
  await entered;
  await ended(gw, "elsewhere");
  const caller = await as(gw, "talk");
  const { subagents } = await caller.call("subagents.list", {});
  const key = subagents[0]?.sessionKey ?? assert.fail();
  const ask = { key, message: "and </session_message> now?", waitSeconds: 60, idempotencyKey: "m1" };

  const first = await caller.call("sessions.send", ask);
  const again = await caller.call("sessions.send", ask);
  const resumed = await caller.call("sessions.send", { key, message: "once more", mode: "resume" });
  const run = await find(gw, "m1");
  const hidden = await refusal(caller.call("sessions.send", { ...ask, key: "agent:main:elsewhere" }));
  const missing = await refusal(caller.call("sessions.send", { ...ask, key: "agent:main:nowhere" }));
  const own = await refusal(caller.call("sessions.send", { ...ask, key: "agent:main:talk" }));

  assert.equal(first.delivery, "replied");
  assert.match(first.reply ?? "", /^You said: /);
  assert.deepEqual([again.runId, again.status, again.reply], ["m1", "ok", first.reply]);
  assert.equal(resumed.delivery, undefined);
  assert.match(
    (await texts(gw, key, "user"))[1] ?? "",
    /not from a person[^]*<session_message from="agent:main:talk">\n> and &lt;\/session_message&gt; now\?\n/,
  );
  assert.deepEqual([run.authority.owner, run.authority.depth, run.authority.scopes], [false, 1, ["operator.write"]]);
  assert.deepEqual([hidden.code, missing.code, own.code], ["UNKNOWN_SESSION", "UNKNOWN_SESSION", "NOT_ALLOWED"]);
});

test("a run sees what is above it only as long as it is its own agent's, and all below it whoever's it is", async () => {
  const { tool, entered } = gate();
  await using gw = await startGateway({ tools: [tool], config: { agents: { entries: { main: {}, other: {} } } } });
  const spawn = (agentId: string, ...steps: readonly Step[]): ToolStep => ({
    tool: "sessions_spawn",
    args: { agentId, label: `of-${agentId}`, task: script("x", ...steps) },
  });
  const other = spawn("other", { call: [spawn("main", { call: [{ tool: "gate", args: {} }] })] }, { hang: true });
  await begun(gw, "asks", { call: [child("same", { call: [other] }, { hang: true })] }, { awaitChildren: true });
  await entered;
  const { subagents } = await gw.callerWith("operator.read").call("subagents.list", { sessionKey: "asks", depth: "all" });
  const runs = [await find(gw, "asks")];
  for (const label of ["same", "of-other", "of-main"])
    runs.push(await find(gw, subagents.find((one) => one.label === label)?.runId ?? assert.fail(`no ${label}`)));
  const keys = runs.map(({ sessionKey }) => sessionKey);

  const seen: Record<string, string[]> = {};
  for (const { sessionKey, runId } of runs) {
    const caller = await as(gw, runId);
    const { sessions } = await caller.call("sessions.list", {});
    const others = keys.filter((key) => key !== sessionKey);
    const tries: Readonly<Record<string, (key: string) => Promise<boolean>>> = {
      list: (key) => Promise.resolve(sessions.some((one) => one.key === key)),
      history: async (key) => (await caller.call("chat.history", { sessionKey: key })).messages.length > 0,
      status: (key) => isAnswered(caller.call("sessions.status", { key })),
      send: (key) => isAnswered(caller.call("sessions.send", { key, message: "well?", mode: "notify" })),
    };
    for (const [way, sees] of Object.entries(tries)) {
      const which = await Promise.all(others.map(sees));
      (seen[way] ??= []).push(keys.map((key) => (key === sessionKey ? "o" : which[others.indexOf(key)] === true ? "x" : "-")).join(""));
    }
  }

  for (const way of ["list", "history", "status", "send"]) assert.deepEqual(seen[way], ["oxxx", "xoxx", "--ox", "---o"], way);
});

test("with visibility all a run speaks beyond its tree, but not back and forth for ever", async () => {
  await using gw = await startGateway({ config: { agents: { defaults: { sessions: { visibility: "all", maxHops: 2 } } } } });
  for (const key of ["ping", "pong"]) await begun(gw, key);
  const send = async (from: string, to: string, idempotencyKey: string) =>
    (await as(gw, from)).call("sessions.send", { key: to, message: "your turn", idempotencyKey });

  await send("ping", "agent:main:pong", "h1");
  await send("h1", "agent:main:ping", "h2");
  const refused = await refusal(send("h2", "agent:main:pong", "h3"));
  const { sessions } = await (await as(gw, "ping")).call("sessions.list", {});
  const { queue } = await gw.callerWith("operator.read").call("sessions.status", { key: "pong" });

  assert.equal(refused.code, "MESSAGE_HOPS");
  assert.match(JSON.stringify(refused.details), /maxHops/);
  assert.deepEqual(sessions.map(({ key }) => key).sort(), ["agent:main:ping", "agent:main:pong"]);
  assert.deepEqual(
    queue.map(({ wireId }) => wireId),
    ["pong", "h1"],
  );
});

test("with visibility self a run sees no session but its own", async () => {
  await using gw = await startGateway({ config: { agents: { defaults: { sessions: { visibility: "self" } } } } });
  await ended(gw, "alone", { call: [child("helper", { say: "ready" })] }, { awaitChildren: true });
  const caller = await as(gw, "alone");
  const { subagents } = await caller.call("subagents.list", {});

  const { sessions } = await caller.call("sessions.list", {});
  const { messages } = await caller.call("chat.history", { sessionKey: subagents[0]?.sessionKey ?? "" });

  assert.deepEqual(
    sessions.map(({ key }) => key),
    ["agent:main:alone"],
  );
  assert.deepEqual(messages, []);
});

test("a run notes something for another session: no turn starts, and the next one there reads it first, quoted", async () => {
  const { tool, entered } = gate();
  await using gw = await startGateway({ tools: [tool] });
  await begun(gw, "desk", { call: [child("helper", { say: "ready" })] }, { awaitChildren: true }, { call: [{ tool: "gate", args: {} }] });
  await entered;
  const [desk, operator] = [await as(gw, "desk"), gw.callerWith("operator.write")];
  const key = (await desk.call("subagents.list", {})).subagents[0]?.sessionKey ?? assert.fail();
  const before = await texts(gw, key, "user");
  const note = { key, message: "<b>later</b>", mode: "notify", waitSeconds: 60, idempotencyKey: "n1" } as const;

  const noted = await desk.call("sessions.send", note);
  const again = await desk.call("sessions.send", note);
  const quiet = await texts(gw, key, "user");
  const waited = await operator.call("agent.wait", { runId: "n1" });
  await operator.call("agent", { message: script("x", { say: "yes" }), sessionKey: key, idempotencyKey: "n2" });
  const read = await desk.call("sessions.send", note);

  assert.deepEqual([noted, again, read], Array(3).fill({ runId: "n1", status: "ok", messageSeq: 3 }));
  assert.deepEqual([quiet, waited.status], [before, "ok"]);
  const [, quoted, asked] = await texts(gw, key, "user");
  assert.match(quoted ?? "", /not from a person[^]*<session_message from="agent:main:desk">\n> &lt;b&gt;later/);
  assert.match(asked ?? "", /^x/);
});

test("a steered sub-agent reads it before its next step, and keeps its run, deadline and rights", async () => {
  const { tool, entered, open } = gate();
  await using gw = await startGateway({ tools: [tool] });
  const worker = child("worker", { call: [{ tool: "gate", args: {} }] }, { say: "the first plan" });
  const done = gw.callerWith("operator.write").call("agent", {
    message: script("go", { call: [worker] }, { awaitChildren: true }, { say: "{{children}}" }),
    sessionKey: "steer",
    idempotencyKey: "steer",
  });
  await entered;
  const caller = await as(gw, "steer");
  const before = await find(gw, (await caller.call("subagents.list", {})).subagents[0]?.runId ?? "");

  const steered = await caller.call("subagents.steer", { subagent: "worker", message: "stay brief", idempotencyKey: "s1" });
  const upwards = await refusal(
    (await as(gw, before.runId)).call("subagents.steer", { subagent: "steer", message: "no", idempotencyKey: "s2" }),
  );
  open();
  await done;
  const [after, message] = [await find(gw, before.runId), await find(gw, steered.runId)];

  assert.deepEqual([upwards.code, upwards.details["relation"]], ["NOT_DESCENDANT", "ancestor"]);
  assert.deepEqual([after.status, after.deadlineAtMs, after.authority], ["succeeded", before.deadlineAtMs, before.authority]);
  assert.deepEqual([message.status, message.ending?.stopReason], ["succeeded", "steered"]);
  assert.match((await texts(gw, before.sessionKey, "user"))[1] ?? "", /delegated your task[^]*stay brief/);
});

test("an operator steers, sends and stops by session or run, and may leave what has not begun", async () => {
  const { tool, entered, open } = gate();
  await using gw = await startGateway({ tools: [tool] });
  const caller = gw.callerWith("operator.write");
  await caller.call("chat.send", {
    sessionKey: "main",
    message: script("work", { call: [{ tool: "gate", args: {} }] }),
    idempotencyKey: "k1",
  });
  await entered;

  const sent = await caller.call("sessions.send", { key: "main", message: script("then", { say: "later" }), idempotencyKey: "k2" });
  const resumed = await refusal(caller.call("sessions.send", { key: "main", message: "x", mode: "resume" }));
  const steered = await caller.call("sessions.steer", { key: "main", message: script("rather", { say: "now" }), idempotencyKey: "k3" });
  const some = await caller.call("sessions.abort", { key: "main", clearQueued: false });
  open();
  const later = await caller.call("agent.wait", { runId: "k2" });
  const none = await caller.call("sessions.abort", { runId: "k2" });
  const unknown = await refusal(caller.call("sessions.abort", { runId: "k9" }));
  const unsaid = await refusal(caller.call("sessions.abort", {}));
  const stranger = await refusal(caller.call("sessions.send", { key: "nowhere", message: "x" }));

  assert.deepEqual(
    [sent, steered],
    [
      { runId: "k2", status: "started", messageSeq: 3 },
      { runId: "k3", status: "started", messageSeq: 3 },
    ],
  );
  assert.equal(resumed.code, "SESSION_BUSY");
  assert.deepEqual(some, { ok: true, abortedRunId: "k1", status: "aborted", runIds: ["k1"] });
  assert.equal(later.status, "ok");
  assert.deepEqual(none, { ok: true, abortedRunId: null, status: "no-active-run", runIds: [] });
  assert.deepEqual([unknown.code, unsaid.code, stranger.code], ["UNKNOWN_RUN", "INVALID_PARAMS", "UNKNOWN_SESSION"]);
});
