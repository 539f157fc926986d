/** Approvals for a time: what they give, that they end by themselves, and that nothing makes them last. */
import assert from "node:assert/strict";
import test from "node:test";
import { createManualClock, type ManualClock } from "./support/manual-clock.ts";
import { startGateway, type TestGateway } from "./support/start-gateway.ts";
import { connectWire, createWireKey, type ConnectInput, type Frame, refusedConnect, type WireKey } from "./support/wire-client.ts";

const minuteMs = 60_000;

interface World extends AsyncDisposable {
  readonly gw: TestGateway;
  readonly clock: ManualClock;
  readonly key: WireKey;
  /** Connects the device; it signs with the gateway's time. */
  connect(input: Omit<ConnectInput, "key">): ReturnType<typeof connectWire>;
  refused(input: Omit<ConnectInput, "key">): ReturnType<typeof refusedConnect>;
  /** Asks for `scopes` with the secret and approves it, for so long. */
  elevate(scopes: readonly string[], minutes?: number): Promise<void>;
}

/** A gateway with one device that is approved for `operator.read`. */
async function openWorld(): Promise<World> {
  const clock = createManualClock(Date.now());
  const gw = await startGateway({ clock });
  const key = createWireKey();
  const connect = (input: Omit<ConnectInput, "key">) => connectWire(gw.url, { key, signedAt: clock.now(), ...input });
  const refused = (input: Omit<ConnectInput, "key">) => refusedConnect(gw.url, { key, signedAt: clock.now(), ...input });
  await using _ = await connect({ token: gw.token, scopes: ["operator.read"] });
  return {
    gw,
    clock,
    key,
    connect,
    refused,
    async elevate(scopes, minutes) {
      const { error } = await refused({ token: gw.token, scopes });
      const requestId = String(error.details?.["requestId"]);
      await gw
        .callerWith("operator.admin")
        .call("device.pair.approve", { requestId, ...(minutes === undefined ? {} : { expiresInMinutes: minutes }) });
    },
    [Symbol.asyncDispose]: () => gw[Symbol.asyncDispose](),
  };
}

const codeOf = (answer: Pick<Frame, "error">): unknown => answer.error?.details?.["code"];
const tokenOf = (wire: { readonly hello: Record<string, unknown> }): string => (wire.hello["auth"] as { deviceToken: string }).deviceToken;

for (const protocol of [3, 4] as const) {
  test(`admin for ten minutes is admin for ten minutes: then its sockets are closed and the token covers the rest (protocol ${protocol})`, async () => {
    await using world = await openWorld();
    const { gw, clock } = world;
    await world.elevate(["operator.admin"], 10);
    await using elevated = await world.connect({ token: gw.token, scopes: ["operator.admin"], protocol });
    const deviceToken = tokenOf(elevated);
    await using plain = await world.connect({ deviceToken, scopes: ["operator.read"], protocol });
    const during = await elevated.request("device.pair.list");

    clock.jump(10 * minuteMs);
    const close = await elevated.closed;
    const bySecret = await world.refused({ token: gw.token, scopes: ["operator.admin"], protocol: 4 });
    const byToken = await world.refused({ deviceToken, scopes: ["operator.admin"], protocol: 4 });
    await using after = await world.connect({ deviceToken, scopes: ["operator.read"], protocol });

    assert.equal(during.ok, true);
    assert.deepEqual([close.code, close.reason], [4001, "elevation ended"]);
    assert.deepEqual([bySecret.error.details?.["reason"], codeOf(byToken)], ["scope-upgrade", "AUTH_SCOPE_MISMATCH"]);
    assert.deepEqual([(await plain.request("status")).ok, (await after.request("status")).ok], [true, true]);
  });
}

test("a request that comes when the time is over is not answered, even if no timer has fired", async () => {
  await using world = await openWorld();
  await world.elevate(["operator.admin"], 10);
  const late = world.clock.schedule;
  // The gateway's timers stand still from here on, as when the process is busy.
  world.clock.schedule = () => ({ [Symbol.dispose]: () => undefined });
  await using elevated = await world.connect({ token: world.gw.token, scopes: ["operator.admin"] });
  world.clock.schedule = late;

  world.clock.jump(10 * minuteMs);
  elevated.send({ type: "req", id: "late", method: "device.pair.list" });
  const end = await Promise.race([elevated.closed, elevated.frame((frame) => frame.id === "late")]);

  assert.equal("reason" in end && end.reason, "elevation ended");
});

test("the list says what is elevated and until when; the end is in the audit and told to whoever may hear", async () => {
  await using world = await openWorld();
  const { gw, clock, key } = world;
  await world.elevate(["operator.admin"], 10);
  const untilMs = clock.now() + 10 * minuteMs;
  await using watcher = await connectWire(gw.url, { token: gw.token, scopes: ["operator.pairing"] });
  const token = async () =>
    (await gw.callerWith("operator.pairing").call("device.pair.list", {})).paired.find((one) => one.deviceId === key.id)?.tokens[0];

  const during = await token();
  clock.jump(10 * minuteMs);
  await watcher.frame((frame) => frame.event === "device.pair.changed");
  const after = await token();

  assert.deepEqual([during?.scopes, during?.elevatedScopes, during?.elevatedUntilMs], [["operator.read"], ["operator.admin"], untilMs]);
  assert.deepEqual([after?.scopes, after?.elevatedScopes, after?.elevatedUntilMs], [["operator.read"], undefined, undefined]);
  assert.deepEqual(
    (await gw.gateway.store.audit.list(10)).map((row) => row.kind),
    ["device.paired", "device.approved", "device.elevation-ended"],
  );
});

