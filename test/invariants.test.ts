/** The invariants of authority, by number: in process and over a real socket. */
import assert from "node:assert/strict";
import test from "node:test";
import { covers, methods, scopeNames, type MethodDefinition, type Scope } from "@portreeve/protocol";
import { z } from "zod";
import { createCaller } from "../packages/gateway/src/dispatch/caller.ts";
import { lifecyclePrincipal, runPrincipal, secretPrincipal } from "../packages/gateway/src/principal/principal.ts";
import { defineTool } from "../packages/gateway/src/tools/tool.ts";
import { callTools, say, startFakeOpenAi } from "./support/fake-openai.ts";
import { script, spawnStep } from "./support/script.ts";
import { startGateway, type TestGateway } from "./support/start-gateway.ts";
import { dumpPairing, storedStates, storeDevice, tamper } from "./support/stored-pairing.ts";
import { connectParams, connectWire, createWireKey, type Frame, openWire, refusedConnect, type Wire } from "./support/wire-client.ts";

const splitInTwo = script(
  "split",
  { call: [spawnStep("left", { say: "L" }), spawnStep("right", { say: "R" })] },
  { awaitChildren: true },
  { say: "{{children}}" },
);
const admin: readonly Scope[] = ["operator.admin"];

/** Asks in process for a run that spawns two children; fails unless both were accepted, ran and were announced. */
async function spawnTwoInside(gw: TestGateway, key = "inside"): Promise<void> {
  const before = await gw.callerWith("operator.read").call("status", {});
  const { status, result } = await gw.callerWith(...admin).call("agent", { message: splitInTwo, idempotencyKey: key });
  const after = await gw.callerWith("operator.read").call("status", {});

  assert.equal(status, "ok");
  assert.match(result.payloads[0]?.text ?? "", /L[^]*R|R[^]*L/);
  for (const count of ["accepted", "completed", "announced"] as const)
    assert.equal(after.children[count] - before.children[count], 2, count);
}

/** The same over a socket with the shared secret and no device. */
async function spawnTwoOverSocket(gw: TestGateway, key = "socket"): Promise<void> {
  await using wire = await connectWire(gw.url, { token: gw.token, scopes: admin });
  const answer = await runOver(wire, splitInTwo, key);

  assert.equal(answer.payload?.["status"], "ok");
}

/** Starts a run over a socket and answers its final response. */
async function runOver(wire: Wire, message: string, key: string): Promise<Frame> {
  wire.send({ type: "req", id: key, method: "agent", params: { message, idempotencyKey: key } });
  return wire.frame((frame) => frame.id === key && frame.payload?.["status"] !== "accepted");
}

/** Pairs a fresh device over loopback and answers its key and token. */
async function pair(gw: TestGateway, scopes: readonly string[]) {
  const key = createWireKey();
  await using wire = await connectWire(gw.url, { key, token: gw.token, scopes });
  const auth = wire.hello["auth"] as { deviceToken: string };
  return { key, deviceToken: auth.deviceToken };
}

const spawnTwo = { "in process": spawnTwoInside, "over a socket": spawnTwoOverSocket };

for (const [door, spawn] of Object.entries(spawnTwo)) {
  test(`1. a spawn asked for ${door} opens no socket and touches no pairing row`, async () => {
    await using gw = await startGateway();
    const before = dumpPairing(gw.stateDir);
    const accepted = gw.gateway.listener.counts().accepted;

    await spawn(gw);

    assert.equal(gw.gateway.listener.counts().accepted - accepted, door === "in process" ? 0 : 1);
    assert.equal(dumpPairing(gw.stateDir), before);
  });

  for (const state of storedStates) {
    test(`2. with a stored device in state ${state}, a spawn asked for ${door} succeeds and the pairing tables stay the same`, async () => {
      await using gw = await startGateway();
      if (state !== "none") storeDevice(gw.stateDir, state);
      const before = dumpPairing(gw.stateDir);

      await spawn(gw);

      assert.equal(dumpPairing(gw.stateDir), before);
    });
  }

  test(`3. the first spawn on fresh state, asked for ${door}, needs no prompt`, async () => {
    await using gw = await startGateway();

    await spawn(gw);

    assert.deepEqual((await gw.callerWith("operator.read").call("status", {})).pairing, { requestsCreated: 0, pending: 0 });
  });

  test(`4. calls from inside a run asked for ${door} emit no pairing request and nobody is closed with 1008`, async () => {
    await using gw = await startGateway();
    await using watcher = await connectWire(gw.url, { token: gw.token, scopes: ["operator.pairing", "operator.read"] });
    const asked: unknown[] = [];
    gw.gateway.bus.subscribe("device.pair.requested", (event) => asked.push(event));

    await spawn(gw);
    await watcher.request("health");

    assert.deepEqual(asked, []);
    assert.deepEqual(
      watcher.frames.filter((frame) => frame.event?.startsWith("device.pair.")),
      [],
    );
    assert.equal(
      gw.logLines.some((line) => /1008|pairing required/.test(JSON.stringify(line))),
      false,
    );
  });
}

