/** Live upgrades: an open connection asks for more, waits, and connects again with what it was given. */
import assert from "node:assert/strict";
import test from "node:test";
import { limits } from "@portreeve/protocol";
import { createManualClock } from "./support/manual-clock.ts";
import { startGateway, type TestGateway } from "./support/start-gateway.ts";
import { connectWire, createWireKey, refusedConnect, type Wire } from "./support/wire-client.ts";

const wanted = ["operator.read", "operator.admin"];

async function openReader(gw: TestGateway, signedAt = Date.now()) {
  const key = createWireKey();
  const wire = await connectWire(gw.url, { key, token: gw.token, scopes: ["operator.read"], signedAt });
  return { key, wire, [Symbol.asyncDispose]: () => wire[Symbol.asyncDispose]() };
}

async function ask(wire: Wire, scopes: readonly string[] = wanted): Promise<string> {
  const answer = await wire.request("device.scopes.requestUpgrade", { scopes });
  assert.equal(answer.ok, true, JSON.stringify(answer.error));
  return String(answer.payload?.["requestId"]);
}

for (const protocol of [3, 4] as const) {
  test(`an upgrade is asked for, approved by somebody else, and used on the next connection (protocol ${protocol})`, async () => {
    await using gw = await startGateway();
    const key = createWireKey();
    await using wire = await connectWire(gw.url, { key, token: gw.token, scopes: ["operator.read"], protocol });
    await using watcher = await connectWire(gw.url, { token: gw.token, scopes: ["operator.pairing"] });

    const requestId = await ask(wire);
    const waiting = wire.request("device.scopes.waitUpgrade", { requestId });
    const requested = await watcher.frame((frame) => frame.event === "device.pair.requested");
    await gw.callerWith("operator.admin").call("device.pair.approve", { requestId });
    const { payload } = await waiting;
    const still = await wire.request("device.pair.list");
    await using upgraded = await connectWire(gw.url, {
      key,
      deviceToken: String(payload?.["deviceToken"]),
      scopes: ["operator.admin"],
      protocol,
    });

    assert.deepEqual([requested.payload?.["requestId"], requested.payload?.["reason"]], [requestId, "scope-upgrade"]);
    assert.deepEqual([payload?.["status"], payload?.["scopes"]], ["approved", ["operator.admin", "operator.read"]]);
    assert.equal(still.error?.message, "missing scope: operator.pairing");
    assert.equal((await upgraded.request("device.pair.list")).ok, true);
    assert.deepEqual(
      gw.logLines.filter((line) => line.facts["reason"] === "scope-upgrade").map(({ facts }) => [facts["scopesFrom"], facts["scopesTo"]]),
      [[["operator.read"], ["operator.admin", "operator.read"]]],
    );
  });
}

test("an upgrade is never silent, gives nothing before it is approved, and is one request with what a connect asks for", async () => {
  await using gw = await startGateway();
  await using reader = await openReader(gw);

  const first = await ask(reader.wire);
  const again = await ask(reader.wire);
  const { error } = await refusedConnect(gw.url, { key: reader.key, token: gw.token, scopes: ["operator.admin"] });
  const { pending } = await gw.callerWith("operator.pairing").call("device.pair.list", {});
  const list = await reader.wire.request("device.pair.list");

  assert.deepEqual([again, error.details?.["requestId"]], [first, first]);
  assert.deepEqual(
    pending.map((request) => [request.requestId, request.silent, request.scopes]),
    [[first, false, ["operator.admin", "operator.read"]]],
  );
  assert.equal(list.error?.message, "missing scope: operator.pairing");
});

test("a rejected and a replaced request are told as rejected", async () => {
  await using gw = await startGateway();
  await using reader = await openReader(gw);
  const replaced = await ask(reader.wire, ["operator.read", "operator.pairing"]);
  const wait = (requestId: string) => reader.wire.request("device.scopes.waitUpgrade", { requestId });

  const waitingForReplaced = wait(replaced);
  const requestId = await ask(reader.wire);
  const waiting = wait(requestId);
  await gw.callerWith("operator.admin").call("device.pair.reject", { requestId });

  assert.deepEqual((await waitingForReplaced).payload, { status: "rejected", requestId: replaced });
  assert.deepEqual((await waiting).payload, { status: "rejected", requestId });
});

test("waiting ends when the request expires", async () => {
  const clock = createManualClock(Date.now());
  await using gw = await startGateway({ clock });
  await using reader = await openReader(gw, clock.now());
  const requestId = await ask(reader.wire);

  const waiting = reader.wire.request("device.scopes.waitUpgrade", { requestId });
  await reader.wire.request("health");
  clock.jump(limits.pairingRequestTtlMs);

  assert.deepEqual((await waiting).payload, { status: "expired", requestId });
});

test("only the device that asked can wait for its request", async () => {
  await using gw = await startGateway();
  await using reader = await openReader(gw);
  await using other = await openReader(gw);
  await using owner = await connectWire(gw.url, { token: gw.token, scopes: ["operator.admin"] });
  const requestId = await ask(reader.wire);
  await gw.callerWith("operator.admin").call("device.pair.approve", { requestId });

  const byOther = await other.wire.request("device.scopes.waitUpgrade", { requestId });
  const byOwner = await owner.request("device.scopes.waitUpgrade", { requestId });
  const bySelf = await reader.wire.request("device.scopes.waitUpgrade", { requestId });

  assert.equal(byOther.error?.message, "unknown requestId");
  assert.equal(byOwner.error?.message, "device scope upgrade denied");
  assert.equal(bySelf.payload?.["status"], "approved");
});

test("an upgrade without the present scopes, to unknown ones, to approved ones or without a device is refused and asks nobody", async () => {
  await using gw = await startGateway();
  await using reader = await openReader(gw);
  await using owner = await connectWire(gw.url, { token: gw.token, scopes: ["operator.read"] });
  const request = (wire: Wire, scopes: readonly string[]) => wire.request("device.scopes.requestUpgrade", { scopes });

  const answers = [
    await request(reader.wire, ["operator.pairing"]),
    await request(reader.wire, ["operator.read", "operator.bogus"]),
    await request(reader.wire, ["operator.read"]),
    await request(reader.wire, []),
    await request(owner, wanted),
  ];

  assert.deepEqual(
    answers.map((answer) => answer.error?.details?.["code"]),
    ["INVALID_PARAMS", "INVALID_PARAMS", "INVALID_PARAMS", "INVALID_PARAMS", "DEVICE_ACTION_DENIED"],
  );
  assert.deepEqual((await gw.callerWith("operator.read").call("status", {})).pairing, { requestsCreated: 0, pending: 0 });
});

test("an upgrade that is approved for a time says so by ending", async () => {
  const clock = createManualClock(Date.now());
  await using gw = await startGateway({ clock });
  await using reader = await openReader(gw, clock.now());
  const requestId = await ask(reader.wire);
  await gw.callerWith("operator.admin").call("device.pair.approve", { requestId, expiresInMinutes: 5 });
  const { payload } = await reader.wire.request("device.scopes.waitUpgrade", { requestId });
  const credentials = { key: reader.key, deviceToken: String(payload?.["deviceToken"]), scopes: ["operator.admin"] };
  await using upgraded = await connectWire(gw.url, { ...credentials, signedAt: clock.now() });

  clock.jump(5 * 60_000);

  assert.equal((await upgraded.closed).reason, "elevation ended");
  assert.equal((await reader.wire.request("status")).ok, true);
});
