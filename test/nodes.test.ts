/** Commands on nodes: what is sent to whom, who may answer, and every way in which there is no answer. */
import assert from "node:assert/strict";
import { mkdtempDisposable } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { limits, ProtocolError } from "@portreeve/protocol";
import { runCli } from "./support/cli.ts";
import { type TestGateway, startGateway } from "./support/start-gateway.ts";
import { connectWire, createWireKey, type Frame, type Wire, type WireKey } from "./support/wire-client.ts";

let gw: TestGateway;
before(async () => {
  gw = await startGateway();
});
after(() => gw[Symbol.asyncDispose]());

type NodeWire = Wire & { readonly key: WireKey };

async function openNode(commands: readonly string[], { key = createWireKey(), protocol = 4 as 3 | 4 } = {}): Promise<NodeWire> {
  const client = { id: "node-host", mode: "node", displayName: "a node" };
  const wire = await connectWire(gw.url, { key, token: gw.token, role: "node", protocol, client, extra: { commands } });
  return { ...wire, key };
}

async function approve({ key }: { readonly key: WireKey }): Promise<void> {
  const { pending } = await gw.callerWith("operator.pairing").call("node.pair.list", {});
  const requestId = pending.find(({ nodeId }) => nodeId === key.id)?.requestId ?? "";
  await gw.callerWith("operator.admin").call("node.pair.approve", { requestId });
}

async function openApproved(commands: readonly string[]): Promise<NodeWire> {
  const node = await openNode(commands);
  await approve(node);
  return node;
}

let keys = 0;
function invoke({ key }: { readonly key: WireKey }, command: string, more: object = {}) {
  keys += 1;
  const ask = { nodeId: key.id, command, idempotencyKey: `key-${keys}`, ...more };
  return gw.callerWith("operator.write").call("node.invoke", ask);
}

/** The n-th command the node was sent. */
async function request(node: Wire, count = 1): Promise<Record<string, unknown>> {
  const isRequest = (frame: Frame): boolean => frame.event === "node.invoke.request";
  await node.frame((frame) => isRequest(frame) && node.frames.filter(isRequest).length >= count);
  return node.frames.filter(isRequest)[count - 1]?.payload ?? {};
}

async function answer(node: NodeWire, result: object, count = 1): Promise<Frame> {
  const { id } = await request(node, count);
  return node.request("node.invoke.result", { id, nodeId: node.key.id, ok: true, ...result });
}

function refusal(call: Promise<unknown>): Promise<ProtocolError> {
  return call.then(
    () => assert.fail("it was answered"),
    (error: unknown) => (assert.ok(error instanceof ProtocolError, String(error)), error),
  );
}

for (const protocol of [3, 4] as const) {
  test(`an approved command goes to the node alone, and its answer to the caller (protocol ${protocol})`, async () => {
    await using node = await openNode(["system.which"], { protocol });
    await using other = await openApproved(["system.which"]);
    await using owner = await connectWire(gw.url, { key: createWireKey(), token: gw.token, scopes: ["operator.admin"], protocol });
    await approve(node);

    const asked = owner.request("node.invoke", {
      nodeId: node.key.id,
      command: "system.which",
      params: { bins: ["ls"] },
      timeoutMs: 5_000,
      idempotencyKey: "which-1",
    });
    const sent = await request(node);
    const heard = await answer(node, { payloadJSON: '{"bins":{"ls":"/bin/ls"}}' });
    const { payload } = await asked;

    assert.deepEqual(
      [sent["nodeId"], sent["command"], sent["paramsJSON"], sent["timeoutMs"]],
      [node.key.id, "system.which", '{"bins":["ls"]}', 5_000],
    );
    assert.deepEqual(heard.payload, { ok: true });
    assert.deepEqual(payload, {
      ok: true,
      nodeId: node.key.id,
      command: "system.which",
      payload: { bins: { ls: "/bin/ls" } },
      payloadJSON: '{"bins":{"ls":"/bin/ls"}}',
    });
    assert.equal(node.frames.find((frame) => frame.event === "node.invoke.request")?.seq, undefined);
    for (const bystander of [other, owner]) assert.ok(!bystander.frames.some((frame) => frame.event === "node.invoke.request"));
  });

  test(`a node that is not there and one that says no are told in the words of protocol ${protocol}`, async () => {
    await using node = await openApproved(["device.info"]);
    const admin = { key: createWireKey(), token: gw.token, scopes: ["operator.admin"], protocol };
    await using owner = await connectWire(gw.url, admin);
    const ask = { nodeId: node.key.id, command: "device.info", idempotencyKey: `no-${protocol}` };

    const failing = owner.request("node.invoke", ask);
    await answer(node, { ok: false, error: { code: "BOOM", message: "node failed" } });
    const failed = (await failing).error;
    const unknown = (await owner.request("node.invoke", { ...ask, nodeId: "ab".repeat(32), idempotencyKey: "nobody" })).error;
    await node[Symbol.asyncDispose]();
    const away = await goneError(owner, ask);

    const nodeError = { code: "BOOM", message: "node failed" };
    const details = { code: "NODE_ERROR", nodeError, ...(protocol === 4 ? { nodeCommandDispatched: true } : {}) };
    assert.deepEqual([failed?.code, failed?.message, failed?.details], ["UNAVAILABLE", "BOOM: node failed", details]);
    assert.deepEqual(
      [unknown?.code, unknown?.details?.["code"], unknown?.retryable],
      ["UNAVAILABLE", protocol === 4 ? "PAIRING_CHANGED" : "NOT_CONNECTED", true],
    );
    assert.deepEqual([away?.code, away?.message, away?.details?.["code"]], ["UNAVAILABLE", "node not connected", "NOT_CONNECTED"]);
  });
}