test("5. a headless caller gets a typed final error, not a wait for somebody's approval", async () => {
  await using gw = await startGateway();
  const { key } = await pair(gw, ["operator.read"]);

  const { error, close } = await refusedConnect(gw.url, { key, token: gw.token, scopes: admin });

  assert.equal(error.code, "NOT_PAIRED");
  assert.equal(error.details?.["code"], "PAIRING_REQUIRED");
  assert.match(String(error.details?.["remediationHint"]), /devices approve/);
  assert.equal(close.code, 1008);
});

for (const held of [["operator.admin"], ["operator.write"], ["operator.admin", "operator.pairing", "operator.approvals"]] as const) {
  test(`6. the launch of a child carries no admin when the parent was started with ${held.join(" and ")}`, async () => {
    await using gw = await startGateway();

    await gw.callerWith(...held).call("agent", { message: splitInTwo, idempotencyKey: "k" });
    const { sessions } = await gw.callerWith("operator.read").call("sessions.list", { spawnedBy: "main" });

    assert.equal(sessions.length, 2);
    for (const session of sessions) assert.deepEqual(session.scopes, ["operator.write"]);
  });
}

/** A tool only the owner may use, and the sessions that did. */
function createOwnerTool() {
  const used: string[] = [];
  const tool = defineTool({
    name: "owner_tool",
    description: "Only for the owner.",
    parameters: z.strictObject({}),
    repeat: "ask",
    ownerOnly: true,
    execute: (_args, context) => Promise.resolve({ text: `used by ${used.push(context.sessionKey)}` }),
  });
  return { tool, used };
}

test("7. an owner-only tool is there for the owner's run, absent from a child's list, and refused to it at execution", async () => {
  const { tool: ownerTool, used } = createOwnerTool();
  await using provider = await startFakeOpenAi({
    handler: ({ body }) => {
      const messages = body.messages ?? [];
      const isChild = messages.some((message) => message.role === "user" && String(message.content).startsWith("CHILD"));
      const turns = messages.filter((message) => message.role === "assistant").length;
      if (isChild) return turns === 0 ? callTools({ id: "steal", name: "owner_tool", args: {} }) : say("child done");
      if (turns === 0)
        return callTools({ id: "own", name: "owner_tool", args: {} }, { id: "spawn", name: "sessions_spawn", args: { task: "CHILD" } });
      return turns === 1 ? callTools({ id: "wait", name: "sessions_yield", args: {} }) : say("done");
    },
  });
  const config = {
    models: { providers: { fake: { api: "openai-compatible", baseUrl: provider.baseUrl } } },
    agents: { defaults: { model: "fake/m" } },
  };
  await using gw = await startGateway({ config, tools: [ownerTool] });

  await gw.callerWith(...admin).call("agent", { message: "go", idempotencyKey: "k" });
  const [child] = (await gw.callerWith("operator.read").call("sessions.list", { spawnedBy: "main" })).sessions;
  const { messages } = await gw.callerWith("operator.read").call("chat.history", { sessionKey: child?.key ?? "" });

  assert.equal(child?.status, "succeeded");
  assert.deepEqual(used, ["agent:main:main"]);
  assert.equal(provider.requests.length, 5);
  assert.match(JSON.stringify(messages), /There is no tool \\"owner_tool\\" for this run/);
  for (const { body } of provider.requests) {
    const isChild = body.messages?.some((message) => message.role === "user" && message.content === "CHILD") ?? false;
    assert.equal(
      body.tools?.some((tool) => tool.function.name === "owner_tool"),
      !isChild,
    );
  }
});

