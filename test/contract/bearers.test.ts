/** What every store driver must hold about bearers. SQLite in memory is the driver there is. */
import assert from "node:assert/strict";
import test from "node:test";
import { createIds } from "../../packages/gateway/src/kit/ids.ts";
import type { BearerToIssue } from "../../packages/gateway/src/store/bearer-store.ts";
import type { Actor } from "../../packages/gateway/src/store/device-management.ts";
import { openStoreFile } from "../../packages/gateway/src/store/sqlite.ts";
import type { Store } from "../../packages/gateway/src/store/store.ts";

const drivers: Readonly<Record<string, () => Promise<Store>>> = { sqlite: () => openStoreFile(":memory:", createIds()) };

const owner: Actor = { id: "secret:local", scopes: ["operator.admin"], deviceId: undefined, ownDeviceOnly: false };
const most = 256;

function bearer(number: number, over: Partial<BearerToIssue> = {}): BearerToIssue {
  const device = { deviceId: `d${number}`, publicKey: String(number).padStart(43, "k") };
  return { device, label: `bearer ${number}`, scopes: ["operator.write", "operator.read"], untilMs: undefined, ...over };
}

for (const [driver, open] of Object.entries(drivers)) {
  const check = (name: string, body: (store: Store) => Promise<void>): void => {
    void test(`${driver}: ${name}`, async () => {
      await using store = await open();
      await body(store);
    });
  };

  check("a bearer is a paired device with exactly its scopes, and a row of the audit", async (store) => {
    const outcome = await store.bearers.issue(bearer(1), owner, 5);
    const state = await store.devices.find("d1");
    const [row] = await store.audit.list(1);

    assert.equal(outcome.kind, "issued");
    assert.deepEqual(state.kind === "paired" && [state.device.approvedVia, state.device.displayName], ["bearer", "bearer 1"]);
    assert.deepEqual(state.kind === "paired" && state.device.grants.map(({ role, scopes }) => [role, scopes]), [
      ["operator", ["operator.read", "operator.write"]],
    ]);
    assert.deepEqual([row?.kind, row?.actor, row?.subject], ["device.bearer-issued", owner.id, "d1"]);
    assert.deepEqual(row?.facts, { label: "bearer 1", scopes: ["operator.read", "operator.write"] });
  });

  check("a bearer for a time holds its scopes for that time and no others for good", async (store) => {
    await store.bearers.issue(bearer(1, { untilMs: 100 }), owner, 5);

    const state = await store.devices.find("d1");

    assert.deepEqual(state.kind === "paired" && state.device.grants.map(({ scopes, elevation }) => [scopes, elevation]), [
      [[], { scopes: ["operator.read", "operator.write"], untilMs: 100, seenMs: 5 }],
    ]);
  });

  check("only live bearers are listed: no device of another kind, none that is revoked or removed", async (store) => {
    const facts = { displayName: undefined, platform: undefined, deviceFamily: undefined, clientId: "bearer", clientMode: "http" };
    const ask = { ...bearer(9).device, ...facts, remoteIp: undefined, role: "operator", scopes: [], reason: "not-paired" } as const;
    await store.devices.approveSilently({ ...ask, isRepair: false }, 1);
    for (const number of [1, 2, 3]) await store.bearers.issue(bearer(number), owner, 1);
    await store.devices.revokeToken({ deviceId: "d1", role: "operator" }, owner, 2);
    await store.devices.remove("d2", owner, 2);

    const listed = await store.bearers.list();

    assert.deepEqual(listed, [{ deviceId: "d3", role: "operator", generation: 1 }]);
  });

  check("whoever issues must be paired still, manage more than itself, and hold what it hands on", async (store) => {
    await store.bearers.issue(bearer(1, { scopes: ["operator.read"] }), owner, 1);
    const device: Actor = { id: "device:d1", scopes: ["operator.admin"], deviceId: "d1", ownDeviceOnly: false };

    const outcomes = [
      await store.bearers.issue(bearer(2), { ...device, deviceId: "gone" }, 2),
      await store.bearers.issue(bearer(2), { ...device, ownDeviceOnly: true }, 2),
      await store.bearers.issue(bearer(2), device, 2),
      await store.bearers.issue(bearer(2, { scopes: ["operator.read"] }), device, 2),
    ];

    assert.deepEqual(
      outcomes.map((outcome) => (outcome.kind === "exceeds-issuer" ? outcome.scope : outcome.kind)),
      ["denied", "denied", "operator.write", "issued"],
    );
  });

  check("a name is given once, and free again when its bearer is removed; a renamed one has its new name", async (store) => {
    const again = (number: number, label: string) => store.bearers.issue(bearer(number, { label }), owner, 2);
    await store.bearers.issue(bearer(1, { label: "ci" }), owner, 1);

    const taken = await again(2, "ci");
    await store.devices.rename({ deviceId: "d1", label: "old ci" }, owner, 2);
    const outcomes = [await again(3, "ci"), await again(4, "old ci")];
    await store.devices.remove("d1", owner, 3);
    outcomes.push(await again(5, "old ci"));

    assert.deepEqual(taken, { kind: "name-taken", deviceId: "d1" });
    assert.deepEqual(
      outcomes.map(({ kind }) => kind),
      ["issued", "name-taken", "issued"],
    );
  });

  check("there are so many bearers and no more, until one is removed", async (store) => {
    for (let number = 0; number < most; number += 1) await store.bearers.issue(bearer(number), owner, 1);

    const beyond = await store.bearers.issue(bearer(most), owner, 1);
    await store.devices.remove("d0", owner, 2);
    const again = await store.bearers.issue(bearer(most), owner, 2);

    assert.deepEqual([beyond, again.kind], [{ kind: "too-many", most }, "issued"]);
  });
}
