/** What every store driver must hold about what is sent to nodes and what waits for them. */
import assert from "node:assert/strict";
import test from "node:test";
import { createIds } from "../../packages/gateway/src/kit/ids.ts";
import type { Actor } from "../../packages/gateway/src/store/device-management.ts";
import type { NodeDeclaration } from "../../packages/gateway/src/store/nodes.ts";
import { openStoreFile } from "../../packages/gateway/src/store/sqlite.ts";
import type { Store } from "../../packages/gateway/src/store/store.ts";
import { pairingAsk } from "../support/pairing-ask.ts";

const drivers: Readonly<Record<string, () => Promise<Store>>> = { sqlite: () => openStoreFile(":memory:", createIds()) };

const owner: Actor = { id: "secret:local", scopes: ["operator.admin"], deviceId: undefined, ownDeviceOnly: false };
const dayMs = 86_400_000;

/** A store with the approved node `d1`. */
async function withNode(open: () => Promise<Store>): Promise<Store> {
  const store = await open();
  const facts = { clientId: "node-host", clientMode: "node", platform: "linux", version: "1", caps: [], permissions: {} };
  const absent = { displayName: undefined, deviceFamily: undefined, modelIdentifier: undefined };
  const node: NodeDeclaration = { nodeId: "d1", commands: ["device.info"], ...facts, ...absent };
  await store.devices.approveSilently(pairingAsk({ role: "node", scopes: [] }), 1);
  const declared = await store.nodes.declare(node, 1);
  assert.ok(declared.kind === "pending");
  await store.nodes.approve(declared.request.requestId, { ...owner, needs: () => [] }, 1);
  return store;
}

for (const [driver, open] of Object.entries(drivers)) {
  test(`${driver}: a key stands for one ask of one caller, for a day; what was dropped never stood`, async () => {
    await using store = await withNode(open);
    const ask = { principal: "secret:local", key: "k", fingerprint: "f", nodeId: "d1", command: "device.info" };

    const outcomes = [
      await store.nodeWork.beginInvocation(ask, 10),
      await store.nodeWork.beginInvocation(ask, 11),
      await store.nodeWork.beginInvocation({ ...ask, fingerprint: "g" }, 11),
      await store.nodeWork.beginInvocation({ ...ask, principal: "device:d2", fingerprint: "g" }, 11),
      await store.nodeWork.beginInvocation(ask, 11 + dayMs),
    ];
    await store.nodeWork.dropInvocation(ask);

    assert.deepEqual(outcomes, ["begun", "repeated", "other-ask", "begun", "begun"]);
    assert.equal(await store.nodeWork.beginInvocation(ask, 12 + dayMs), "begun");
  });

  test(`${driver}: nothing begins that is not approved at that moment`, async () => {
    await using store = await withNode(open);
    const ask = { principal: "secret:local", key: "k", fingerprint: "f", nodeId: "d1", command: "device.info" };

    const other = await store.nodeWork.beginInvocation({ ...ask, command: "system.run" }, 2);
    await store.nodes.remove("d1", owner, 3);

    assert.deepEqual([other, await store.nodeWork.beginInvocation(ask, 4)], ["command-unapproved", "node-unapproved"]);
  });

  test(`${driver}: work that has expired is gone, and so is that of a node or a device that was removed`, async () => {
    const expired = async (remove: (store: Store) => Promise<unknown>): Promise<number> => {
      await using store = await withNode(open);
      await store.nodeWork.enqueue({ nodeId: "d1", type: "status.request", priority: "normal", expiresAtMs: 20 }, 10);
      await remove(store);
      return (await store.nodeWork.listWork("d1", 19)).items.length;
    };

    await using store = await withNode(open);
    await store.nodeWork.enqueue({ nodeId: "d1", type: "status.request", priority: "normal", expiresAtMs: 20 }, 10);
    const first = await store.nodeWork.listWork("d1", 19);
    const late = await store.nodeWork.listWork("d1", 20);
    await store.nodeWork.enqueue({ nodeId: "d1", type: "location.request", priority: "normal", expiresAtMs: 40 }, 30);

    assert.deepEqual([first.items.length, late.items.length, (await store.nodeWork.listWork("d1", 19)).items.length], [1, 0, 1]);
    assert.equal(await expired(() => Promise.resolve()), 1);
    assert.equal(await expired((one) => one.nodes.remove("d1", owner, 11)), 0);
    assert.equal(await expired((one) => one.devices.remove("d1", owner, 11)), 0);
  });
}
