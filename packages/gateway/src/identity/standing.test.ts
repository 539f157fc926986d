import assert from "node:assert/strict";
import test from "node:test";
import type { DeviceRecord, DeviceState, Grant, PairingRecord } from "../store/device-store.ts";
import { findGrant, isCorrupt, toStanding } from "./standing.ts";

const nowMs = 1_000;
const facts = {
  deviceId: "d",
  publicKey: "key",
  displayName: undefined,
  platform: "linux",
  deviceFamily: undefined,
  clientId: "cli",
  clientMode: "cli",
  remoteIp: undefined,
};
const operator: Grant = {
  role: "operator",
  scopes: ["operator.read", "operator.talk"],
  tokenScopes: ["operator.read"],
  elevation: { scopes: ["operator.admin"], untilMs: 2_000, seenMs: 0 },
  generation: 1,
  createdAtMs: 1,
  rotatedAtMs: undefined,
  revokedAtMs: undefined,
};
const revoked: Grant = { ...operator, role: "node", revokedAtMs: 5 };
const device: DeviceRecord = {
  ...facts,
  label: undefined,
  approvedVia: "owner",
  createdAtMs: 1,
  approvedAtMs: 1,
  lastSeenAtMs: undefined,
  grants: [revoked, operator],
};
const paired: DeviceState = { kind: "paired", device, refused: false, pending: undefined };
const client = { id: "cli", mode: "cli", version: "1", platform: "linux" } as const;
const asked = { device: { publicKey: "key" }, client, grant: operator, nowMs };

function pendingUntil(expiresAtMs: number): PairingRecord {
  const ask = { role: "operator", scopes: [], reason: "not-paired", isRepair: false } as const;
  return { ...facts, ...ask, requestId: "r", roles: ["operator"], silent: false, createdAtMs: 1, expiresAtMs };
}

test("the grant of a role is found as long as the device is paired in it and it was not revoked", () => {
  assert.equal(findGrant(paired, "operator"), operator);
  assert.equal(findGrant(paired, "node"), undefined);
  assert.equal(findGrant({ kind: "unknown", refused: false, pending: undefined }, "operator"), undefined);
  assert.equal(findGrant({ kind: "corrupt" }, "operator"), undefined);
});

test("a row is damaged when it says so, or when another key stands under the id", () => {
  assert.equal(isCorrupt(paired, { publicKey: "key" }), false);
  assert.equal(isCorrupt(paired, { publicKey: "another" }), true);
  assert.equal(isCorrupt({ kind: "corrupt" }, { publicKey: "key" }), true);
  assert.equal(isCorrupt({ kind: "unknown", refused: true, pending: pendingUntil(2_000) }, { publicKey: "another" }), false);
});

test("whoever has a damaged row stands nowhere, whatever else the row says", () => {
  assert.deepEqual(toStanding({ kind: "corrupt" }, asked), { kind: "corrupt" });
  assert.deepEqual(toStanding(paired, { ...asked, device: { publicKey: "another" } }), { kind: "corrupt" });
});

test("of an unknown device it is known whether it was refused, and whether a request of its waits that has not expired", () => {
  const stand = (refused: boolean, pending: PairingRecord | undefined) =>
    toStanding({ kind: "unknown", refused, pending }, { ...asked, grant: undefined });

  assert.deepEqual(stand(false, undefined), { kind: "unknown", refused: false, hasPending: false });
  assert.deepEqual(stand(true, pendingUntil(nowMs + 1)), { kind: "unknown", refused: true, hasPending: true });
  assert.deepEqual(stand(true, pendingUntil(nowMs)), { kind: "unknown", refused: true, hasPending: false });
});

test("a paired device stands at what is granted now: its ceiling, and what its token covers, with what it has for a time", () => {
  const standing = { kind: "paired", metadataChanged: false } as const;

  assert.deepEqual(toStanding(paired, asked), {
    ...standing,
    ceiling: ["operator.admin", "operator.read", "operator.talk"],
    tokenScopes: ["operator.admin", "operator.read"],
  });
  assert.deepEqual(toStanding(paired, { ...asked, nowMs: 2_000 }), {
    ...standing,
    ceiling: ["operator.read", "operator.talk"],
    tokenScopes: ["operator.read"],
  });
  assert.deepEqual(toStanding(paired, { ...asked, grant: undefined }), { ...standing, ceiling: undefined, tokenScopes: [] });
});

test("a paired device that says it runs on something else is seen to have changed", () => {
  const changed = (claimed: object): boolean => {
    const standing = toStanding(paired, { ...asked, client: { ...client, ...claimed } });
    return standing.kind === "paired" && standing.metadataChanged;
  };
  const ofAFamily: DeviceState = { ...paired, device: { ...device, deviceFamily: "Mac" } };

  assert.deepEqual([changed({}), changed({ deviceFamily: "Phone" }), changed({ platform: "windows" })], [false, false, true]);
  assert.deepEqual(toStanding(ofAFamily, asked), { ...toStanding(paired, asked), metadataChanged: true });
});