test("7. without admin the starter's own run is not the owner's either", async () => {
  const { tool, used } = createOwnerTool();
  await using gw = await startGateway({ tools: [tool] });
  const message = script("go", { call: [{ tool: "owner_tool", args: {} }] }, { say: "done" });

  await gw.callerWith("operator.write", "operator.pairing").call("agent", { message, sessionKey: "writer", idempotencyKey: "w" });
  await gw.callerWith(...admin).call("agent", { message, sessionKey: "owner", idempotencyKey: "a" });

  assert.deepEqual(used, ["agent:main:owner"]);
});

test("8. the lifecycle capability deletes its own child's session and does nothing else", async () => {
  await using gw = await startGateway();
  for (const key of ["agent:main:subagent:mine", "agent:main:subagent:other"])
    await gw.callerWith("operator.write").call("sessions.patch", { key });
  const lifecycle = createCaller(gw.gateway.dispatch, lifecyclePrincipal("agent:main:subagent:mine"));

  await assert.rejects(lifecycle.call("sessions.delete", { key: "agent:main:subagent:other" }), { code: "WRONG_CALLER" });
  await assert.rejects(lifecycle.call("sessions.patch", { key: "agent:main:subagent:mine", label: "x" }), { code: "WRONG_CALLER" });
  await assert.rejects(lifecycle.call("status", {}), { code: "WRONG_CALLER" });

  assert.equal((await lifecycle.call("sessions.delete", { key: "agent:main:subagent:mine" })).deleted, true);
  assert.deepEqual(
    (await gw.callerWith("operator.read").call("sessions.list", {})).sessions.map((session) => session.key),
    ["agent:main:subagent:other"],
  );
});

test("9. explicit scopes are honoured exactly: an empty set is refused, a narrower one narrows, a wider one does not widen", async () => {
  await using gw = await startGateway();
  const writer = gw.callerWith("operator.write");

  await assert.rejects(writer.call("status", {}, { scopes: [] }), { code: "MISSING_SCOPE" });
  await assert.rejects(writer.call("sessions.patch", { key: "main", label: "x" }, { scopes: ["operator.read"] }), {
    code: "MISSING_SCOPE",
  });
  await assert.rejects(writer.call("device.pair.list", {}, { scopes: admin }), { code: "MISSING_SCOPE" });
  assert.equal((await writer.call("status", {}, { scopes: ["operator.read"] })).sessions.count, 0);
});

test("9. a socket that asked for no scopes has none", async () => {
  await using gw = await startGateway();
  const key = createWireKey();
  await using first = await connectWire(gw.url, { key, token: gw.token, scopes: admin });
  await using none = await connectWire(gw.url, { key, token: gw.token, scopes: [] });

  const answers = await Promise.all([none.request("health"), none.request("status"), first.request("status")]);

  assert.deepEqual(
    answers.map((answer) => answer.ok),
    [true, false, true],
  );
  assert.equal(answers[1]?.error?.message, "missing scope: operator.read");
});

/** What a caller with exactly one scope must be told for each method, from the definitions alone. */
const matrix = Object.entries(methods as unknown as Record<string, MethodDefinition>).flatMap(([name, { scope, callers }]) =>
  scopeNames.map((held) => {
    const needed = scope === "none" ? undefined : typeof scope === "string" ? scope : scope.malformed;
    const allowed = callers.includes("operator") && (needed === undefined || covers([held], needed));
    return { name, held, allowed };
  }),
);

test("10. every method is refused to every scope that does not cover it, in process", async () => {
  await using gw = await startGateway();

  for (const { name, held, allowed } of matrix) {
    const outcome = await gw.gateway
      .dispatch(secretPrincipal([held]), name, { __proto__: null, malformed: true }, { signal: AbortSignal.timeout(10_000) })
      .then(
        () => "answered",
        (error: { code: string }) => error.code,
      );

    assert.equal(outcome !== "MISSING_SCOPE" && outcome !== "WRONG_CALLER", allowed, `${name} with ${held}: ${outcome}`);
  }
});

test("10. every method is refused to every scope that does not cover it, over a socket", async () => {
  await using gw = await startGateway();

  for (const held of scopeNames) {
    await using wire = await connectWire(gw.url, { token: gw.token, scopes: [held] });
    for (const { name, allowed } of matrix.filter((row) => row.held === held)) {
      const { error } = await wire.request(name, { malformed: true });
      const isRefused = error?.details?.["code"] === "MISSING_SCOPE" || error?.details?.["code"] === "WRONG_CALLER";

      assert.equal(!isRefused, allowed, `${name} with ${held}: ${JSON.stringify(error)}`);
    }
  }
});

