/** Managing paired devices over real sockets: who may, what is closed, and what an old credential is still good for. */
import assert from "node:assert/strict";
import test from "node:test";
import { startGateway, type TestGateway } from "./support/start-gateway.ts";
import { storeDevice, tamper } from "./support/stored-pairing.ts";
import { connectWire, createWireKey, type Frame, openWire, connectParams, refusedConnect, type WireKey } from "./support/wire-client.ts";

interface Paired {
  readonly key: WireKey;
  readonly deviceToken: string;
}

/** Pairs a fresh device over loopback. */
async function pair(gw: TestGateway, scopes: readonly string[], role = "operator"): Promise<Paired> {
  const key = createWireKey();
  await using wire = await connectWire(gw.url, { key, token: gw.token, scopes, role });
  return { key, deviceToken: tokenOf(wire) };
}

function tokenOf(wire: { readonly hello: Record<string, unknown> }): string {
  return (wire.hello["auth"] as { deviceToken: string }).deviceToken;
}

const codeOf = (frame: Pick<Frame, "error">): unknown => frame.error?.details?.["code"];

/** Owner's connection with the secret and no device. */
const openOwner = (gw: TestGateway, scopes: readonly string[] = ["operator.admin"]) => connectWire(gw.url, { token: gw.token, scopes });

async function auditKinds(gw: TestGateway): Promise<readonly string[]> {
  return (await gw.gateway.store.audit.list(20)).map((row) => row.kind);
}

const endings = [
  ["device.pair.remove", (deviceId: string) => ({ deviceId }), "device.removed"],
  ["device.token.revoke", (deviceId: string) => ({ deviceId, role: "operator" }), "device.token-revoked"],
  ["device.token.rotate", (deviceId: string) => ({ deviceId, role: "operator" }), "device.token-rotated"],
] as const;

for (const [method, params, audited] of endings) {
  for (const protocol of [3, 4] as const) {
    test(`${method} closes the device's sockets with 4001 before it is answered, and the old token is dead (protocol ${protocol})`, async () => {
      await using gw = await startGateway();
      const { key, deviceToken } = await pair(gw, ["operator.read"]);
      await using byToken = await connectWire(gw.url, { key, deviceToken, scopes: ["operator.read"], protocol });
      await using bySecret = await connectWire(gw.url, { key, token: gw.token, scopes: [], protocol });

      await gw.callerWith("operator.admin").call(method, params(key.id));
      const openAtAnswer = [...gw.gateway.listener.connectedDevices()];
      const closed = await Promise.all([byToken.closed, bySecret.closed]);
      const refused = await refusedConnect(gw.url, { key, deviceToken, scopes: ["operator.read"], protocol });

      assert.deepEqual(openAtAnswer, []);
      assert.deepEqual(
        closed.map(({ code, reason }) => [code, reason]),
        [
          [4001, "device removed"],
          [4001, "device removed"],
        ],
      );
      assert.match(refused.error.message, /token mismatch/);
      assert.ok((await auditKinds(gw)).includes(audited));
      assert.equal(await gw.gateway.store.audit.findBreak(), undefined);
    });
  }

  test(`a device that asks for its own ${method} is answered last, and dispatches nothing after it`, async () => {
    await using gw = await startGateway();
    const { key, deviceToken } = await pair(gw, ["operator.pairing", "operator.write"]);
    await using other = await connectWire(gw.url, { key, deviceToken, scopes: [] });
    await using wire = await connectWire(gw.url, { key, deviceToken, scopes: ["operator.pairing", "operator.write"] });

    const asked = wire.request(method, params(key.id));
    wire.send({ type: "req", id: "beside", method: "status" });
    const answer = await asked;
    wire.send({ type: "req", id: "later", method: "sessions.patch", params: { key: "later" } });
    const close = await wire.closed;

    assert.equal(answer.ok, true, JSON.stringify(answer.error));
    assert.deepEqual([close.code, (await other.closed).code], [4001, 4001]);
    assert.equal(wire.frames.at(-1)?.id, answer.id);
    const { sessions } = await gw.callerWith("operator.read").call("sessions.list", {});
    assert.equal(
      sessions.some((session) => session.key.endsWith("later")),
      false,
    );
  });

  test(`${method} is refused when its audit row cannot be written, and nothing is closed`, async () => {
    await using gw = await startGateway();
    const { key, deviceToken } = await pair(gw, ["operator.read"]);
    await using wire = await connectWire(gw.url, { key, deviceToken, scopes: ["operator.read"] });
    tamper(gw.stateDir, "create trigger no_audit before insert on audit begin select raise(abort, 'the audit is down'); end");

    await assert.rejects(gw.callerWith("operator.admin").call(method, params(key.id)), { code: "INTERNAL" });

    assert.equal((await wire.request("status")).ok, true);
  });
}

