/** What every store driver must hold about managing devices and nodes. SQLite in memory is the driver there is. */
import assert from "node:assert/strict";
import test from "node:test";
import { createIds } from "../../packages/gateway/src/kit/ids.ts";
import type { Actor } from "../../packages/gateway/src/store/device-management.ts";
import type { NodeDeclaration } from "../../packages/gateway/src/store/nodes.ts";
import { openStoreFile } from "../../packages/gateway/src/store/sqlite.ts";
import type { PairingAsk } from "../../packages/gateway/src/store/device-store.ts";
import type { Store } from "../../packages/gateway/src/store/store.ts";
import { pairingAsk } from "../support/pairing-ask.ts";

const drivers: Readonly<Record<string, () => Promise<Store>>> = { sqlite: () => openStoreFile(":memory:", createIds()) };

const owner: Actor = { id: "secret:local", scopes: ["operator.admin"], deviceId: undefined, ownDeviceOnly: false };
const subject = { deviceId: "d1", role: "operator" };

async function requestId(store: Store, over: Partial<PairingAsk> = {}, nowMs = 1): Promise<string> {
  const outcome = await store.devices.requestPairing(pairingAsk(over), nowMs);
  assert.ok(outcome.kind === "pending", outcome.kind);
  return outcome.request.requestId;
}

async function grantOf(store: Store, deviceId = "d1") {
  const state = await store.devices.find(deviceId);
  return state.kind === "paired" ? state.device.grants[0] : undefined;
}

for (const [driver, open] of Object.entries(drivers)) {
  test(`${driver}: generations never go back, through rotate, revoke, remove and every approval`, async () => {
    await using store = await open();
    const generations: (number | undefined)[] = [];
    const note = async () => generations.push((await grantOf(store))?.generation);
    await store.devices.approveSilently(pairingAsk(), 1);
    await note();
    await store.devices.rotateToken({ ...subject, scopes: undefined }, owner, 2);
    await note();
    await store.devices.revokeToken(subject, owner, 3);
    await note();
    await store.devices.approve(await requestId(store), owner, 4);
    await note();
    await store.devices.remove("d1", owner, 5);
    await store.devices.approve(await requestId(store), owner, 6);
    await note();
    await store.devices.remove("d1", owner, 7);
    await store.devices.approve(await requestId(store), owner, 8);
    await note();

    assert.deepEqual(generations, [1, 2, 3, 4, 5, 6]);
    assert.equal(await store.audit.findBreak(), undefined);
  });

  test(`${driver}: what is approved already is covered and recorded nowhere, what was rejected since it was seen neither`, async () => {
    await using store = await open();
    await store.devices.approveSilently(pairingAsk({ scopes: ["operator.write"] }), 1);
    const seen = await requestId(store, { scopes: ["operator.admin"] }, 2);
    await store.devices.reject(seen, owner, 3);

    const covered = await store.devices.requestPairing(pairingAsk({ scopes: ["operator.read"] }), 4);
    const rejected = await store.devices.requestPairing(pairingAsk({ scopes: ["operator.admin"] }), 4, seen);
    const otherPlatform = await store.devices.requestPairing(pairingAsk({ platform: "windows", reason: "metadata-upgrade" }), 4);

    assert.deepEqual([covered.kind, rejected.kind, otherPlatform.kind], ["covered", "rejected", "pending"]);
  });

  test(`${driver}: a device that was removed manages nothing any more, whatever its connection holds`, async () => {
    await using store = await open();
    await store.devices.approveSilently(pairingAsk({ scopes: ["operator.admin"] }), 1);
    await store.devices.approveSilently(pairingAsk({ deviceId: "d2", publicKey: "b".repeat(43) }), 1);
    const waiting = await requestId(store, { deviceId: "d3", publicKey: "c".repeat(43), reason: "not-paired" });
    const removed: Actor = { id: "device:d1", scopes: ["operator.admin"], deviceId: "d1", ownDeviceOnly: false };
    await store.devices.remove("d1", owner, 2);
    const other = { deviceId: "d2", role: "operator" };

    const outcomes = [
      await store.devices.approve(waiting, removed, 3),
      await store.devices.reject(waiting, removed, 3),
      await store.devices.remove("d2", removed, 3),
      await store.devices.rotateToken({ ...other, scopes: undefined }, removed, 3),
      await store.devices.revokeToken(other, removed, 3),
      await store.nodes.remove("d2", removed, 3),
    ];
    const renamed = await store.devices.rename({ deviceId: "d2", label: "x" }, removed, 3);

    assert.deepEqual(
      outcomes.map((outcome) => outcome.kind),
      ["denied", "denied", "denied", "denied", "denied", "denied"],
    );
    assert.equal(renamed, "unknown");
    assert.equal((await grantOf(store, "d2"))?.generation, 1);
  });

  test(`${driver}: a revoked role is revoked once, and has no token to rotate`, async () => {
    await using store = await open();
    await store.devices.approveSilently(pairingAsk(), 1);

    const first = await store.devices.revokeToken(subject, owner, 2);
    const again = await store.devices.revokeToken(subject, owner, 9);
    const rotated = await store.devices.rotateToken({ ...subject, scopes: undefined }, owner, 9);
    const state = await store.devices.find("d1");

    assert.deepEqual(
      [first, again],
      [
        { kind: "revoked", revokedAtMs: 2 },
        { kind: "revoked", revokedAtMs: 2 },
      ],
    );
    assert.equal(rotated.kind, "denied");
    assert.equal(state.kind === "paired" && state.refused, true);
  });

  test(`${driver}: an approval for a time leaves what is approved as it was, and is swept once when it is over`, async () => {
    await using store = await open();
    await store.devices.approveSilently(pairingAsk(), 1);
    await store.devices.approve(await requestId(store, { scopes: ["operator.admin", "operator.read"] }), owner, 2, 1_002);

    const during = await store.devices.sweepExpiries(500);
    const grant = await grantOf(store);
    const movedBack = await store.devices.sweepExpiries(0);
    const over = await store.devices.sweepExpiries(1_002);
    const again = await store.devices.sweepExpiries(1_003);

    assert.deepEqual(grant?.scopes, ["operator.read"]);
    assert.deepEqual(grant.elevation, { scopes: ["operator.admin"], untilMs: 1_002, seenMs: 500 });
    assert.deepEqual(
      [during, movedBack, over, again],
      [
        { ended: [], nextInMs: 502 },
        { ended: [], nextInMs: 502 },
        { ended: [subject], nextInMs: undefined },
        { ended: [], nextInMs: undefined },
      ],
    );
    assert.equal((await grantOf(store))?.elevation, undefined);
  });

  test(`${driver}: a node that is not paired declares nothing that is kept`, async () => {
    await using store = await open();
    const node: NodeDeclaration = {
      nodeId: "d1",
      clientId: "node-host",
      clientMode: "node",
      displayName: undefined,
      platform: "linux",
      version: "1",
      deviceFamily: undefined,
      modelIdentifier: undefined,
      caps: [],
      commands: ["system.run"],
      permissions: {},
    };

    const unpaired = await store.nodes.declare(node, 1);
    await store.devices.approve(await requestId(store, { role: "node", scopes: [], reason: "not-paired" }), owner, 2);
    const paired = await store.nodes.declare(node, 3);

    assert.deepEqual([unpaired.kind, paired.kind], ["covered", "pending"]);
    assert.equal((await store.nodes.list()).pending.length, 1);
  });
}