/** The gateway learns of a closed socket a little after its peer. */
async function goneError(owner: Wire, ask: object): Promise<Frame["error"]> {
  for (;;) {
    const list = await owner.request("node.list");
    const nodes = list.payload?.["nodes"] as { nodeId: string; connected: boolean }[];
    if (nodes.every((row) => row.nodeId !== (ask as { nodeId: string }).nodeId || !row.connected)) break;
  }
  return (await owner.request("node.invoke", { ...ask, idempotencyKey: "away" })).error;
}

test("what is not declared, not approved, or beyond the caller is refused before the node hears of it", async () => {
  await using node = await openApproved(["device.info", "system.run"]);
  await using wider = await openNode(["camera.snap"], { key: node.key });

  const undeclared = await refusal(invoke(node, "device.info"));
  const unapproved = await refusal(invoke(node, "camera.snap"));
  await using again = await openNode(["device.info", "system.run"], { key: node.key });
  const beyond = await refusal(invoke(node, "system.run"));

  assert.deepEqual(
    [undeclared.code, undeclared.details],
    ["COMMAND_NOT_ALLOWED", { reason: "command not allowlisted", command: "device.info" }],
  );
  assert.equal(unapproved.message, 'node command not allowed: "camera.snap" is not approved for the node');
  assert.equal(beyond.message, "missing scope: operator.admin");
  for (const one of [node, wider, again]) assert.ok(!one.frames.some((frame) => frame.event === "node.invoke.request"));
});

test("an approved command that the node says no more is not sent, and what it says alone is not live", async () => {
  await using before = await openApproved(["device.info", "device.status"]);
  await using node = await openNode(["device.status", "camera.snap"], { key: before.key });

  const { nodes } = await gw.callerWith("operator.read").call("node.list", {});
  const row = nodes.find(({ nodeId }) => nodeId === node.key.id);
  const described = await gw.callerWith("operator.read").call("node.describe", { nodeId: node.key.id });

  assert.deepEqual(
    [row?.commands, row?.approvalState, row?.pendingDeclaredCommands, row?.connected],
    [["device.status"], "pending-approval", ["camera.snap", "device.status"], true],
  );
  assert.deepEqual({ ...described, ts: 0 }, { ...row, ts: 0 });
  assert.equal((await refusal(invoke(node, "device.info"))).code, "COMMAND_NOT_ALLOWED");
});

test("an answer counts once, and only from the connection that was asked", async () => {
  await using node = await openApproved(["device.info"]);
  await using thief = await openApproved(["device.info"]);
  const asked = invoke(node, "device.info");
  const { id } = await request(node);
  await using twin = await openNode(["device.info"], { key: node.key });
  const forged = { id, nodeId: node.key.id, ok: true, payload: "forged" };

  const ignored = [
    await thief.request("node.invoke.result", forged),
    await thief.request("node.invoke.result", { ...forged, nodeId: thief.key.id }),
    await twin.request("node.invoke.result", forged),
    await node.request("node.invoke.result", { ...forged, nodeId: thief.key.id }),
    await node.request("node.invoke.result", { ...forged, id: "nothing" }),
    await thief.request("node.invoke.progress", { invokeId: id, nodeId: node.key.id, seq: 0, chunk: "x" }),
  ];
  const progress = await node.request("node.invoke.progress", { invokeId: id, nodeId: node.key.id, seq: 0, chunk: "x" });
  const first = await node.request("node.invoke.result", { ...forged, payload: "real" });
  const second = await node.request("node.invoke.result", forged);

  assert.equal((await asked).payload, "real");
  for (const { payload } of [...ignored, second]) assert.deepEqual(payload, { ok: true, ignored: true });
  for (const { payload } of [first, progress]) assert.deepEqual(payload, { ok: true });
});