test("a socket that was being let in while its device was removed does not stay open", async () => {
  await using gw = await startGateway();
  const { key, deviceToken } = await pair(gw, ["operator.read"]);
  const { devices } = gw.gateway.store;
  const find = devices.find.bind(devices);
  let isRemoved = false;
  // The row is read, then the device is removed, then the handshake goes on with what it read.
  Object.assign(devices, {
    find: async (deviceId: string, publicKey?: string) => {
      const state = await find(deviceId, publicKey);
      if (!isRemoved) await gw.callerWith("operator.admin").call("device.pair.remove", { deviceId: key.id });
      isRemoved = true;
      return state;
    },
  });

  await using wire = await openWire(gw.url);
  wire.send({ type: "req", id: "c", method: "connect", params: connectParams(wire, { key, deviceToken, scopes: ["operator.read"] }) });
  const end = await Promise.race([wire.closed, wire.frame((frame) => frame.id === "c")]);

  assert.deepEqual("code" in end && [end.code, end.reason], [4001, "device removed"]);
  assert.deepEqual([...gw.gateway.listener.connectedDevices()], []);
});

test("what a device had in flight is written before its removal is answered, or never", async () => {
  await using gw = await startGateway();
  const { key, deviceToken } = await pair(gw, ["operator.write"]);
  const { sessions } = gw.gateway.store;
  const patch = sessions.patch.bind(sessions);
  const [reached, released] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const order: string[] = [];
  Object.assign(sessions, {
    patch: async (...args: Parameters<typeof patch>) => {
      reached.resolve();
      await released.promise;
      const outcome = await patch(...args);
      order.push("written");
      return outcome;
    },
  });
  await using wire = await connectWire(gw.url, { key, deviceToken, scopes: ["operator.write"] });
  wire.send({ type: "req", id: "p", method: "sessions.patch", params: { key: "late", label: "x" } });
  await reached.promise;

  const removal = gw.callerWith("operator.admin").call("device.pair.remove", { deviceId: key.id });
  const close = await wire.closed;
  released.resolve();
  await removal;
  order.push("answered");

  assert.equal(close.code, 4001);
  assert.deepEqual(order, ["written", "answered"]);
  assert.equal(
    wire.frames.some((frame) => frame.id === "p"),
    false,
  );
});

test("two devices that remove each other at once are both answered or closed", async () => {
  await using gw = await startGateway();
  const [a, b] = [await pair(gw, ["operator.admin"]), await pair(gw, ["operator.admin"])];
  await using wireA = await connectWire(gw.url, { ...a, scopes: ["operator.admin"] });
  await using wireB = await connectWire(gw.url, { ...b, scopes: ["operator.admin"] });

  wireA.send({ type: "req", id: "x", method: "device.token.rotate", params: { deviceId: b.key.id, role: "operator" } });
  wireB.send({ type: "req", id: "x", method: "device.token.rotate", params: { deviceId: a.key.id, role: "operator" } });
  const closes = await Promise.all([wireA.closed, wireB.closed]);

  assert.deepEqual(
    closes.map(({ code }) => code),
    [4001, 4001],
  );
  await using owner = await openOwner(gw);
  assert.equal((await owner.request("device.pair.remove", { deviceId: a.key.id })).ok, true);
});

test("a removed device that is paired again does not get its old token back", async () => {
  await using gw = await startGateway();
  const { key, deviceToken } = await pair(gw, ["operator.read"]);
  const owner = gw.callerWith("operator.admin");
  await owner.call("device.pair.remove", { deviceId: key.id });

  const { error } = await refusedConnect(gw.url, { key, token: gw.token, scopes: ["operator.read"] });
  await owner.call("device.pair.approve", { requestId: String(error.details?.["requestId"]) });
  const stale = await refusedConnect(gw.url, { key, deviceToken, scopes: ["operator.read"] });
  await using again = await connectWire(gw.url, { key, token: gw.token, scopes: ["operator.read"] });

  assert.equal(error.details?.["reason"], "not-paired");
  assert.equal(codeOf(stale), "AUTH_DEVICE_TOKEN_MISMATCH");
  assert.notEqual(tokenOf(again), deviceToken);
});

test("a device whose role was revoked asks for it again, never silently", async () => {
  await using gw = await startGateway();
  const { key } = await pair(gw, ["operator.read"]);
  await gw.callerWith("operator.admin").call("device.token.revoke", { deviceId: key.id, role: "operator" });

  const { error } = await refusedConnect(gw.url, { key, token: gw.token, scopes: ["operator.read"] });
  const { paired } = await gw.callerWith("operator.pairing").call("device.pair.list", {});

  assert.equal(error.details?.["reason"], "role-upgrade");
  assert.equal(typeof paired[0]?.tokens[0]?.revokedAtMs, "number");
  assert.deepEqual(paired[0]?.roles, []);
});

