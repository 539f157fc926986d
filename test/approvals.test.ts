/** Exec approvals: who is told, who decides, once, over restarts and in time; and what a program on a node may stand on. */
import assert from "node:assert/strict";
import { mkdtempDisposable } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { ProtocolError } from "@portreeve/protocol";
import { runCli } from "./support/cli.ts";
import { createManualClock } from "./support/manual-clock.ts";
import { startGateway, type TestGateway } from "./support/start-gateway.ts";
import { connectWire, createWireKey, type Frame, type Wire, type WireKey } from "./support/wire-client.ts";

let gw: TestGateway;
before(async () => {
  gw = await startGateway();
});
after(() => gw[Symbol.asyncDispose]());

interface Open {
  readonly key?: WireKey;
  readonly protocol?: 3 | 4;
  readonly gateway?: TestGateway;
}

const asker = ["operator.approvals", "operator.write"];

function open(scopes: readonly string[], { key = createWireKey(), protocol = 4, gateway = gw }: Open = {}): Promise<Wire> {
  return connectWire(gateway.url, { key, token: gateway.token, scopes, protocol });
}

let asked = 0;
/** Asks in two steps; `ended` waits for the frame with the decision. */
async function ask(
  wire: Wire,
  params: object = {},
): Promise<{ readonly id: string; readonly ended: () => Promise<Frame>; readonly accepted: Frame }> {
  asked += 1;
  const id = `ask-${asked}`;
  wire.send({ type: "req", id, method: "exec.approval.request", params: { command: "make test", twoPhase: true, ...params } });
  const accepted = await wire.frame((frame) => frame.id === id);
  assert.equal(accepted.ok, true, JSON.stringify(accepted.error));
  const isEnd = (frame: Frame): boolean => frame.id === id && frame !== accepted;
  return { id: String(accepted.payload?.["id"]), accepted, ended: () => wire.frame(isEnd) };
}

function decide(wire: Wire, id: string, decision = "allow-once"): Promise<Frame> {
  return wire.request("exec.approval.resolve", { id, decision });
}

function heard(wire: Wire, id: string): readonly string[] {
  return wire.frames.flatMap((frame) => (frame.event?.startsWith("exec.approval") && frame.payload?.["id"] === id ? [frame.event] : []));
}

for (const protocol of [3, 4] as const) {
  test(`a request is told to those who may decide it, decided by one of them, and answered to whoever asked (protocol ${protocol})`, async () => {
    const reviewerKey = createWireKey();
    await using requester = await open(asker, { protocol });
    await using admin = await open(["operator.admin"], { protocol });
    await using reviewer = await open(["operator.approvals"], { protocol, key: reviewerKey });
    await using other = await open(["operator.approvals"], { protocol });
    await using reader = await open(["operator.read"], { protocol });

    const { id, ended, accepted } = await ask(requester, { commandArgv: ["rm", "a b"], approvalReviewerDeviceIds: [reviewerKey.id] });
    const told = await reviewer.frame((frame) => frame.event === "exec.approval.requested");
    const blind = await decide(other, id);
    const done = await decide(reviewer, id);
    const { payload } = await ended();
    await admin.frame((frame) => frame.event === "exec.approval.resolved");

    const { status, createdAtMs, expiresAtMs, deliveryRoute } = accepted.payload ?? {};
    assert.deepEqual([status, deliveryRoute], ["accepted", protocol === 4 ? "approval-client" : undefined]);
    const shown = told.payload?.["request"] as Record<string, unknown>;
    assert.deepEqual([shown["command"], shown["allowedDecisions"]], ["rm 'a b'", ["allow-once", "allow-always", "deny"]]);
    assert.deepEqual([told.payload?.["approvalKind"], "warningText" in shown], protocol === 4 ? ["exec", true] : [undefined, false]);
    assert.deepEqual([blind.error?.message, blind.error?.details?.["reason"]], ["unknown or expired approval id", "APPROVAL_NOT_FOUND"]);
    assert.deepEqual(done.payload, { ok: true });
    const end = { id, createdAtMs, expiresAtMs, decision: "allow-once" };
    assert.deepEqual(payload, protocol === 4 ? { ...end, terminalReason: "resolved" } : end);
    for (const one of [requester, admin, reviewer]) assert.deepEqual(heard(one, id), ["exec.approval.requested", "exec.approval.resolved"]);
    for (const one of [other, reader]) assert.deepEqual(heard(one, id), []);
    assert.ok((await gw.gateway.store.audit.list(20)).some((row) => row.kind === "approval.decided" && row.subject === id));
  });
}

