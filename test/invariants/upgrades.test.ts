/** The invariants of authority, by number: a device gains nothing but by an approval, and nobody else notices. */
import assert from "node:assert/strict";
import test from "node:test";
import type { Scope } from "@portreeve/protocol";
import { pairDevice, runOver, splitInTwo, spawnTwoInside, spawnTwoOverSocket } from "../support/delegation.ts";
import { startGateway } from "../support/start-gateway.ts";
import { connectParams, connectWire, createWireKey, openWire, refusedConnect } from "../support/wire-client.ts";

const admin: readonly Scope[] = ["operator.admin"];

test("5. a headless caller gets a typed final error, not a wait for somebody's approval", async () => {
  await using gw = await startGateway();
  const { key } = await pairDevice(gw, ["operator.read"]);

  const { error, close } = await refusedConnect(gw.url, { key, token: gw.token, scopes: admin });

  assert.equal(error.code, "NOT_PAIRED");
  assert.equal(error.details?.["code"], "PAIRING_REQUIRED");
  assert.match(String(error.details?.["remediationHint"]), /devices approve/);
  assert.equal(close.code, 1008);
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
    const { key } = await pairDevice(gw, ["operator.read"]);
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
  const { key, deviceToken } = await pairDevice(gw, ["operator.read"]);
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
  const { key } = await pairDevice(gw, ["operator.read"]);

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
  const { key, deviceToken } = await pairDevice(gw, ["operator.read"]);

  const v4 = await refusedConnect(gw.url, { key, deviceToken, scopes: admin });
  const v3 = await refusedConnect(gw.url, { key, deviceToken, scopes: admin, protocol: 3 });

  assert.deepEqual([v4.error.details?.["code"], v3.error.details?.["code"]], ["AUTH_SCOPE_MISMATCH", "AUTH_DEVICE_TOKEN_MISMATCH"]);
  assert.deepEqual((await gw.callerWith("operator.read").call("status", {})).pairing, { requestsCreated: 0, pending: 0 });
});

test("15. a pending and a rejected upgrade of one device disturb no other device and no internal call", async () => {
  await using gw = await startGateway();
  const troubled = await pairDevice(gw, ["operator.read"]);
  const quiet = await pairDevice(gw, ["operator.write"]);

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
  const { key } = await pairDevice(gw, ["operator.read"]);
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
  const { key } = await pairDevice(gw, ["operator.read"]);
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

  const { key } = await pairDevice(gw, ["operator.read"]);
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