test("what waited for a removed device is rejected with it, and told", async () => {
  await using gw = await startGateway();
  const { key } = await pair(gw, ["operator.read"]);
  const { error } = await refusedConnect(gw.url, { key, token: gw.token, scopes: ["operator.admin"] });
  await using watcher = await openOwner(gw, ["operator.pairing"]);

  await watcher.request("device.pair.remove", { deviceId: key.id });
  const resolved = await watcher.frame((frame) => frame.event === "device.pair.resolved");
  await watcher.frame((frame) => frame.event === "device.pair.changed");

  assert.deepEqual([resolved.payload?.["requestId"], resolved.payload?.["decision"]], [error.details?.["requestId"], "rejected"]);
  await assert.rejects(gw.callerWith("operator.admin").call("device.pair.approve", { requestId: String(error.details?.["requestId"]) }), {
    code: "UNKNOWN_REQUEST",
  });
});

test("a rotation stays within what is approved and within what the caller holds, and says only that it is denied", async () => {
  await using gw = await startGateway();
  const { key } = await pair(gw, ["operator.write"]);
  const attempts = [
    [["operator.admin"], ["operator.admin"]],
    [["operator.pairing", "operator.read"], ["operator.write"]],
    [["operator.pairing", "operator.read"], undefined],
    [["operator.pairing"], ["operator.read"]],
  ] as const;

  for (const [held, scopes] of attempts) {
    await assert.rejects(
      gw.callerWith(...held).call("device.token.rotate", { deviceId: key.id, role: "operator", ...(scopes && { scopes: [...scopes] }) }),
      { code: "DEVICE_ACTION_DENIED", message: "device token rotation denied" },
    );
  }
  for (const role of ["node", "nonsense"]) {
    await assert.rejects(gw.callerWith("operator.admin").call("device.token.rotate", { deviceId: key.id, role }), {
      message: "device token rotation denied",
    });
  }
  const narrowed = await gw
    .callerWith("operator.admin")
    .call("device.token.rotate", { deviceId: key.id, role: "operator", scopes: ["operator.read"] });

  assert.deepEqual([narrowed.scopes, narrowed.tokenDelivery], [["operator.read"], "in-band"]);
  const byToken = { key, deviceToken: String(narrowed.token) };
  await using reader = await connectWire(gw.url, { ...byToken, scopes: ["operator.read"] });
  assert.equal((await reader.request("status")).ok, true);
  assert.equal(codeOf(await refusedConnect(gw.url, { ...byToken, scopes: ["operator.write"] })), "AUTH_SCOPE_MISMATCH");
  await using bySecret = await connectWire(gw.url, { key, token: gw.token, scopes: ["operator.write"] });
  assert.equal(tokenOf(bySecret), byToken.deviceToken);
});

test("a rotation to no scopes makes a token for none", async () => {
  await using gw = await startGateway();
  const { key } = await pair(gw, ["operator.write"]);

  const { token, scopes } = await gw
    .callerWith("operator.admin")
    .call("device.token.rotate", { deviceId: key.id, role: "operator", scopes: [] });

  assert.deepEqual(scopes, []);
  assert.equal(codeOf(await refusedConnect(gw.url, { key, deviceToken: String(token), scopes: ["operator.read"] })), "AUTH_SCOPE_MISMATCH");
});

for (const protocol of [3, 4] as const) {
  test(`a rotated token goes to the device itself or to an admin, and to nobody else (protocol ${protocol})`, async () => {
    await using gw = await startGateway();
    const { key, deviceToken } = await pair(gw, ["operator.pairing", "operator.read"]);
    const subject = { deviceId: key.id, role: "operator" };
    const held = ["operator.pairing", "operator.read"];
    const outsiderKey = createWireKey();
    await using outsider = await connectWire(gw.url, { key: outsiderKey, token: gw.token, scopes: held, protocol });
    await using self = await connectWire(gw.url, { key, deviceToken, scopes: held, protocol });

    const own = await self.request("device.token.rotate", subject);
    const withheld = await outsider.request("device.token.rotate", subject);
    await using owner = await connectWire(gw.url, {
      key: createWireKey(),
      token: gw.token,
      scopes: ["operator.admin"],
      protocol,
    });
    const toAdmin = await owner.request("device.token.rotate", subject);

    assert.deepEqual(
      [own, withheld, toAdmin].map(({ payload }) => [typeof payload?.["token"], payload?.["tokenDelivery"]]),
      protocol === 3
        ? [
            ["string", undefined],
            ["undefined", undefined],
            ["string", undefined],
          ]
        : [
            ["string", "in-band"],
            ["undefined", "withheld-cross-device"],
            ["string", "in-band"],
          ],
    );
    await using again = await connectWire(gw.url, { key, deviceToken: String(toAdmin.payload?.["token"]), scopes: held });
    assert.equal((await again.request("status")).ok, true);
  });
}