test("a client of version 3 may shorten the id it decides, and one of version 4 may not unless it says so", async () => {
  await using requester = await open(asker);
  await using old = await open(["operator.admin"], { protocol: 3 });
  await using admin = await open(["operator.admin"]);
  const { id, ended } = await ask(requester, { id: "shorten-me-1" });
  await ask(requester, { id: "shorten-me-2" });

  const exact = await decide(admin, "shorten-me-");
  const several = await decide(old, "shorten-me-");
  const done = await decide(old, "SHORTEN-ME-1", "deny");
  const told = await old.frame(({ event, payload }) => event === "exec.approval.resolved" && payload?.["id"] === id);
  const asked = await admin.request("exec.approval.resolve", { id: "shorten-me-2".slice(0, 8), decision: "deny", matchPrefix: true });
  const endless = await admin.request("exec.approval.resolve", { id: "%".repeat(60_000), decision: "deny", matchPrefix: true });

  assert.equal(exact.error?.message, "unknown or expired approval id");
  assert.deepEqual(
    [several.error?.code, several.error?.message],
    ["INVALID_REQUEST", "ambiguous approval id prefix; matches: shorten-me-1, shorten-me-2. Use the full id."],
  );
  assert.deepEqual([done.payload, told.payload?.["decision"]], [{ ok: true }, "deny"]);
  assert.equal((await ended()).payload?.["decision"], "deny");
  assert.deepEqual(
    [asked, endless].map(({ error }) => error?.details?.["code"]),
    ["AMBIGUOUS_APPROVAL", "INVALID_PARAMS"],
  );
});

test("nobody decides what they asked, also not an admin and not over another connection of the same device", async () => {
  const key = createWireKey();
  await using requester = await open(["operator.admin"], { key });
  await using again = await open(["operator.admin"], { key });
  const { id } = await ask(requester);
  const secret = gw.callerWith("operator.admin");
  const own = secret.call("exec.approval.request", { command: "ls", id: "of-the-secret" });

  const refused = [await decide(requester, id), await decide(again, id)];
  await assert.rejects(secret.call("exec.approval.resolve", { id: "of-the-secret", decision: "deny" }), { code: "APPROVAL_OWN_REQUEST" });
  await decide(requester, "of-the-secret", "deny");

  for (const { error } of refused) {
    assert.equal(error?.details?.["code"], "APPROVAL_OWN_REQUEST");
    assert.match(error?.message ?? "", /from another device/);
  }
  assert.equal((await own).decision, "deny");
  await secret.call("exec.approval.resolve", { id, decision: "deny" });
});

test("of approvers who decide at once one decides, and whoever says the same again hears that it is so", async () => {
  await using requester = await open(asker);
  const approvers = await Promise.all(Array.from({ length: 6 }, () => open(["operator.admin"])));
  const { id, ended } = await ask(requester);
  const decisions = ["allow-once", "deny", "allow-always"];

  const answers = await Promise.all(approvers.map((wire, index) => decide(wire, id, decisions[index % 3])));
  const { payload } = await ended();
  for (const wire of approvers) await wire[Symbol.asyncDispose]();

  const agreed = answers.flatMap(({ ok }, index) => (ok === true ? [decisions[index % 3]] : []));
  assert.deepEqual(agreed, [payload?.["decision"], payload?.["decision"]]);
  const others = answers.flatMap(({ error }) => error?.details?.["reason"] ?? []);
  assert.deepEqual(others, Array(4).fill("APPROVAL_ALREADY_RESOLVED"));
  const rows = (await gw.gateway.store.audit.list(50)).filter((row) => row.kind === "approval.decided" && row.subject === id);
  assert.equal(rows.length, 1);
});