test("11. a run that has ended spawns nothing with its old authority", async () => {
  await using gw = await startGateway();
  await gw.callerWith(...admin).call("agent", { message: "hello", idempotencyKey: "k" });
  const run = await gw.gateway.store.runs.findByWireId("k", {});
  assert.ok(run !== undefined);
  const late = createCaller(gw.gateway.dispatch, runPrincipal(run));

  await assert.rejects(late.call("subagents.spawn", { task: "x", idempotencyKey: "late" }), { code: "UNKNOWN_RUN" });
  assert.equal((await gw.callerWith("operator.read").call("status", {})).children.accepted, 0);
});

test("11. a run inherits nothing from the connection that started it but what its row says", async () => {
  await using gw = await startGateway();
  await gw.callerWith(...admin).call("agent", { message: "hello", idempotencyKey: "k" });
  const run = await gw.gateway.store.runs.findByWireId("k", {});
  assert.ok(run !== undefined);
  const inside = createCaller(gw.gateway.dispatch, runPrincipal(run));

  assert.deepEqual(run.authority.scopes, ["operator.write"]);
  for (const call of [
    () => inside.call("device.pair.list", {}),
    () => inside.call("sessions.delete", { key: "main" }),
    () => inside.call("agent", { message: "x", idempotencyKey: "y" }),
  ]) {
    await assert.rejects(call, (error: { code: string }) => error.code === "MISSING_SCOPE" || error.code === "WRONG_CALLER");
  }
});

const disguises = [
  { id: "gateway-client", mode: "backend" },
  { id: "cli", mode: "cli" },
  { id: "openclaw-control-ui", mode: "webchat" },
  { id: "openclaw-macos", mode: "ui" },
  { id: "openclaw-probe", mode: "probe" },
  { id: "test", mode: "test", displayName: "root", version: "999", userAgent: "admin" },
];

for (const { userAgent, ...client } of disguises.map((disguise) => ({ userAgent: undefined, ...disguise }))) {
  test(`12. and 14. a device paired at read gains nothing by calling itself ${client.id}/${client.mode}`, async () => {
    await using gw = await startGateway();
    const { key } = await pair(gw, ["operator.read"]);
    const headers = client.id === "openclaw-control-ui" ? { origin: gw.url.replace("ws:", "http:") } : {};

    const { error } = await refusedConnect(
      gw.url,
      { key, token: gw.token, scopes: admin, client, extra: userAgent === undefined ? {} : { userAgent } },
      headers,
    );

    assert.equal(error.details?.["reason"], "scope-upgrade");
  });
}

test("13. a device paired at read that asks for admin with the secret gets one pending request and keeps exactly what it had", async () => {
  await using gw = await startGateway();
  const { key, deviceToken } = await pair(gw, ["operator.read"]);
  const before = await gw.gateway.store.devices.find(key.id);
  await using watcher = await connectWire(gw.url, { token: gw.token, scopes: ["operator.pairing"] });

  for (let attempt = 0; attempt < 3; attempt += 1) await refusedConnect(gw.url, { key, token: gw.token, scopes: admin });
  await using reader = await connectWire(gw.url, { key, deviceToken, scopes: ["operator.read"] });
  const list = await watcher.request("device.pair.list");
  const denied = await reader.request("sessions.patch", { key: "main", label: "x" });

  const pending = list.payload?.["pending"] as { deviceId: string; scopes: string[]; reason: string }[];
  assert.deepEqual(
    pending.map((request) => [request.deviceId, request.scopes, request.reason]),
    [[key.id, ["operator.admin"], "scope-upgrade"]],
  );
  assert.equal(watcher.frames.filter((frame) => frame.event === "device.pair.requested").length, 1);
  const after = await gw.gateway.store.devices.find(key.id);
  assert.deepEqual(after.kind === "paired" && after.device.grants, before.kind === "paired" && before.device.grants);
  assert.equal(denied.error?.message, "missing scope: operator.write");
});

test("13. the refused upgrade is one log line with reason, client, scopesFrom and scopesTo", async () => {
  await using gw = await startGateway();
  const { key } = await pair(gw, ["operator.read"]);

  await refusedConnect(gw.url, { key, token: gw.token, scopes: admin });
  const lines = gw.logLines.filter((line) => line.facts["reason"] === "scope-upgrade");

  assert.equal(lines.length, 1);
  assert.deepEqual(
    [lines[0]?.facts["client"], lines[0]?.facts["scopesFrom"], lines[0]?.facts["scopesTo"]],
    ["test", ["operator.read"], ["operator.admin"]],
  );
});

