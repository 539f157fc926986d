/** What every store driver must hold about setup codes. SQLite in memory is the driver there is. */
import assert from "node:assert/strict";
import test from "node:test";
import { createIds } from "../../packages/gateway/src/kit/ids.ts";
import type { Actor } from "../../packages/gateway/src/store/device-management.ts";
import type { SetupCodePresentation, SetupCodeToIssue } from "../../packages/gateway/src/store/setup-codes.ts";
import { openStoreFile } from "../../packages/gateway/src/store/sqlite.ts";
import type { DeviceFacts, PairingAsk } from "../../packages/gateway/src/store/device-store.ts";
import type { Store } from "../../packages/gateway/src/store/store.ts";

const drivers: Readonly<Record<string, () => Promise<Store>>> = { sqlite: () => openStoreFile(":memory:", createIds()) };

const expiresAtMs = 10_000;
const code: SetupCodeToIssue = {
  setupId: "setup_1",
  tokenHash: "hash-1",
  role: "operator",
  scopes: ["operator.read"],
  expiresAtMs,
};
const owner: Actor = { id: "secret:local", scopes: ["operator.admin"], deviceId: undefined, ownDeviceOnly: false };
const device: DeviceFacts = {
  deviceId: "d1",
  publicKey: "k".repeat(43),
  displayName: undefined,
  platform: "linux",
  deviceFamily: undefined,
  clientId: "cli",
  clientMode: "cli",
  remoteIp: "192.0.2.7",
};
const presented: SetupCodePresentation = { tokenHash: "hash-1", device, role: "operator", scopes: [] };
const asked: PairingAsk = {
  ...device,
  role: "operator",
  scopes: ["operator.admin"],
  reason: "not-paired",
  isRepair: false,
  words: "a b c d",
};