test("the same key gets the same answer and is sent once; other words under it, or a later start, are refused", async () => {
  await using node = await openApproved(["device.info"]);
  const ask = { idempotencyKey: "once", params: { a: 1 } };
  const both = [invoke(node, "device.info", ask), invoke(node, "device.info", ask)];
  await answer(node, { payload: 7 });
  const third = await invoke(node, "device.info", ask);

  assert.deepEqual(
    [...(await Promise.all(both)), third].map(({ payload }) => payload),
    [7, 7, 7],
  );
  assert.equal((await refusal(invoke(node, "device.info", { ...ask, params: { a: 2 } }))).code, "IDEMPOTENCY_MISMATCH");
  assert.equal(node.frames.filter((frame) => frame.event === "node.invoke.request").length, 1);

  await gw.restart();
  await using again = await openNode(["device.info"], { key: node.key });
  assert.equal((await refusal(invoke(again, "device.info", ask))).code, "ANSWER_NOT_KEPT");
  assert.equal((await refusal(invoke(again, "device.info", { ...ask, params: { a: 2 } }))).code, "IDEMPOTENCY_MISMATCH");
  assert.ok(!again.frames.some((frame) => frame.event === "node.invoke.request"));
});

test("a call that was not sent may be made again under its key", async () => {
  const key = createWireKey();
  await (await openNode(["device.info"], { key }))[Symbol.asyncDispose]();
  const ask = { idempotencyKey: "again" };
  const early = await refusal(invoke({ key }, "device.info", ask));
  await using node = await openNode(["device.info"], { key });
  await approve(node);

  const asked = invoke(node, "device.info", ask);
  await answer(node, { payload: "late" });

  assert.equal(early.code, "PAIRING_CHANGED");
  assert.equal((await asked).payload, "late");
});

test("an invocation ends with its node's socket, with its removal, and with what is approved for it", async () => {
  await using node = await openApproved(["device.info"]);
  await using removed = await openApproved(["device.info"]);
  await using narrowed = await openApproved(["device.info"]);
  const admin = gw.callerWith("operator.admin");
  const asked = [node, removed, narrowed].map((one) => refusal(invoke(one, "device.info")));
  await Promise.all([node, removed, narrowed].map((one) => request(one)));

  await node[Symbol.asyncDispose]();
  await admin.call("node.pair.remove", { nodeId: removed.key.id });
  await using _ = await openNode(["device.status"], { key: narrowed.key });
  await approve(narrowed);
  const { id: invokeId } = await request(narrowed);
  await narrowed.frame(({ event, payload }) => event === "node.invoke.cancel" && payload?.["invokeId"] === invokeId);
  const late = await answer(narrowed, { payload: "late" });

  assert.deepEqual(
    (await Promise.all(asked)).map(({ code, details }) => [code, details["nodeCommandDispatched"]]),
    [
      ["NOT_CONNECTED", true],
      ["PAIRING_CHANGED", true],
      ["PAIRING_CHANGED", true],
    ],
  );
  assert.deepEqual(late.payload, { ok: true, ignored: true });
});

test("a node is told when nobody waits for its answer any more, and is not asked when nobody does", async () => {
  await using node = await openApproved(["device.info"]);
  const owner = { key: createWireKey(), token: gw.token, scopes: ["operator.admin"] };
  const ask = { nodeId: node.key.id, command: "device.info", idempotencyKey: "left" };

  const caller = await connectWire(gw.url, owner);
  caller.send({ type: "req", id: "left", method: "node.invoke", params: ask });
  const { id } = await request(node);
  await caller[Symbol.asyncDispose]();
  const cancelled = await node.frame((frame) => frame.event === "node.invoke.cancel");
  const late = await node.request("node.invoke.result", { id, nodeId: node.key.id, ok: true });
  await using back = await connectWire(gw.url, owner);
  const { error } = await back.request("node.invoke", ask);

  assert.deepEqual([cancelled.payload, cancelled.seq], [{ invokeId: id, nodeId: node.key.id }, undefined]);
  assert.deepEqual(late.payload, { ok: true, ignored: true });
  assert.deepEqual([error?.details?.["code"], error?.details?.["nodeCommandDispatched"]], ["ANSWER_NOT_KEPT", true]);

  const never = { ...ask, idempotencyKey: "never" };
  const writer = gw.callerWith("operator.write");
  assert.equal((await refusal(writer.call("node.invoke", never, { signal: AbortSignal.abort() }))).code, "SHUTTING_DOWN");
  const asked = writer.call("node.invoke", never);
  await answer(node, { payload: "asked once" }, 2);
  assert.equal((await asked).payload, "asked once");
});