test("what waits is listed and shown to those alone who may see it, with every character of it", async () => {
  await using requester = await open(asker);
  await using admin = await open(["operator.admin"]);
  await using other = await open(["operator.approvals"]);
  const { id } = await ask(requester, { command: "echo \u202eevil", warningText: "line\nline" });

  const list = (wire: Wire): Promise<Frame> => wire.request("exec.approval.list");
  const [mine, all, none] = [await list(requester), await list(admin), await list(other)];
  const one = await admin.request("exec.approval.get", { id });
  const hidden = await other.request("exec.approval.get", { id });
  const waited = await other.request("exec.approval.waitDecision", { id });

  const idsOf = (frame: Frame): readonly unknown[] => (frame.payload as unknown as { id: string }[]).map((row) => row.id);
  assert.deepEqual([idsOf(mine).includes(id), idsOf(all).includes(id), idsOf(none)], [true, true, []]);
  assert.deepEqual([one.payload?.["commandText"], one.payload?.["status"]], [String.raw`$'echo \u202eevil'`, "pending"]);
  assert.doesNotMatch(JSON.stringify(one.payload), /\u202e|\\n/);
  for (const frame of [hidden, waited]) assert.equal(frame.error?.details?.["code"], "APPROVAL_NOT_FOUND");
  await using old = await open(["operator.admin"], { protocol: 3 });
  assert.equal((await old.request("exec.approval.list")).error?.message, "unknown method: exec.approval.list");
  await decide(admin, id, "deny");
});

test("a request that waits is decided after a restart, and whoever asked hears it by its id", async () => {
  await using gateway = await startGateway();
  const key = createWireKey();
  const { id } = await ask(await open(asker, { gateway, key }));
  await gateway.restart();
  await using requester = await open(asker, { gateway, key });
  await using admin = await open(["operator.admin"], { gateway });

  const waiting = requester.request("exec.approval.waitDecision", { id });
  const listed = await admin.request("exec.approval.list");
  await decide(admin, id, "allow-always");
  const { payload } = await waiting;
  await gateway.restart();
  await using later = await open(asker, { gateway, key });
  const again = await later.request("exec.approval.waitDecision", { id });

  assert.equal((listed.payload as unknown as unknown[]).length, 1);
  assert.equal(payload?.["decision"], "allow-always");
  assert.deepEqual(again.payload, payload);
});

test("a request that nobody decides ends in its time, also while no gateway runs, and is decided no more", async () => {
  const clock = createManualClock();
  await using gateway = await startGateway({ clock });
  const key = createWireKey();
  await using requester = await open(asker, { gateway, key });
  await using admin = await open(["operator.admin"], { gateway });
  const short = await ask(requester, { timeoutMs: 1_000 });
  const long = await ask(requester, { timeoutMs: 60_000 });
  await requester.request("exec.approval.list");

  clock.advance(1_000);
  const expired = await short.ended();
  const late = await decide(admin, short.id);
  await admin.frame((frame) => frame.event === "exec.approval.resolved" && frame.payload?.["id"] === short.id);
  await gateway.restart();
  clock.advance(60_000);
  await using again = await open(asker, { gateway, key });
  const gone = await again.request("exec.approval.waitDecision", { id: long.id });

  assert.deepEqual([expired.payload?.["decision"], expired.payload?.["terminalReason"]], [null, "expired"]);
  assert.equal(late.error?.details?.["code"], "APPROVAL_NOT_FOUND");
  assert.deepEqual([gone.payload?.["decision"], gone.payload?.["terminalReason"]], [null, "expired"]);
});

test("with its requester's device a request is gone, and what was allowed stands no longer", async () => {
  const key = createWireKey();
  const requester = await open(asker, { key });
  await using admin = await open(["operator.admin"]);
  const { id } = await ask(requester);

  await admin.request("device.pair.remove", { deviceId: key.id });
  const ended = await admin.frame((frame) => frame.event === "exec.approval.resolved" && frame.payload?.["id"] === id);

  assert.equal(ended.payload?.["decision"], null);
  assert.equal((await decide(admin, id)).error?.details?.["code"], "APPROVAL_NOT_FOUND");
});