for (const [driver, open] of Object.entries(drivers)) {
  const check = (name: string, body: (store: Store) => Promise<void>): void => {
    void test(`${driver}: ${name}`, async () => {
      await using store = await open();
      await store.setupCodes.issue(code, owner, 1);
      await body(store);
    });
  };

  check("a code is good until the millisecond it ends", async (store) => {
    await store.setupCodes.issue({ ...code, setupId: "setup_2", tokenHash: "hash-2" }, owner, 1);

    const atTheEnd = await store.setupCodes.redeem(presented, expiresAtMs);
    const before = await store.setupCodes.redeem({ ...presented, tokenHash: "hash-2" }, expiresAtMs - 1);

    assert.deepEqual([atTheEnd, before.kind], [{ kind: "refused", why: "expired" }, "approved"]);
  });

  check("each refusal is told apart, and only the first key is remembered", async (store) => {
    const other = { ...device, deviceId: "d2", publicKey: "o".repeat(43) };
    const outcomes = [
      await store.setupCodes.redeem({ ...presented, tokenHash: "no such" }, 2),
      await store.setupCodes.redeem({ ...presented, scopes: ["operator.write"] }, 2),
      await store.setupCodes.redeem({ ...presented, device: other }, 2),
      await store.setupCodes.redeem(presented, 2),
      await store.setupCodes.redeem(presented, 2),
      await store.setupCodes.redeem({ ...presented, device: other }, 2),
    ];

    assert.deepEqual(
      outcomes.map((outcome) => (outcome.kind === "refused" ? outcome.why : outcome.kind)),
      ["unknown", "beyond", "other-key", "approved", "used", "used"],
    );
    assert.equal((await store.devices.find("d2")).kind, "unknown");
  });

  check("a device keeps what it was approved for, gets what the code says, and its earlier token ends", async (store) => {
    await store.devices.approveSilently({ ...asked, scopes: ["operator.approvals"] }, 2);

    const outcome = await store.setupCodes.redeem(presented, 3);

    const [grant] = outcome.kind === "approved" ? outcome.device.grants : [];
    assert.deepEqual([grant?.scopes, grant?.generation], [["operator.approvals", "operator.read"], 2]);
  });

  check("a request that waits is not widened, narrowed or approved by a code", async (store) => {
    const request = await store.devices.requestPairing(asked, 2);

    const outcome = await store.setupCodes.redeem(presented, 3);

    const { pending, paired } = await store.devices.list(4);
    assert.ok(request.kind === "pending" && outcome.kind === "approved");
    assert.deepEqual([pending, paired[0]?.grants[0]?.scopes], [[request.request], ["operator.read"]]);
  });

  check("an owner's code lets a key in again that was rejected before", async (store) => {
    const request = await store.devices.requestPairing(asked, 2);
    await store.devices.reject(request.kind === "pending" ? request.request.requestId : "", owner, 2);

    const outcome = await store.setupCodes.redeem(presented, 3);

    const state = await store.devices.find(device.deviceId, device.publicKey);
    assert.deepEqual([outcome.kind, state.kind, state.kind === "paired" && state.refused], ["approved", "paired", false]);
  });

  const isHeardNow = async (store: Store): Promise<boolean | undefined> => {
    const status = await store.setupCodes.status("setup_1", 9);
    return status.state === "completed" ? status.isHeard : undefined;
  };

  check("a device is in doubt from the moment it is paired until it was heard", async (store) => {
    const unused = await isHeardNow(store);
    await store.setupCodes.redeem(presented, 2);
    const before = await isHeardNow(store);
    await store.setupCodes.markHeard("setup_1", 3);

    assert.deepEqual([unused, before, await isHeardNow(store)], [undefined, false, true]);
  });

  check("a device that was let in again has heard; one that was seen only before has not", async (store) => {
    await store.devices.approveSilently(asked, 1);
    await store.devices.markSeen(device.deviceId, 2);
    await store.setupCodes.redeem(presented, 2);
    const before = await isHeardNow(store);
    await store.devices.markSeen(device.deviceId, 3);

    assert.deepEqual([before, await isHeardNow(store)], [false, true]);
  });

  check("a code that ended more than a day ago is gone with the next one", async (store) => {
    const dayLater = expiresAtMs + 86_400_001;
    await store.setupCodes.issue({ ...code, setupId: "setup_2", tokenHash: "hash-2", expiresAtMs: dayLater + 1 }, owner, dayLater);

    const states = [await store.setupCodes.status("setup_1", dayLater), await store.setupCodes.status("setup_2", dayLater)];

    assert.deepEqual(states, [{ state: "unknown" }, { state: "waiting" }]);
  });

  check("a device that is gone issues none, and its codes that wait go with it", async (store) => {
    await store.devices.approveSilently({ ...asked, deviceId: "d2", publicKey: "o".repeat(43) }, 2);
    const issuer: Actor = { id: "device:d2", scopes: ["operator.admin"], deviceId: "d2", ownDeviceOnly: false };
    await store.setupCodes.issue({ ...code, setupId: "setup_2", tokenHash: "hash-2" }, issuer, 3);
    const before = await store.setupCodes.isGood({ tokenHash: "hash-2", publicKey: device.publicKey }, 4);

    await store.devices.remove("d2", owner, 4);
    const outcome = await store.setupCodes.redeem({ ...presented, tokenHash: "hash-2" }, 5);
    const late = await store.setupCodes.issue({ ...code, setupId: "setup_3", tokenHash: "hash-3" }, issuer, 5);

    assert.deepEqual([before, outcome, late.kind], [true, { kind: "refused", why: "unknown" }, "denied"]);
    assert.equal((await store.setupCodes.redeem(presented, 5)).kind, "approved");
  });

  check("a refreshed request carries the words of its newest connect", async (store) => {
    await store.devices.requestPairing(asked, 2);
    await store.devices.requestPairing({ ...asked, words: "e f g h" }, 3);

    const { pending } = await store.devices.list(4);

    assert.deepEqual(
      pending.map(({ words }) => words),
      ["e f g h"],
    );
  });
}
