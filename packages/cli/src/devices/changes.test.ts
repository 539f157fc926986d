import assert from "node:assert/strict";
import { test } from "node:test";
import { findChanges, tellChange } from "./changes.ts";
import { at, ownDevice, pairedDevice, upgradeRequest } from "./fixtures.ts";
import type { DeviceList } from "./words.ts";

const empty: DeviceList = { pending: [], paired: [] };
const waiting: DeviceList = { pending: [upgradeRequest], paired: [pairedDevice] };
const settled: DeviceList = { pending: [], paired: [pairedDevice] };

function told(before: DeviceList, after: DeviceList, decisions: readonly (readonly [string, "approved" | "rejected"])[] = [], nowMs = at) {
  return findChanges(before, after, { decisions: new Map(decisions), nowMs }).map(tellChange);
}

test("nothing new is told as nothing, though a device was seen meanwhile", () => {
  const seen = { ...pairedDevice, lastSeenAtMs: at, connected: true };

  assert.deepEqual(told(waiting, { ...waiting, paired: [seen] }), []);
});

test("a request is told with what is new and how to decide", () => {
  assert.deepEqual(told(settled, waiting), [
    "waits: Kitchen (dddddddd) from 192.0.2.7 asks for: read, write; new: write. Decide: ./portreeve devices approve 4f9d1c2a (or reject)",
  ]);
});

test("how a request ended is told as it was heard, else by the clock", () => {
  const what = "the request of Kitchen (dddddddd) for: read, write";

  assert.deepEqual(told(waiting, settled, [[upgradeRequest.requestId, "approved"]]), [`approved: ${what}`]);
  assert.deepEqual(told(waiting, settled, [[upgradeRequest.requestId, "rejected"]]), [`rejected: ${what}`]);
  assert.deepEqual(told(waiting, settled), [`decided: ${what}`]);
  assert.deepEqual(told(waiting, settled, [], upgradeRequest.expiresAtMs), [`expired: ${what}`]);
});

test("devices that come, go and change are told", () => {
  const renamed = { ...pairedDevice, displayName: "Hall" };

  assert.deepEqual(told(empty, settled), ["paired: Kitchen (dddddddd) may: read"]);
  assert.deepEqual(told({ pending: [], paired: [pairedDevice, ownDevice] }, settled), ["removed: cli (eeeeeeee)"]);
  assert.deepEqual(told(settled, { pending: [], paired: [renamed] }), [
    "changed: Hall (dddddddd) may: read (before: Kitchen (dddddddd) read)",
  ]);
});