test("13. a device token that asks above its scopes is refused without a pending request, in both versions' words", async () => {
  await using gw = await startGateway();
  const { key, deviceToken } = await pair(gw, ["operator.read"]);

  const v4 = await refusedConnect(gw.url, { key, deviceToken, scopes: admin });
  const v3 = await refusedConnect(gw.url, { key, deviceToken, scopes: admin, protocol: 3 });

  assert.deepEqual([v4.error.details?.["code"], v3.error.details?.["code"]], ["AUTH_SCOPE_MISMATCH", "AUTH_DEVICE_TOKEN_MISMATCH"]);
  assert.deepEqual((await gw.callerWith("operator.read").call("status", {})).pairing, { requestsCreated: 0, pending: 0 });
});

test("15. a pending and a rejected upgrade of one device disturb no other device and no internal call", async () => {
  await using gw = await startGateway();
  const troubled = await pair(gw, ["operator.read"]);
  const quiet = await pair(gw, ["operator.write"]);

  await refusedConnect(gw.url, { key: troubled.key, token: gw.token, scopes: admin });
  await spawnTwoInside(gw, "while pending");
  await using other = await connectWire(gw.url, { key: quiet.key, deviceToken: quiet.deviceToken, scopes: ["operator.write"] });
  const [request] = (await gw.callerWith("operator.pairing").call("device.pair.list", {})).pending;
  await gw.callerWith("operator.pairing").call("device.pair.reject", { requestId: request?.requestId ?? "" });
  await spawnTwoInside(gw, "after rejection");

  assert.equal((await runOver(other, splitInTwo, "other device")).payload?.["status"], "ok");
  await using still = await connectWire(gw.url, { key: troubled.key, deviceToken: troubled.deviceToken, scopes: ["operator.read"] });
  assert.equal((await still.request("status")).ok, true);
});

test("16. an approval that races the handshakes it is for lets the device in, and leaves nothing waiting", async () => {
  await using gw = await startGateway();
  const { key } = await pair(gw, ["operator.read"]);
  const { error } = await refusedConnect(gw.url, { key, token: gw.token, scopes: admin });
  const owner = gw.callerWith("operator.admin");

  const wires = await Promise.all(Array.from({ length: 8 }, () => openWire(gw.url)));
  const asked = wires.map((wire) => wire.request("connect", connectParams(wire, { key, token: gw.token, scopes: admin })));
  await owner.call("device.pair.approve", { requestId: String(error.details?.["requestId"]) });
  const answers = await Promise.all(asked);
  await using after = await connectWire(gw.url, { key, token: gw.token, scopes: admin });

  assert.ok(answers.every((answer) => answer.ok === true || answer.error?.details?.["code"] === "PAIRING_REQUIRED"));
  assert.equal((await after.request("device.pair.list")).ok, true);
  assert.deepEqual((await owner.call("device.pair.list", {})).pending, []);
});

test("16. a rejection that races the handshakes it is for lets nobody in and resurrects nothing it decided", async () => {
  await using gw = await startGateway();
  const { key } = await pair(gw, ["operator.read"]);
  const { error } = await refusedConnect(gw.url, { key, token: gw.token, scopes: admin });
  const owner = gw.callerWith("operator.admin");
  const requestId = String(error.details?.["requestId"]);

  const wires = await Promise.all(Array.from({ length: 8 }, () => openWire(gw.url)));
  const asked = wires.map((wire) => wire.request("connect", connectParams(wire, { key, token: gw.token, scopes: admin })));
  await owner.call("device.pair.reject", { requestId });
  const answers = await Promise.all(asked);
  const { pending } = await owner.call("device.pair.list", {});
  const state = await gw.gateway.store.devices.find(key.id);

  assert.ok(answers.every((answer) => answer.error?.details?.["code"] === "PAIRING_REQUIRED"));
  assert.equal(
    pending.some((request) => request.requestId === requestId),
    false,
  );
  await assert.rejects(owner.call("device.pair.approve", { requestId }), { code: "UNKNOWN_REQUEST" });
  assert.deepEqual(state.kind === "paired" && state.device.grants.map((grant) => grant.scopes), [["operator.read"]]);
});

