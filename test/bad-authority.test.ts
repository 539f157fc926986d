/** What somebody can try to gain authority, or to keep it from others: a typed error, and nothing is changed. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import test from "node:test";
import { limits } from "@portreeve/protocol";
import { startGatewayProcess } from "./support/gateway-process.ts";
import { createManualClock } from "./support/manual-clock.ts";
import { startGateway, type TestGateway } from "./support/start-gateway.ts";
import { dumpPairing } from "./support/stored-pairing.ts";
import { connectParams, connectWire, createWireKey, openWire, refusedConnect, type Wire, type WireKey } from "./support/wire-client.ts";

const throughProxy = { config: { gateway: { trustedProxies: ["127.0.0.1"] } } };
const from = (address: string): Readonly<Record<string, string>> => ({ "x-forwarded-for": address });

async function pair(gateway: TestGateway, scopes: readonly string[]): Promise<{ readonly key: WireKey; readonly deviceToken: string }> {
  const key = createWireKey();
  await using wire = await connectWire(gateway.url, { key, token: gateway.token, scopes });
  return { key, deviceToken: (wire.hello["auth"] as { deviceToken: string }).deviceToken };
}

function codeOf(error: { readonly details?: Record<string, unknown> } | undefined): unknown {
  return error?.details?.["code"];
}

test("a forged signature is refused by name and leaves the tables as they were", async () => {
  await using gateway = await startGateway();
  const { key } = await pair(gateway, ["operator.read"]);
  const before = dumpPairing(gateway.stateDir);
  const forger = { ...key, privateKey: createWireKey().privateKey };

  for (const layout of ["v2", "v3"] as const) {
    const { error, close } = await refusedConnect(gateway.url, { key: forger, token: gateway.token, scopes: ["operator.admin"], layout });

    assert.equal(codeOf(error), "DEVICE_AUTH_SIGNATURE_INVALID");
    assert.equal(close.code, 1008);
  }
  assert.equal(dumpPairing(gateway.stateDir), before);
});

test("a signed connect serves once: not again on its own connection, and on no other", async () => {
  await using gateway = await startGateway();
  const { key } = await pair(gateway, ["operator.admin"]);
  await using first = await openWire(gateway.url);
  const signed = connectParams(first, { key, token: gateway.token, scopes: ["operator.admin"] });
  const welcome = await first.request("connect", signed);
  const before = dumpPairing(gateway.stateDir).replace(/"last_seen_at_ms":(?:\d+|null)/g, "");

  const again = await first.request("connect", signed);
  await using second = await openWire(gateway.url);
  const elsewhere = await second.request("connect", signed);

  assert.equal(welcome.ok, true);
  assert.equal(codeOf(again.error), "CONNECT_ONLY_FIRST");
  assert.equal(codeOf(elsewhere.error), "DEVICE_AUTH_NONCE_MISMATCH");
  assert.equal((await second.closed).code, 1008);
  assert.equal(dumpPairing(gateway.stateDir).replace(/"last_seen_at_ms":(?:\d+|null)/g, ""), before);
});

test("another device's token opens nothing, in whichever field it stands", async () => {
  await using gateway = await startGateway();
  const rich = await pair(gateway, ["operator.admin"]);
  const poor = await pair(gateway, ["operator.read"]);
  const before = dumpPairing(gateway.stateDir);

  const paired = await refusedConnect(gateway.url, { key: poor.key, deviceToken: rich.deviceToken, scopes: ["operator.read"] });
  const inToken = await refusedConnect(gateway.url, { key: poor.key, token: rich.deviceToken, scopes: ["operator.read"] });
  const stranger = await refusedConnect(gateway.url, { key: createWireKey(), deviceToken: rich.deviceToken, scopes: ["operator.read"] });
  const nobody = await refusedConnect(gateway.url, { deviceToken: rich.deviceToken, scopes: ["operator.read"] });

  assert.deepEqual(
    [paired, inToken, stranger, nobody].map(({ error }) => codeOf(error)),
    ["AUTH_DEVICE_TOKEN_MISMATCH", "AUTH_TOKEN_MISMATCH", "AUTH_DEVICE_TOKEN_MISMATCH", "DEVICE_IDENTITY_REQUIRED"],
  );
  assert.equal(dumpPairing(gateway.stateDir), before);
});

test("a request that expired or was replaced cannot be approved any more, and the one that replaced it can", async () => {
  const clock = createManualClock();
  await using gateway = await startGateway({ clock });
  const { key } = await pair(gateway, ["operator.read"]);
  const ask = async (scopes: readonly string[]): Promise<string> => {
    const { error } = await refusedConnect(gateway.url, { key, token: gateway.token, scopes, signedAt: clock.now() });
    return String(error.details?.["requestId"]);
  };
  const expired = await ask(["operator.write"]);
  clock.advance(limits.pairingRequestTtlMs);
  await using owner = await connectWire(gateway.url, { token: gateway.token, scopes: ["operator.admin"] });
  const late = await owner.request("device.pair.approve", { requestId: expired });
  const replaced = await ask(["operator.write"]);
  const current = await ask(["operator.pairing"]);
  const before = dumpPairing(gateway.stateDir);

  const old = await owner.request("device.pair.approve", { requestId: replaced });
  const unchanged = dumpPairing(gateway.stateDir);
  const good = await owner.request("device.pair.approve", { requestId: current });

  assert.deepEqual([codeOf(late.error), codeOf(old.error)], ["UNKNOWN_REQUEST", "UNKNOWN_REQUEST"]);
  assert.match(String(late.error?.details?.["remediationHint"]), /devices list/);
  assert.equal(unchanged, before);
  assert.equal(good.ok, true);
});

test("an approver who lacks one of the scopes is told which, and the request goes on waiting", async () => {
  await using gateway = await startGateway();
  const { key } = await pair(gateway, ["operator.read"]);
  const { error: waiting } = await refusedConnect(gateway.url, { key, token: gateway.token, scopes: ["operator.write", "operator.admin"] });
  const requestId = waiting.details?.["requestId"];
  const before = dumpPairing(gateway.stateDir);

  for (const [scopes, missing] of [
    [["operator.write"], "operator.pairing"],
    [["operator.pairing"], "operator.admin"],
    [["operator.pairing", "operator.write"], "operator.admin"],
  ] as const) {
    await using approver = await connectWire(gateway.url, { token: gateway.token, scopes });
    const { error } = await approver.request("device.pair.approve", { requestId });

    assert.equal(codeOf(error), "MISSING_SCOPE");
    assert.equal(error?.details?.["missingScope"], missing);
  }
  assert.equal(dumpPairing(gateway.stateDir), before);
});

test("10,000 requests from one peer are sixteen, the oldest; another peer's waits beside them, and a local device pairs", async () => {
  await using gateway = await startGateway(throughProxy);
  const first = await refusedConnect(gateway.url, { key: createWireKey(), token: gateway.token, scopes: [] }, from("203.0.113.1"));
  const facts = { displayName: undefined, platform: "linux", deviceFamily: undefined, clientId: "cli", clientMode: "cli" };
  const ask = { ...facts, remoteIp: "203.0.113.1", role: "operator", scopes: [], reason: "not-paired", isRepair: false } as const;
  const { devices } = gateway.gateway.store;
  const outcomes = await Promise.all(
    Array.from({ length: 10_000 }, (_, index) => {
      const deviceId = index.toString(16).padStart(64, "0");
      return devices.requestPairing({ ...ask, deviceId, publicKey: deviceId.slice(0, 43) }, Date.now());
    }),
  );

  const same = await refusedConnect(gateway.url, { key: createWireKey(), token: gateway.token, scopes: [] }, from("203.0.113.1"));
  const other = await refusedConnect(gateway.url, { key: createWireKey(), token: gateway.token, scopes: [] }, from("203.0.113.2"));
  const local = await pair(gateway, ["operator.admin"]);
  await using lister = await connectWire(gateway.url, { ...local, scopes: ["operator.admin"] });
  const { pending } = (await lister.request("device.pair.list")).payload as { pending: { requestId: string }[] };

  assert.equal(outcomes.filter((outcome) => outcome.kind === "pending").length, 15);
  assert.equal(codeOf(same.error), "PAIRING_REQUIRED");
  assert.equal(same.error.details?.["requestId"], undefined);
  assert.match(String(same.error.details?.["remediationHint"]), /Too many pairing requests wait/);
  assert.equal(pending.length, 17);
  for (const { error } of [first, other]) assert.ok(pending.some(({ requestId }) => requestId === error.details?.["requestId"]));
});

test("a clock that is moved back refuses proofs of the old time by name, serves those of the new, and loses nothing", async () => {
  const clock = createManualClock();
  await using gateway = await startGateway({ clock });
  const { key, deviceToken } = await pair(gateway, ["operator.read"]);
  const waiting = await refusedConnect(gateway.url, { key, token: gateway.token, scopes: ["operator.write"], signedAt: clock.now() });
  clock.set(clock.now() - 3_600_000);

  const old = await refusedConnect(gateway.url, { key, deviceToken, scopes: ["operator.read"] });
  await using now = await connectWire(gateway.url, { key, deviceToken, scopes: ["operator.read"], signedAt: clock.now() });
  await using owner = await connectWire(gateway.url, { token: gateway.token, scopes: ["operator.admin"] });
  const ran = await gateway.callerWith("operator.admin").call("agent", { message: "hello", idempotencyKey: "back" });
  const approved = await owner.request("device.pair.approve", { requestId: waiting.error.details?.["requestId"] });

  assert.equal(codeOf(old.error), "DEVICE_AUTH_SIGNATURE_EXPIRED");
  assert.match(String(old.error.details?.["remediationHint"]), /clock/);
  assert.equal((await now.request("status")).ok, true);
  assert.equal(ran.status, "ok");
  assert.equal(approved.ok, true);
  assert.equal(await gateway.gateway.store.audit.findBreak(), undefined);
  assert.deepEqual(
    gateway.logLines.filter((line) => line.level === "error"),
    [],
  );
});

test("while another program holds the database, writes are refused as unavailable, reads go on, and then all is well", async () => {
  await using gateway = await startGatewayProcess();
  await using wire: Wire = await connectWire(gateway.url, { token: gateway.token, scopes: ["operator.admin"] });
  await wire.request("sessions.patch", { key: "before" });
  const key = createWireKey();
  using other = new DatabaseSync(join(gateway.stateDir, "portreeve.db"));
  other.exec("begin immediate");

  const patched = await wire.request("sessions.patch", { key: "during" });
  const asked = await wire.request("agent", { message: "hello", idempotencyKey: "during" });
  const paired = await refusedConnect(gateway.url, { key, token: gateway.token, scopes: ["operator.read"] });
  const read = await wire.request("sessions.list");
  const { status } = await fetch(`${gateway.url.replace(/^ws/, "http")}/readyz`);
  other.exec("rollback");
  const after = await wire.request("sessions.patch", { key: "after" });
  await using late = await connectWire(gateway.url, { key, token: gateway.token, scopes: ["operator.read"] });

  for (const error of [patched.error, asked.error, paired.error]) {
    assert.deepEqual([error?.code, codeOf(error), error?.retryable], ["UNAVAILABLE", "STORE_UNAVAILABLE", true]);
    assert.match(error?.message ?? "", /locked by another program/);
    assert.match(String(error?.details?.["remediationHint"]), /close the program/);
  }
  assert.equal(paired.close.code, 1013);
  assert.equal(status, 200);
  assert.match(JSON.stringify(read.payload), /agent:main:before/);
  assert.doesNotMatch(JSON.stringify(read.payload), /agent:main:during/);
  assert.equal(after.ok, true);
  assert.equal((await late.request("status")).ok, true);
});
