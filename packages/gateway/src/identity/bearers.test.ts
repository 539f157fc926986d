import assert from "node:assert/strict";
import { createSecretKey } from "node:crypto";
import test from "node:test";
import { Bus } from "../bus.ts";
import { createIds } from "../kit/ids.ts";
import { ManualClock } from "../kit/manual-clock.ts";
import { Secret } from "../kit/secret.ts";
import { secretPrincipal } from "../principal/principal.ts";
import { openStoreFile } from "../store/sqlite.ts";
import { createAttempts } from "./attempts.ts";
import { createBearers, type BearerClaim } from "./bearers.ts";
import { createCredentials } from "./credentials.ts";

const ignore = (): void => undefined;
const log = { debug: ignore, info: ignore, warn: ignore, error: ignore };
const owner = { id: "secret:local", scopes: ["operator.admin"], deviceId: undefined, ownDeviceOnly: false };
const peer = { address: "127.0.0.1", directLoopback: true, hasOrigin: false, isConfidential: true };

/** Bearers over a real store; `meanwhile` happens after the token was found and before its device is looked at. */
async function openWorld(meanwhile: (deviceId: string) => Promise<unknown>) {
  const store = await openStoreFile(":memory:", createIds());
  const clock = new ManualClock();
  const claims: BearerClaim[] = [];
  const list = async () => {
    const found = await store.bearers.list();
    await meanwhile(found[0]?.deviceId ?? "");
    return found;
  };
  const bearers = createBearers({
    bearers: { ...store.bearers, list },
    devices: store.devices,
    credentials: createCredentials({ secret: new Secret("s"), tokenKey: createSecretKey(Buffer.alloc(32)), gatewayId: "g" }),
    attempts: createAttempts({ store: store.attempts, clock }),
    authMode: "token",
    clock,
    log,
    bus: new Bus(),
  });
  const { token, deviceId } = await bearers.issue(
    { label: "b", scopes: ["operator.read"], minutes: undefined },
    secretPrincipal(owner.scopes),
  );
  const authenticate = () =>
    bearers.authenticate({
      authorization: `Bearer ${token}`,
      peer,
      scopes: ["operator.read"],
      signal: new AbortController().signal,
      onClaim: (claim) => void claims.push(claim),
    });
  return { store, claims, deviceId, authenticate, [Symbol.asyncDispose]: () => store[Symbol.asyncDispose]() };
}

for (const [what, end] of [
  ["revoked", "revokeToken"],
  ["rotated", "rotateToken"],
  ["removed", "remove"],
] as const) {
  test(`a bearer that is ${what} while it is judged is not let in, and what it asked for was known as its own by then`, async () => {
    const world = await openWorld((deviceId) =>
      end === "remove"
        ? world.store.devices.remove(deviceId, owner, 1)
        : world.store.devices[end]({ deviceId, role: "operator", scopes: undefined }, owner, 1),
    );
    await using _ = world;

    const verdict = await world.authenticate();

    assert.equal(verdict.kind, "unauthorized");
    assert.deepEqual(world.claims, [{ kind: "device", deviceId: world.deviceId }]);
  });
}

test("a bearer that nothing happened to is let in with what it was issued with", async () => {
  await using world = await openWorld(() => Promise.resolve());

  const verdict = await world.authenticate();

  assert.deepEqual(verdict.kind === "admitted" && [verdict.principal.id, verdict.principal.scopes], [
    `device:${world.deviceId}`,
    ["operator.read"],
  ]);
});