test("17. silent first pairing is written to the audit and happens only for a direct local peer", async () => {
  await using gw = await startGateway({ config: { gateway: { trustedProxies: ["127.0.0.1"] } } });

  const { key } = await pair(gw, ["operator.read"]);
  const remote = await refusedConnect(
    gw.url,
    { key: createWireKey(), token: gw.token, scopes: ["operator.read"] },
    { "x-forwarded-for": "203.0.113.9" },
  );
  const audit = await gw.gateway.store.audit.list(10);

  assert.deepEqual(
    audit.map((row) => [row.kind, row.subject, row.facts["scopes"]]),
    [["device.paired", key.id, ["operator.read"]]],
  );
  assert.equal(remote.error.details?.["reason"], "not-paired");
});

test("17. switched off, a local device waits for an approval like any other, and internal calls work", async () => {
  await using gw = await startGateway({ config: { gateway: { pairing: { autoApproveLocal: false } } } });
  const key = createWireKey();

  const { error } = await refusedConnect(gw.url, { key, token: gw.token, scopes: ["operator.read"] });
  await spawnTwoInside(gw);
  await spawnTwoOverSocket(gw);
  await gw.callerWith("operator.admin").call("device.pair.approve", { requestId: String(error.details?.["requestId"]) });
  await using wire = await connectWire(gw.url, { key, token: gw.token, scopes: ["operator.read"] });

  assert.equal(error.details?.["reason"], "not-paired");
  assert.equal((await wire.request("status")).ok, true);
});

test("19. and 20. a spawn is accepted only with a durable run and session; a failure in the middle leaves neither", async () => {
  await using gw = await startGateway();
  const caller = gw.callerWith("operator.write");
  const good = await caller.call("subagents.spawn", { task: script("x", { say: "y" }), idempotencyKey: "good" });
  const before = await caller.call("status", {});

  tamper(gw.stateDir, "create trigger no_audit before insert on audit begin select raise(abort, 'the audit is down'); end");
  await assert.rejects(caller.call("subagents.spawn", { task: "z", idempotencyKey: "bad" }), { code: "INTERNAL" });
  tamper(gw.stateDir, "drop trigger no_audit");
  const after = await caller.call("status", {});
  const again = await caller.call("subagents.spawn", { task: script("z", { say: "z" }), idempotencyKey: "bad" });

  assert.equal((await gw.gateway.store.runs.find(good.runId))?.sessionKey, good.childSessionKey);
  assert.deepEqual([after.children.accepted, after.sessions.count], [before.children.accepted, before.sessions.count]);
  assert.equal(again.status, "accepted");
});

test("20. a failed spawn inside a run is told to the model, and the run goes on", async () => {
  await using gw = await startGateway();
  tamper(
    gw.stateDir,
    "create table keep (x); create trigger no_child before insert on runs when new.depth > 0 begin select raise(abort, 'no'); end",
  );

  const { result } = await gw
    .callerWith("operator.write")
    .call("agent", { message: script("go", { call: [spawnStep("a", { say: "x" })] }, { say: "{{result:1}}" }), idempotencyKey: "k" });
  const failure = JSON.parse((result.payloads[0]?.text ?? "").split("\n\n(")[0] ?? "") as Record<string, unknown>;

  assert.deepEqual([failure["status"], failure["code"]], ["error", "INTERNAL"]);
  assert.doesNotMatch(JSON.stringify(failure), /trigger|abort|raise|'no'/);
  assert.equal((await gw.callerWith("operator.read").call("status", {})).sessions.count, 1);
});

test("21. errors are typed, say whether to retry, and name what failed, on both versions", async () => {
  await using gw = await startGateway();
  for (const protocol of [3, 4] as const) {
    await using wire = await connectWire(gw.url, {
      token: gw.token,
      scopes: ["operator.write"],
      protocol,
      ...(protocol === 3 ? { key: createWireKey() } : {}),
    });
    const unknown = await wire.request("no.such.method");
    const agent = await wire.request("agent", { message: "x", agentId: "nobody", idempotencyKey: "k" });
    const model = await wire.request("sessions.patch", { key: "s", model: "nowhere/m" });

    assert.equal(unknown.error?.message, "unknown method: no.such.method");
    assert.deepEqual(
      [agent.error?.details?.["code"], agent.error?.message],
      ["UNKNOWN_AGENT_ID", 'invalid agent params: unknown agent id "nobody"'],
    );
    assert.equal(model.error?.details?.["code"], "MODEL_UNUSABLE");
    assert.ok([unknown, agent, model].every(({ error }) => error?.retryable !== true));
  }
});