const wrong: readonly (readonly [what: string, params: object, code: string])[] = [
  ["an id that is taken", { id: "taken" }, "APPROVAL_ID_TAKEN"],
  ["more than can be shown", { command: "x".repeat(70_000) }, "PAYLOAD_TOO_LARGE"],
  ["a variable that may change what runs", { env: { NODE_OPTIONS: "-r x" } }, "NOT_ALLOWED"],
  ["a field nobody knows", { approved: true }, "INVALID_PARAMS"],
];

test("what cannot be asked is refused by name, and so is a decision that is not offered or made for somebody", async () => {
  await using requester = await open(asker);
  await using admin = await open(["operator.admin"]);
  const { id } = await ask(requester, { id: "taken", ask: "always" });

  for (const [what, params, code] of wrong) {
    const { error } = await requester.request("exec.approval.request", { command: "ls", ...params });
    assert.equal(error?.details?.["code"], code, what);
  }
  const reviewer = { channel: "chat", accountId: "a", senderId: "owner" };
  const forSomebody = await admin.request("exec.approval.resolve", { id, decision: "deny", reviewer });
  assert.equal(forSomebody.error?.message, "not allowed: reviewer");
  for (const decision of ["allow-always", "yes"]) assert.equal((await decide(admin, id, decision)).error?.message, "invalid decision");
  assert.equal((await decide(admin, id.slice(0, 3), "deny")).error?.details?.["code"], "APPROVAL_NOT_FOUND");
  assert.deepEqual((await decide(admin, id, "deny")).payload, { ok: true });
});

test("so many requests of one requester wait and no more", async () => {
  await using requester = await open(asker);
  await using admin = await open(["operator.admin"]);
  const ids = [];
  for (let count = 0; count < 32; count += 1) ids.push((await ask(requester)).id);

  const beyond = await requester.request("exec.approval.request", { command: "ls" });
  await decide(admin, ids[0] ?? "", "deny");

  assert.equal(beyond.error?.details?.["code"], "TOO_MANY_APPROVALS");
  const { id } = await ask(requester);
  for (const one of [...ids.slice(1), id]) await decide(admin, one, "deny");
});

test("a request that needs somebody to hear it ends at once when nobody may decide it", async () => {
  await using gateway = await startGateway();
  await using requester = await open(asker, { gateway });
  const answer = await requester.request("exec.approval.request", { command: "ls", requireDeliveryRoute: true });

  assert.deepEqual([answer.payload?.["decision"], answer.payload?.["terminalReason"]], [null, "no-route"]);
});

test("the gateway's own policy is that it runs nothing unasked, shown to an admin alone", async () => {
  const policy = await gw.callerWith("operator.admin").call("exec.approvals.get", {});

  assert.deepEqual([policy.exists, policy.resolvedDefaults.security, policy.resolvedDefaults.askFallback], [false, "deny", "deny"]);
  await assert.rejects(gw.callerWith("operator.approvals").call("exec.approvals.get", {}), { message: "missing scope: operator.admin" });
});

const argv = ["/usr/bin/make", "test"];

/** An approved node that runs programs. */
async function openHost(): Promise<{ readonly wire: Wire; readonly id: string }> {
  const key = createWireKey();
  const extra = { commands: ["system.run"] };
  const wire = await connectWire(gw.url, { key, token: gw.token, role: "node", client: { id: "node-host", mode: "node" }, extra });
  const admin = gw.callerWith("operator.admin");
  const { pending } = await admin.call("node.pair.list", {});
  await admin.call("node.pair.approve", { requestId: pending.find(({ nodeId }) => nodeId === key.id)?.requestId ?? "" });
  return { wire, id: key.id };
}

function planOf(over: object = {}): object {
  return { argv, cwd: "/srv", commandText: "make test", agentId: null, sessionKey: null, ...over };
}

/** An approval for `argv` on the node, decided. */
async function allowed(requester: Wire, nodeId: string, decision = "allow-once", over: object = {}): Promise<string> {
  const { id } = await ask(requester, { host: "node", nodeId, systemRunPlan: planOf(), env: { LANG: "C" }, ...over });
  await gw.callerWith("operator.admin").call("exec.approval.resolve", { id, decision });
  return id;
}

