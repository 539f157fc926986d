import assert from "node:assert/strict";
import { test } from "node:test";
import { createDeviceKey, RemoteError } from "@portreeve/client";
import { captureIo } from "../../../../test/support/captured-io.ts";
import { startPeer, type PeerRequest } from "../../../../test/support/scripted-peer.ts";
import { Access } from "../access.ts";
import { pairedDevice, upgradeRequest } from "./fixtures.ts";
import { watchDevices } from "./watch.ts";
import type { DeviceList } from "./words.ts";

const waiting: DeviceList = { pending: [upgradeRequest], paired: [pairedDevice] };
const settled: DeviceList = { pending: [], paired: [pairedDevice] };
const backoff = { minDelayMs: 1, maxDelayMs: 1 };

function accessTo(url: string): Access {
  const tokens = { find: () => Promise.resolve("t"), save: () => Promise.resolve(), forget: () => Promise.resolve() };
  const device = createDeviceKey();
  return new Access({
    target: { url, secret: () => Promise.resolve(undefined), tlsFingerprint: undefined },
    device: () => Promise.resolve(device),
    pins: { admit: () => Promise.resolve({ kind: "known" }) },
    tokens,
    version: "1",
  });
}

test("what waits is told at once, what changes when a hint comes, and Ctrl-C ends it well", async () => {
  const io = captureIo();
  const steps: ((request: PeerRequest) => void)[] = [
    ({ answer, event }) => {
      answer(waiting);
      event("device.pair.resolved", { requestId: upgradeRequest.requestId, deviceId: "d", decision: "approved", ts: 1 });
    },
    ({ answer }) => {
      answer(settled);
      io.interrupt();
    },
  ];
  await using peer = await startPeer({ onRequest: (request) => steps.shift()?.(request) });

  await watchDevices(io, accessTo(peer.url), { asJson: false });

  assert.match(io.stdout, /^\d\d:\d\d:\d\dZ {2}waits: Kitchen .*devices approve 4f9d1c2a.*\n\S+ {2}approved: the request of Kitchen.*\n$/);
  assert.equal(io.stderr, "Watching: 1 wait for an approval, 1 paired. Ctrl-C stops.\n");
});

test("a lost connection is opened again, and what was missed is told", async () => {
  const io = captureIo();
  await using peer = await startPeer({
    onRequest({ connection, answer, close, event }) {
      if (connection === 0) {
        answer(settled);
        return close(1012, "service restart");
      }
      answer(waiting);
      if (io.stdout.includes("requested")) return io.interrupt();
      event("device.pair.changed", {});
    },
  });

  await watchDevices(io, accessTo(peer.url), { asJson: true, backoff });

  const lines = io.stdout.trimEnd().split("\n");
  const kinds = lines.map((line) => (JSON.parse(line) as { kind: string }).kind);
  assert.deepEqual([kinds, io.stderr], [["watching", "requested"], ""]);
});

test("a gateway that refuses at first is an error, not a watch", async () => {
  await using peer = await startPeer({
    onConnect: () => ({ error: { code: "INVALID_REQUEST", message: "no", details: { code: "AUTH_TOKEN_MISSING" } } }),
  });

  await assert.rejects(watchDevices(captureIo(), accessTo(peer.url), { asJson: false, backoff }), RemoteError);
});

test("an interrupt while the gateway is away ends the watch", async () => {
  const io = captureIo();
  await using peer = await startPeer({
    onRequest({ answer, close }) {
      answer(settled);
      close(1012, "service restart");
      io.interrupt();
    },
  });

  await watchDevices(io, accessTo(peer.url), { asJson: false, backoff });

  assert.equal(io.stdout, "");
});