test("params and answers beyond their size are refused, and a node has so many commands in work and no more", async () => {
  await using node = await openApproved(["device.info"]);

  const params = await refusal(invoke(node, "device.info", { params: "x".repeat(limits.nodeParamsBytes) }));
  const big = refusal(invoke(node, "device.info"));
  await answer(node, { payload: "x".repeat(limits.nodePayloadBytes) });
  const waiting = Array.from({ length: limits.nodeInvocations }, () => invoke(node, "device.info"));
  await request(node, 1 + limits.nodeInvocations);
  const busy = await refusal(invoke(node, "device.info", { idempotencyKey: "busy" }));
  for (let count = 2; count <= 1 + limits.nodeInvocations; count += 1) await answer(node, {}, count);
  await Promise.all(waiting);
  const free = invoke(node, "device.info", { idempotencyKey: "busy" });
  await answer(node, { payload: "free" }, 2 + limits.nodeInvocations);

  assert.deepEqual([params.code, (await big).code, busy.code], ["PAYLOAD_TOO_LARGE", "PAYLOAD_TOO_LARGE", "NODE_BUSY"]);
  assert.equal((await free).payload, "free");
});

test("params that nest too deep are refused, and JSON of an answer that does is handed on as text", async () => {
  await using node = await openApproved(["device.info"]);
  const text = `${"[".repeat(5_000)}${"]".repeat(5_000)}`;
  const deep: unknown = JSON.parse(text);

  const params = await refusal(invoke(node, "device.info", { params: { deep } }));
  const asText = invoke(node, "device.info");
  await answer(node, { payloadJSON: text });

  assert.deepEqual(
    [params.code, params.message],
    ["INVALID_PARAMS", "invalid node.invoke params: at root: must NOT nest deeper than 128 levels"],
  );
  assert.deepEqual([(await asText).payload, (await asText).payloadJSON], [null, text]);
});

test("an answer is read as JSON where it can be, and handed on as it is where not", async () => {
  await using node = await openApproved(["device.info"]);
  const results: unknown[] = [];
  for (const [index, result] of [{}, { payload: { a: 1 } }, { payloadJSON: "{not json" }, { payloadJSON: null }].entries()) {
    const asked = invoke(node, "device.info");
    await answer(node, result, index + 1);
    const { payload, payloadJSON } = await asked;
    results.push([payload, payloadJSON]);
  }

  assert.deepEqual(results, [
    [null, null],
    [{ a: 1 }, '{"a":1}'],
    [null, "{not json"],
    [null, null],
  ]);
});

test("what a node reports of itself changes nothing, and only a node may report or answer", async () => {
  await using node = await openApproved(["device.info"]);
  const admin = gw.callerWith("operator.admin");

  const event = await node.request("node.event", { event: "exec.finished", payloadJSON: "{}" });
  const invoked = await node.request("node.invoke", { nodeId: node.key.id, command: "device.info", idempotencyKey: "k" });

  assert.deepEqual([event.payload?.["ok"], event.payload?.["handled"]], [true, false]);
  assert.equal(invoked.error?.message, "unauthorized role: node");
  await assert.rejects(admin.call("node.event", { event: "x" }), { code: "WRONG_CALLER" });
  await assert.rejects(admin.call("node.invoke.result", { id: "x", nodeId: "y", ok: true }), { code: "WRONG_CALLER" });
});