function run(requester: Wire, nodeId: string, params: object): Promise<Frame> {
  asked += 1;
  const ask = { nodeId, command: "system.run", idempotencyKey: `run-${asked}` };
  const exact = { command: argv, cwd: "/srv", env: { LANG: "C" }, systemRunPlan: planOf() };
  return requester.request("node.invoke", { ...ask, params: { ...exact, ...params } });
}

function sentTo(node: Wire): readonly Record<string, unknown>[] {
  return node.frames.flatMap((frame) => (frame.event === "node.invoke.request" ? [frame.payload ?? {}] : []));
}

test("an approval lets its requester run exactly what was approved, on that node, once, and the node is told so by the gateway", async () => {
  const host = await openHost();
  await using node = host.wire;
  await using requester = await open(asker);
  const runId = await allowed(requester, host.id, "allow-always");

  const running = run(requester, host.id, { runId, approved: false, approvalDecision: "deny", rawCommand: "rm -rf /" });
  const sent = await node.frame((frame) => frame.event === "node.invoke.request");
  await node.request("node.invoke.result", { id: sent.payload?.["id"], nodeId: host.id, ok: true, payload: { exitCode: 0 } });
  const answer = await running;
  const second = await run(requester, host.id, { runId });

  assert.deepEqual(JSON.parse(String(sent.payload?.["paramsJSON"])), {
    command: argv,
    cwd: "/srv",
    env: { LANG: "C" },
    systemRunPlan: planOf(),
    runId,
    approved: true,
    approvalDecision: "allow-once",
  });
  assert.deepEqual(answer.payload?.["payload"], { exitCode: 0 });
  assert.equal(second.error?.details?.["code"], "APPROVAL_UNUSABLE");
  assert.equal(sentTo(node).length, 1);
  assert.ok((await gw.gateway.store.audit.list(20)).some((row) => row.kind === "approval.used" && row.subject === runId));
});

test("whatever differs from what was approved is not run, whoever else asks is not either, and the approval is still there", async () => {
  const [host, other] = [await openHost(), await openHost()];
  await using node = host.wire;
  await using otherNode = other.wire;
  await using requester = await open(asker);
  await using thief = await open(asker);
  await using _ = await open(["operator.admin"]);
  const runId = await allowed(requester, host.id);
  const file = { argvIndex: 1, path: "/srv/test", sha256: "ab" };

  const refused = [
    await run(requester, host.id, { runId, command: [...argv, "-B"], systemRunPlan: planOf({ argv: [...argv, "-B"] }) }),
    await run(requester, host.id, {
      runId,
      command: ["/usr/bin/make", "test "],
      systemRunPlan: planOf({ argv: ["/usr/bin/make", "test "] }),
    }),
    await run(requester, host.id, { runId, cwd: "/tmp", systemRunPlan: planOf({ cwd: "/tmp" }) }),
    await run(requester, host.id, { runId, env: { LANG: "C", TERM: "xterm" } }),
    await run(requester, host.id, { runId, env: {} }),
    await run(requester, host.id, { runId, systemRunPlan: planOf({ mutableFileOperand: file }) }),
    await run(requester, host.id, { runId, systemRunPlan: planOf({ commandText: "make all" }) }),
    await run(requester, host.id, { runId, systemRunPlan: planOf({ agentId: "main" }) }),
    await run(requester, host.id, { runId: "nothing" }),
    await run(requester, other.id, { runId }),
    await run(thief, host.id, { runId }),
  ];
  const contradicting = await run(requester, host.id, { runId, command: ["/bin/sh"] });
  const loaded = await run(requester, host.id, { runId, env: { LD_PRELOAD: "x.so" } });
  assert.deepEqual(
    refused.map(({ error }) => error?.details?.["code"]),
    Array(refused.length).fill("APPROVAL_UNUSABLE"),
  );
  assert.deepEqual([contradicting.error?.details?.["code"], loaded.error?.details?.["code"]], ["INVALID_PARAMS", "NOT_ALLOWED"]);
  assert.deepEqual([sentTo(node), sentTo(otherNode)], [[], []]);

  const running = run(requester, host.id, { runId });
  const sent = await node.frame((frame) => frame.event === "node.invoke.request");
  await node.request("node.invoke.result", { id: sent.payload?.["id"], nodeId: host.id, ok: true });
  assert.equal((await running).ok, true);
});

