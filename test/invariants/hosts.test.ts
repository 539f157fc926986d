/** The invariants of authority, by number: a program beside the gateway acts as itself, and a copied secret makes nobody it. */
import assert from "node:assert/strict";
import test from "node:test";
import { createDeviceKey, GatewayClient, type Presentation } from "@portreeve/client";
import { bothChildren, describeChildren, pairDevice, splitInTwo } from "../support/delegation.ts";
import { callTools, say, startFakeOpenAi } from "../support/fake-openai.ts";
import { startGateway, type TestGateway } from "../support/start-gateway.ts";
import { dumpPairing } from "../support/stored-pairing.ts";
import { connectWire, createWireKey, refusedConnect } from "../support/wire-client.ts";

const elsewhere = { "x-forwarded-for": "203.0.113.9", "x-forwarded-proto": "https" };
const behindProxy = { gateway: { trustedProxies: ["127.0.0.1"] } };

/** A program with a key of its own, which presents what it is given. */
function openHost(gw: TestGateway, device: ReturnType<typeof createDeviceKey>, presentation: Presentation): Promise<GatewayClient> {
  const client = { id: "gateway-client", mode: "backend", version: "1.0.0", platform: "linux" };
  return GatewayClient.open({ url: gw.url, client, device, present: () => presentation, reconnect: false });
}

test("18. a host is paired once and from then on spawns with its own token, while the pairing tables stay as they are", async () => {
  await using gw = await startGateway();
  const [device, scopes] = [createDeviceKey(), ["operator.write"]];
  const deviceToken = await (async () => {
    using paired = await openHost(gw, device, { scopes, credential: { kind: "secret", value: gw.token } });
    return paired.hello.deviceToken ?? assert.fail("no token");
  })();
  using host = await openHost(gw, device, { scopes, credential: { kind: "device-token", value: deviceToken } });
  await host.call("sessions.patch", { key: "agent:main:noted", label: "after the device was noted as seen" });
  const before = dumpPairing(gw.stateDir);

  const { status } = await host.call("agent", { message: splitInTwo, idempotencyKey: "k" });
  const { runs } = await host.call("runs.list", { sessionKey: "agent:main:main" });

  assert.deepEqual([status, await describeChildren(gw, "k")], ["ok", bothChildren]);
  assert.deepEqual(
    runs.map(({ startedBy }) => startedBy),
    [`device:${device.id}`],
  );
  assert.equal(dumpPairing(gw.stateDir), before);
});

test("18. a host elsewhere with a copy of the shared secret holds nothing by it, with a key of its own or without", async () => {
  await using gw = await startGateway({ config: behindProxy });
  const asked = { token: gw.token, scopes: ["operator.admin", "operator.write"] };

  await using bare = await connectWire(gw.url, asked, elsewhere);
  const answers = [await bare.request("status"), await bare.request("subagents.spawn", { task: "x", idempotencyKey: "k" })];
  const { error } = await refusedConnect(gw.url, { ...asked, key: createWireKey() }, elsewhere);

  assert.deepEqual(
    answers.map((answer) => answer.error?.details?.["code"]),
    ["MISSING_SCOPE", "MISSING_SCOPE"],
  );
  assert.deepEqual([error.details?.["code"], error.details?.["reason"]], ["PAIRING_REQUIRED", "not-paired"]);
  assert.deepEqual((await gw.callerWith("operator.pairing").call("device.pair.list", {})).paired, []);
});

test("18. a copied device token is nobody's: neither with another key, nor without one, nor as a bearer", async () => {
  await using gw = await startGateway({ config: behindProxy });
  const { key, deviceToken } = await pairDevice(gw, ["operator.write"]);
  const [scopes, other] = [["operator.write"], createWireKey()];

  const tries = [
    await refusedConnect(gw.url, { key: other, deviceToken, scopes }),
    await refusedConnect(gw.url, { key: { ...other, id: key.id }, deviceToken, scopes }),
    await refusedConnect(gw.url, { key: { ...other, id: key.id, publicKey: key.publicKey }, deviceToken, scopes }),
    await refusedConnect(gw.url, { deviceToken, scopes }),
  ];
  const { status } = await fetch(`${gw.url.replace("ws:", "http:")}/sessions/main/history`, {
    headers: { ...elsewhere, authorization: `Bearer ${deviceToken}` },
  });

  assert.deepEqual(
    tries.map(({ error }) => error.details?.["code"]),
    ["AUTH_DEVICE_TOKEN_MISMATCH", "DEVICE_AUTH_DEVICE_ID_MISMATCH", "DEVICE_AUTH_SIGNATURE_INVALID", "DEVICE_IDENTITY_REQUIRED"],
  );
  assert.equal(status, 401);
  await using own = await connectWire(gw.url, { key, deviceToken, scopes });
  assert.equal((await own.request("status")).ok, true);
});

test("18. a run has no secret to hand on: neither it nor its child is told the gateway's, or a device's token", async () => {
  const isChild = (text: string): boolean => text.includes("CHILD");
  await using provider = await startFakeOpenAi({
    handler: ({ body }) => {
      const last = body.messages?.at(-1);
      if (last?.role === "user" && isChild(String(last.content))) return say("child done");
      if (last?.role === "user") return callTools({ id: "spawn", name: "sessions_spawn", args: { task: "CHILD" } });
      return say("done");
    },
  });
  const models = { providers: { fake: { api: "openai-compatible", baseUrl: provider.baseUrl } } };
  await using gw = await startGateway({ config: { models, agents: { defaults: { model: "fake/m" } } } });
  const { key, deviceToken } = await pairDevice(gw, ["operator.write"]);
  await using wire = await connectWire(gw.url, { key, deviceToken, scopes: ["operator.write"] });

  wire.send({ type: "req", id: "go", method: "agent", params: { message: "go", idempotencyKey: "k" } });
  const { payload } = await wire.frame(({ id, payload: one }) => id === "go" && one?.["status"] !== "accepted");
  const told = JSON.stringify([provider.requests.map(({ headers, body }) => [headers, body]), wire.frames.slice(2)]);

  assert.equal(payload?.["status"], "ok");
  assert.ok(provider.requests.some(({ body }) => isChild(JSON.stringify(body.messages?.at(-1)))));
  for (const secret of [gw.token, deviceToken]) assert.equal(told.includes(secret), false);
});