test("a node's name is its device's, and a node nobody knows has none", async () => {
  await using node = await openApproved([]);
  const admin = gw.callerWith("operator.admin");

  const renamed = await admin.call("node.rename", { nodeId: node.key.id, displayName: "Kitchen" });

  assert.deepEqual(renamed, { nodeId: node.key.id, displayName: "Kitchen" });
  assert.equal((await admin.call("node.describe", { nodeId: node.key.id })).displayName, "Kitchen");
  assert.equal(
    (await admin.call("device.pair.list", {})).paired.find(({ deviceId }) => deviceId === node.key.id)?.operatorLabel,
    "Kitchen",
  );
  await assert.rejects(admin.call("node.rename", { nodeId: "nobody", displayName: "x" }), { code: "UNKNOWN_DEVICE" });
  await assert.rejects(admin.call("node.describe", { nodeId: "nobody" }), { code: "UNKNOWN_DEVICE" });
});

test("work for a node waits over a restart until that node has done it, one piece of a type, the urgent first", async () => {
  await using before = await openApproved([]);
  await using other = await openApproved([]);
  const writer = gw.callerWith("operator.write");
  const nodeId = before.key.id;

  const first = await writer.call("node.pending.enqueue", { nodeId, type: "status.request", expiresInMs: 60_000 });
  const second = await writer.call("node.pending.enqueue", { nodeId, type: "location.request", priority: "high" });
  const again = await writer.call("node.pending.enqueue", { nodeId, type: "status.request" });
  const foreign = await other.request("node.pending.ack", { ids: [first.queued.id] });
  await gw.restart();
  await using node = await openNode([], { key: before.key });
  const one = await node.request("node.pending.drain", { maxItems: 1 });
  const all = await node.request("node.pending.drain");
  const done = await node.request("node.pending.ack", { ids: [second.queued.id, second.queued.id, "nothing"] });
  const rest = await node.request("node.pending.drain");
  await node.request("node.pending.ack", { ids: [first.queued.id] });
  const empty = await node.request("node.pending.drain");

  const idsOf = (frame: Frame): readonly string[] => ((frame.payload ?? {})["items"] as { id: string }[]).map(({ id }) => id);
  assert.deepEqual([again.queued.id, again.revision], [first.queued.id, second.revision + 1]);
  assert.ok((again.queued.expiresAtMs ?? 0) > (first.queued.expiresAtMs ?? 0));
  assert.deepEqual(foreign.payload, { nodeId: other.key.id, ackedIds: [], remainingCount: 0 });
  assert.deepEqual([idsOf(one), one.payload?.["hasMore"]], [[second.queued.id], true]);
  assert.deepEqual([idsOf(all), idsOf(rest), idsOf(empty)], [[second.queued.id, first.queued.id], [first.queued.id], ["baseline-status"]]);
  assert.deepEqual(done.payload, { nodeId, ackedIds: [second.queued.id], remainingCount: 1 });
  assert.deepEqual((await node.request("node.pending.pull", {})).payload, { nodeId, actions: [] });
  await assert.rejects(gw.callerWith("operator.write").call("node.pending.enqueue", { nodeId: "nobody", type: "status.request" }), {
    code: "UNKNOWN_DEVICE",
  });
});

test("the command line shows nodes, approves what one declares once it was shown, and runs a command on it", async () => {
  await using home = await mkdtempDisposable(join(tmpdir(), "portreeve-nodes-"));
  const env = { PORTREEVE_HOME: home.path, PORTREEVE_URL: gw.url, PORTREEVE_TOKEN: gw.token };
  await using node = await openNode(["device.info", "system.run"]);
  const id = node.key.id.slice(0, 16);

  const unconfirmed = await runCli(["nodes", "approve", id], env);
  const approved = await runCli(["nodes", "approve", id, "--yes"], env);
  const list = await runCli(["nodes"], env);
  const invoking = runCli(["nodes", "invoke", id, "device.info", '{"deep":true}', "--timeout", "20"], env);
  const sent = await request(node);
  await answer(node, { payload: { os: "linux" } });
  const invoked = await invoking;
  const unknown = await runCli(["nodes", "invoke", "nothing", "device.info"], env);

  assert.deepEqual([unconfirmed.code, approved.code, list.code, invoked.code], [2, 0, 0, 0], unconfirmed.err + approved.err + invoked.err);
  assert.match(unconfirmed.err, /device\.info system\.run/);
  assert.match(list.out, new RegExp(`${node.key.id.slice(0, 8)} +a node +connected +device\\.info system\\.run`));
  assert.deepEqual([sent["paramsJSON"], sent["timeoutMs"], JSON.parse(invoked.out)], ['{"deep":true}', 20_000, { os: "linux" }]);
  assert.match(unknown.err, /No node has the id nothing/);
});