test("what waits, was denied, has ended with its node, or was only said by the caller opens nothing", async () => {
  const host = await openHost();
  await using node = host.wire;
  await using requester = await open(asker);
  const admin = gw.callerWith("operator.admin");
  const { id: waiting } = await ask(requester, { host: "node", nodeId: host.id, systemRunPlan: planOf(), env: { LANG: "C" } });
  const denied = await allowed(requester, host.id, "deny");
  const runId = await allowed(requester, host.id);

  const codes = [];
  for (const params of [{ runId: waiting }, { runId: denied }, {}, { approved: true }])
    codes.push((await run(requester, host.id, params)).error?.details?.["code"]);
  const said = admin.call("node.invoke", {
    nodeId: host.id,
    command: "system.run",
    params: { command: argv, approved: true },
    idempotencyKey: "said",
  });
  await assert.rejects(said, (error) => error instanceof ProtocolError && error.code === "NOT_ALLOWED");
  await admin.call("node.pair.remove", { nodeId: host.id });
  await node.closed;

  assert.deepEqual(codes, ["APPROVAL_UNUSABLE", "APPROVAL_UNUSABLE", "MISSING_SCOPE", "MISSING_SCOPE"]);
  assert.deepEqual(sentTo(node), []);
  const after = await requester.request("exec.approval.waitDecision", { id: runId });
  assert.deepEqual([after.payload?.["decision"], after.payload?.["terminalReason"]], [null, "cancelled"]);
});

test("an admin runs a program on a node with their own authority, and the node is told of no approval", async () => {
  const host = await openHost();
  await using node = host.wire;
  const admin = gw.callerWith("operator.admin");

  const params = { command: argv, rawCommand: "rm -rf /", needsScreenRecording: false };
  const running = admin.call("node.invoke", { nodeId: host.id, command: "system.run", params, idempotencyKey: "own" });
  const sent = await node.frame((frame) => frame.event === "node.invoke.request");
  await node.request("node.invoke.result", { id: sent.payload?.["id"], nodeId: host.id, ok: true, payload: 1 });

  assert.equal((await running).payload, 1);
  assert.deepEqual(JSON.parse(String(sent.payload?.["paramsJSON"])), { command: argv });
});

test("the command line shows what waits in full, and decides once it was shown", async () => {
  await using gateway = await startGateway();
  await using home = await mkdtempDisposable(join(tmpdir(), "portreeve-approvals-"));
  const env = { PORTREEVE_HOME: home.path, PORTREEVE_URL: gateway.url, PORTREEVE_TOKEN: gateway.token };
  await using requester = await open(asker, { gateway });
  const none = await runCli(["approvals"], env);
  const first = await ask(requester, { id: "first", commandArgv: ["sh", "-c", `${"x".repeat(300)} end`, "\u001b[2K\u202e"] });
  const second = await ask(requester, { id: "second", env: { LANG: "C" }, cwd: "/srv" });

  const list = await runCli(["approvals", "list"], env);
  const unconfirmed = await runCli(["approvals", "approve", "first"], env);
  const approved = await runCli(["approvals", "approve", "first", "--yes"], env);
  const denied = await runCli(["approvals", "deny", "sec"], env);
  const gone = await runCli(["approvals", "deny", "first"], env);

  assert.match(none.out, /Nothing waits/);
  for (const shown of [list.out, unconfirmed.err]) {
    assert.ok(shown.includes(`sh -c '${"x".repeat(300)} end' $'\\u001b[2K\\u202e'`), shown);
    assert.doesNotMatch(shown, /[\u001b\u202e]/);
  }
  assert.match(list.out, /folder +\/srv\n +with +LANG=C/);
  assert.deepEqual([unconfirmed.code, approved.code, denied.code, gone.code], [2, 0, 0, 1]);
  const decisions = [(await first.ended()).payload?.["decision"], (await second.ended()).payload?.["decision"]];
  assert.deepEqual(decisions, ["allow-once", "deny"]);
});