test("a session by device token without admin sees and manages its own device alone", async () => {
  await using gw = await startGateway();
  const mine = await pair(gw, ["operator.pairing", "operator.read"]);
  const other = await pair(gw, ["operator.read"]);
  const { error } = await refusedConnect(gw.url, { key: other.key, token: gw.token, scopes: ["operator.write"] });
  const requestId = String(error.details?.["requestId"]);
  await using wire = await connectWire(gw.url, { ...mine, scopes: ["operator.pairing", "operator.read"] });
  const deviceId = other.key.id;

  const list = await wire.request("device.pair.list");
  const refusals = [
    await wire.request("device.pair.approve", { requestId }),
    await wire.request("device.pair.reject", { requestId }),
    await wire.request("device.pair.remove", { deviceId }),
    await wire.request("device.pair.rename", { deviceId, label: "x" }),
    await wire.request("device.token.rotate", { deviceId, role: "operator" }),
    await wire.request("device.token.revoke", { deviceId, role: "operator" }),
    await wire.request("device.token.revoke", { deviceId: mine.key.id, role: "node" }),
  ];
  const renamed = await wire.request("device.pair.rename", { deviceId: mine.key.id, label: "mine" });

  assert.deepEqual(
    (list.payload?.["paired"] as { deviceId: string }[] | undefined)?.map((device) => device.deviceId),
    [mine.key.id],
  );
  assert.deepEqual(list.payload?.["pending"], []);
  assert.deepEqual(
    refusals.map((answer) => answer.error?.message),
    [
      "device pairing approval denied",
      "device pairing rejection denied",
      "unknown deviceId",
      "unknown deviceId",
      "device token rotation denied",
      "device token revocation denied",
      "device token revocation denied",
    ],
  );
  assert.equal(renamed.ok, true);
  const after = await gw.callerWith("operator.pairing").call("device.pair.list", {});
  assert.deepEqual([after.pending.length, after.paired.find((device) => device.deviceId === mine.key.id)?.displayName], [1, "mine"]);
});

test("the same device by the shared secret manages every device", async () => {
  await using gw = await startGateway();
  const mine = await pair(gw, ["operator.pairing", "operator.read"]);
  const other = await pair(gw, ["operator.read"]);
  await using wire = await connectWire(gw.url, { key: mine.key, token: gw.token, scopes: ["operator.pairing", "operator.read"] });

  const removed = await wire.request("device.pair.remove", { deviceId: other.key.id });

  assert.deepEqual(removed.payload, { deviceId: other.key.id, cancelledRuns: 0 });
});

test("roles other than operator are for admins alone", async () => {
  await using gw = await startGateway();
  const node = await pair(gw, [], "node");
  const helper = gw.callerWith("operator.pairing", "operator.write");
  const subject = { deviceId: node.key.id, role: "node" };

  await assert.rejects(helper.call("device.token.rotate", subject), { message: "device token rotation denied" });
  await assert.rejects(helper.call("device.token.revoke", subject), { message: "device token revocation denied" });
  await assert.rejects(helper.call("device.pair.remove", { deviceId: node.key.id }), { message: "device removal denied" });
  const rotated = await gw.callerWith("operator.admin").call("device.token.rotate", subject);
  await using wire = await connectWire(gw.url, { key: node.key, deviceToken: String(rotated.token), role: "node" });

  assert.equal((wire.hello["auth"] as { role: string }).role, "node");
});

test("a new name is shown, told, and stays through another approval", async () => {
  await using gw = await startGateway();
  const { key } = await pair(gw, ["operator.read"]);
  await using owner = await openOwner(gw);

  const renamed = await owner.request("device.pair.rename", { deviceId: key.id, label: " Kitchen " });
  await owner.frame((frame) => frame.event === "device.pair.changed");
  const { error } = await refusedConnect(gw.url, {
    key,
    token: gw.token,
    scopes: ["operator.write"],
    client: { displayName: "something else" },
  });
  await owner.request("device.pair.approve", { requestId: error.details?.["requestId"] });
  const { paired } = await gw.callerWith("operator.pairing").call("device.pair.list", {});

  assert.deepEqual(renamed.payload, { deviceId: key.id, label: "Kitchen" });
  assert.deepEqual([paired[0]?.displayName, paired[0]?.operatorLabel], ["Kitchen", "Kitchen"]);
});

test("a device whose record cannot be read can be removed", async () => {
  await using gw = await startGateway();
  const key = storeDevice(gw.stateDir, "corrupt");

  await gw.callerWith("operator.admin").call("device.pair.remove", { deviceId: key.id });
  const { error } = await refusedConnect(gw.url, { key, token: gw.token, scopes: ["operator.read"] });

  assert.equal(error.details?.["reason"], "not-paired");
});
