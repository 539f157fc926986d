import assert from "node:assert/strict";
import { createSecretKey } from "node:crypto";
import test from "node:test";
import { createDeviceKey } from "@portreeve/client";
import { methods, ProtocolError } from "@portreeve/protocol";
import { Bus } from "../bus.ts";
import type { Context } from "../dispatch/types.ts";
import { createAttempts } from "../identity/attempts.ts";
import { createBearers } from "../identity/bearers.ts";
import { createCredentials } from "../identity/credentials.ts";
import { createDeviceManager } from "../identity/device-management.ts";
import { createPairing } from "../identity/pairing.ts";
import { createScopeUpgrades } from "../identity/scope-upgrade.ts";
import { createSystemClock } from "../kit/clock.ts";
import { createIds } from "../kit/ids.ts";
import { Secret } from "../kit/secret.ts";
import { secretPrincipal } from "../principal/principal.ts";
import { openStoreFile } from "../store/sqlite.ts";
import { deviceHandlers } from "./devices.ts";

const key = createDeviceKey();
const context: Context<undefined> = {
  principal: secretPrincipal(["operator.admin"]),
  connection: undefined,
  signal: new AbortController().signal,
  accept: () => undefined,
};

/** The handlers over a real store in which one device waits. */
async function openHandlers() {
  const store = await openStoreFile(":memory:", createIds());
  const ignore = (): void => undefined;
  const log = { debug: ignore, info: ignore, warn: ignore, error: ignore };
  const clock = createSystemClock();
  const credentials = createCredentials({ secret: new Secret("s"), tokenKey: createSecretKey(Buffer.alloc(32)), gatewayId: "g" });
  const identity = { store: store.devices, credentials, clock, log, bus: new Bus() };
  const attempts = createAttempts({ store: store.attempts, clock });
  const pairing = createPairing({ ...identity, authMode: "token", attempts, autoApproveLocal: true });
  const manager = createDeviceManager({ ...identity, expel: () => Promise.resolve(), cancelRuns: () => Promise.resolve([]) });
  const facts = { deviceId: key.id, publicKey: key.publicKey, displayName: undefined, platform: "linux", deviceFamily: undefined };
  const ask = { ...facts, clientId: "cli", clientMode: "cli", remoteIp: "192.0.2.7", role: "operator", scopes: ["operator.read"] };
  const asked = await store.devices.requestPairing({ ...ask, reason: "not-paired", isRepair: false }, clock.now());
  assert.ok(asked.kind === "pending");
  const bearers = createBearers({ ...identity, bearers: store.bearers, devices: store.devices, authMode: "token", attempts });
  const upgrades = createScopeUpgrades(identity);
  const handlers = deviceHandlers({ pairing, manager, bearers, upgrades, connectedDevices: () => new Set([key.id]) });
  return { handlers, requestId: asked.request.requestId, [Symbol.asyncDispose]: () => store[Symbol.asyncDispose]() };
}

test("the list shows who waits, exactly as its definition says", async () => {
  await using world = await openHandlers();

  const list = await world.handlers["device.pair.list"](context, {});

  assert.deepEqual(methods["device.pair.list"].result.strict().parse(list), list);
  assert.deepEqual(
    [list.paired, list.pending.map(({ requestId, remoteIp }) => [requestId, remoteIp])],
    [[], [[world.requestId, "192.0.2.7"]]],
  );
});

test("an approved device is shown with its grant and whether it is connected, and without a token", async () => {
  await using world = await openHandlers();

  const { requestId, device } = await world.handlers["device.pair.approve"](context, { requestId: world.requestId });

  const list = await world.handlers["device.pair.list"](context, {});
  assert.equal(requestId, world.requestId);
  assert.deepEqual([list.pending, list.paired], [[], [device]]);
  assert.deepEqual([device.approvedVia, device.connected, device.roles, device.scopes], ["owner", true, ["operator"], ["operator.read"]]);
  assert.deepEqual(
    device.tokens.map((token) => Object.keys(token)),
    [["role", "scopes", "createdAtMs"]],
  );
});

test("a rejected request is gone, and rejecting it again says so", async () => {
  await using world = await openHandlers();
  const { requestId } = world;

  const rejected = await world.handlers["device.pair.reject"](context, { requestId });

  assert.deepEqual(rejected, { requestId, deviceId: key.id });
  await assert.rejects(
    world.handlers["device.pair.reject"](context, { requestId }),
    (error) => error instanceof ProtocolError && error.code === "UNKNOWN_REQUEST",
  );
});