test("an elevation that ended while no gateway ran is over at the start", async () => {
  await using world = await openWorld();
  await world.elevate(["operator.admin"], 10);

  world.clock.jump(10 * minuteMs);
  await world.gw.restart();
  const { error } = await world.refused({ token: world.gw.token, scopes: ["operator.admin"] });

  assert.equal(error.details?.["reason"], "scope-upgrade");
});

test("a clock that is moved back, with or without a restart, gives no time back", async () => {
  await using world = await openWorld();
  const { gw, clock } = world;
  await world.elevate(["operator.admin"], 10);
  await using wire = await world.connect({ token: gw.token, scopes: ["operator.admin"] });
  clock.jump(9 * minuteMs);
  await wire.request("health");
  await gw.gateway.store.devices.sweepExpiries(clock.now());

  clock.jump(-60 * minuteMs);
  await gw.restart();
  await using still = await world.connect({ token: gw.token, scopes: ["operator.admin"] });
  clock.jump(minuteMs);
  const end = await Promise.race([still.closed, still.request("device.pair.list")]);

  assert.equal("reason" in end && end.reason, "elevation ended");
});

test("whoever holds a scope for a time hands it on for no longer", async () => {
  await using world = await openWorld();
  const { gw } = world;
  await world.elevate(["operator.admin"], 10);
  await using elevated = await world.connect({ token: gw.token, scopes: ["operator.admin"] });
  const other = createWireKey();
  await using _ = await connectWire(gw.url, { key: other, signedAt: world.clock.now(), token: gw.token, scopes: ["operator.read"] });
  const { error } = await refusedConnect(gw.url, {
    key: other,
    signedAt: world.clock.now(),
    token: gw.token,
    scopes: ["operator.admin"],
  });
  const requestId = error.details?.["requestId"];

  const forGood = await elevated.request("device.pair.approve", { requestId });
  const forLonger = await elevated.request("device.pair.approve", { requestId, expiresInMinutes: 11 });
  const rotated = await elevated.request("device.token.rotate", { deviceId: other.id, role: "operator" });
  const within = await elevated.request("device.pair.approve", { requestId, expiresInMinutes: 10 });

  assert.deepEqual(
    [forGood, forLonger].map((answer) => answer.error?.message),
    ["missing scope: operator.admin", "missing scope: operator.admin"],
  );
  assert.equal(rotated.payload?.["tokenDelivery"], "withheld-cross-device");
  assert.equal(within.ok, true, JSON.stringify(within.error));
});

test("whoever holds admin for a time invites no other device to more than it holds for good, and no node", async () => {
  await using world = await openWorld();
  const { gw } = world;
  await world.elevate(["operator.admin"], 10);
  await using elevated = await world.connect({ token: gw.token, scopes: ["operator.admin"] });

  const asked = await elevated.request("device.pair.setupCode", { scopes: ["operator.admin", "operator.read"] });
  const node = await elevated.request("device.pair.setupCode", { role: "node" });

  assert.deepEqual([asked.payload?.["scopes"], asked.payload?.["access"]], [["operator.read"], "limited"]);
  assert.equal(node.error?.message, "missing scope: operator.admin");
});

test("a device does not make its own elevation last", async () => {
  await using world = await openWorld();
  const { gw } = world;
  await world.elevate(["operator.admin"], 10);
  await using elevated = await world.connect({ token: gw.token, scopes: ["operator.admin"] });
  const { error } = await world.refused({ token: gw.token, scopes: ["operator.admin"], client: { platform: "windows" } });
  const requestId = error.details?.["requestId"];

  const answer = await elevated.request("device.pair.approve", { requestId });

  assert.equal(error.details?.["reason"], "metadata-upgrade");
  assert.equal(answer.error?.message, "missing scope: operator.admin");
});

test("revoking, rotating and removing end an elevation at once", async () => {
  for (const method of ["device.token.rotate", "device.token.revoke", "device.pair.remove"] as const) {
    await using world = await openWorld();
    const { gw, key } = world;
    await world.elevate(["operator.admin"], 10);
    await using elevated = await world.connect({ token: gw.token, scopes: ["operator.admin"] });
    const params = method === "device.pair.remove" ? { deviceId: key.id } : { deviceId: key.id, role: "operator" };

    await gw.callerWith("operator.admin").call(method, params);
    const { error } = await world.refused({ token: gw.token, scopes: ["operator.admin"] });

    assert.equal((await elevated.closed).code, 4001, method);
    assert.equal(error.code, "NOT_PAIRED", method);
  }
});

test("a role is not granted for a time", async () => {
  await using world = await openWorld();
  const { error } = await world.refused({ token: world.gw.token, role: "node" });
  const requestId = String(error.details?.["requestId"]);

  await assert.rejects(world.gw.callerWith("operator.admin").call("device.pair.approve", { requestId, expiresInMinutes: 10 }), {
    code: "INVALID_PARAMS",
  });
});

test("an approval for good makes what was elevated stay", async () => {
  await using world = await openWorld();
  const { gw, clock } = world;
  await world.elevate(["operator.write"], 10);
  await world.elevate(["operator.write", "operator.pairing"]);

  clock.jump(10 * minuteMs);
  await using wire = await world.connect({ token: gw.token, scopes: ["operator.write", "operator.pairing"] });

  assert.equal((await wire.request("device.pair.list")).ok, true);
});
