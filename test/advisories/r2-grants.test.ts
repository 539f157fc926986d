/** Scopes come from what is stored, never from what a client says of itself. */
import assert from "node:assert/strict";
import { dumpPairing } from "../support/stored-pairing.ts";
import { connectWire, createWireKey, refusedConnect } from "../support/wire-client.ts";
import { advisory, fromRemote, shareGateway } from "./advisory.ts";

const shared = shareGateway();

/** A device that paired silently at read. */
async function pairAtRead(): Promise<{ readonly key: ReturnType<typeof createWireKey>; readonly deviceToken: string }> {
  const { gateway } = shared;
  const key = createWireKey();
  await using wire = await connectWire(gateway.url, { key, token: gateway.token, scopes: ["operator.read"] });
  return { key, deviceToken: (wire.hello["auth"] as { deviceToken: string }).deviceToken };
}

/** The stored grant of one device, as it is in the tables. */
function grantsOf(deviceId: string): string {
  const line = dumpPairing(shared.gateway.stateDir)
    .split("\n")
    .find((one) => one.startsWith("device_grants"));
  const all = JSON.parse(line?.slice("device_grants: ".length) ?? "[]") as { device_id: string; scopes: string }[];
  return all.map((row) => (row.device_id === deviceId ? row.scopes : "")).join("");
}

advisory(11, "a credential that is merely present does not stand in for the device's proof", async () => {
  const { gateway } = shared;
  const key = createWireKey();
  const forged = { ...key, privateKey: createWireKey().privateKey };
  const before = dumpPairing(gateway.stateDir);

  const outcomes = [
    await refusedConnect(gateway.url, { token: "present", scopes: ["operator.admin"] }),
    await refusedConnect(gateway.url, { key, token: "present", scopes: ["operator.admin"] }),
    await refusedConnect(gateway.url, { key: forged, token: gateway.token, scopes: ["operator.admin"] }),
    await refusedConnect(gateway.url, { token: "", scopes: ["operator.admin"] }),
  ];

  assert.deepEqual(
    outcomes.map(({ error }) => error.details?.["code"]),
    ["AUTH_TOKEN_MISMATCH", "AUTH_TOKEN_MISMATCH", "DEVICE_AUTH_SIGNATURE_INVALID", "DEVICE_IDENTITY_REQUIRED"],
  );
  assert.equal(dumpPairing(gateway.stateDir), before);
});

advisory(12, "a remote client or a page with the shared secret and no device keeps none of the scopes it declares", async () => {
  const { gateway } = shared;
  const origin = { origin: "http://localhost:5173" };
  const ask = { token: gateway.token, scopes: ["operator.admin"] };
  for (const headers of [fromRemote, origin]) {
    await using wire = await connectWire(gateway.url, ask, headers);
    const { error } = await wire.request("status");

    assert.deepEqual((wire.hello["auth"] as { scopes: unknown }).scopes, []);
    assert.equal(error?.details?.["code"], "MISSING_SCOPE");
  }
  const { error } = await refusedConnect(gateway.url, ask, { ...fromRemote, ...origin });
  assert.equal(error.details?.["code"], "CONTROL_UI_ORIGIN_NOT_ALLOWED");
});

advisory(13, "an unpaired device with the shared secret from elsewhere gets a request that waits, and no scope", async () => {
  const { gateway } = shared;
  const key = createWireKey();

  const { error, close } = await refusedConnect(gateway.url, { key, token: gateway.token, scopes: ["operator.admin"] }, fromRemote);

  assert.equal(error.details?.["code"], "PAIRING_REQUIRED");
  assert.equal(close.code, 1008);
  assert.equal(grantsOf(key.id), "");
});

advisory(14, "scopes declared over a trusted proxy are held against the approved ones, also for a control UI", async () => {
  const { gateway } = shared;
  const { key, deviceToken } = await pairAtRead();
  const client = { id: "openclaw-control-ui", mode: "webchat" };
  const ask = { key, client, scopes: ["operator.admin"] };

  const bySecret = await refusedConnect(gateway.url, { ...ask, token: gateway.token }, fromRemote);
  const byToken = await refusedConnect(gateway.url, { ...ask, deviceToken }, fromRemote);

  assert.equal(bySecret.error.details?.["reason"], "scope-upgrade");
  assert.equal(byToken.error.details?.["code"], "AUTH_SCOPE_MISMATCH");
  assert.equal(grantsOf(key.id), '["operator.read"]');
});

advisory(15, "a reconnect that calls itself a backend of the gateway claims no admin", async () => {
  const { gateway } = shared;
  const { key } = await pairAtRead();

  for (const client of [
    { id: "gateway-client", mode: "backend" },
    { id: "node-host", mode: "backend", displayName: "internal" },
  ]) {
    const { error } = await refusedConnect(gateway.url, { key, client, token: gateway.token, scopes: ["operator.admin"] });

    assert.equal(error.details?.["code"], "PAIRING_REQUIRED");
  }
  assert.equal(grantsOf(key.id), '["operator.read"]');
});

advisory(16, "a local reconnect with the shared secret does not turn read into admin silently", async () => {
  const { gateway } = shared;
  const { key, deviceToken } = await pairAtRead();

  const { error } = await refusedConnect(gateway.url, { key, token: gateway.token, scopes: ["operator.read", "operator.admin"] });
  await using still = await connectWire(gateway.url, { key, deviceToken, scopes: ["operator.read"] });
  const refused = await still.request("device.pair.list");

  assert.equal(error.details?.["reason"], "scope-upgrade");
  assert.equal(refused.error?.details?.["code"], "MISSING_SCOPE");
  assert.equal(grantsOf(key.id), '["operator.read"]');
});
