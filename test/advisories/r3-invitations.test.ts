/** What brings a device in is worth that device and its grant alone, once; and what was taken away stays away. */
import assert from "node:assert/strict";
import { parseSetupCode } from "@portreeve/protocol";
import { dumpPairing } from "../support/stored-pairing.ts";
import { connectWire, createWireKey, refusedConnect, type WireKey } from "../support/wire-client.ts";
import { advisory, fromRemote, ownerWith, shareGateway } from "./advisory.ts";

const shared = shareGateway();

async function invite(...scopes: readonly string[]): Promise<{ readonly text: string; readonly bootstrapToken: string }> {
  await using owner = await ownerWith(shared.gateway, "operator.admin");
  const { payload } = await owner.request("device.pair.setupCode", { scopes, publicUrl: "wss://gateway.example" });
  const text = String(payload?.["setupCode"]);
  return { text, bootstrapToken: parseSetupCode(text)?.bootstrapToken ?? "" };
}

/** Pairs silently, on this machine; answers the key and its token. */
async function pair(role: string, ...scopes: readonly string[]): Promise<{ readonly key: WireKey; readonly deviceToken: string }> {
  const { gateway } = shared;
  const key = createWireKey();
  await using wire = await connectWire(gateway.url, { key, token: gateway.token, role, scopes });
  return { key, deviceToken: (wire.hello["auth"] as { deviceToken: string }).deviceToken };
}

/** What is stored of devices, without who was seen when and what was refused how often. */
function stored(): string {
  return dumpPairing(shared.gateway.stateDir)
    .replace(/^counters: .*$/m, "")
    .replace(/"last_seen_at_ms":(?:\d+|null)/g, "");
}

advisory(2, "a setup code carries no credential that outlives it", async () => {
  const { gateway } = shared;
  const { text, bootstrapToken } = await invite("operator.read");
  const carried = Buffer.from(text, "base64url").toString();

  await using _first = await connectWire(gateway.url, { key: createWireKey(), bootstrapToken }, fromRemote);
  const asSecret = await refusedConnect(
    gateway.url,
    { key: createWireKey(), token: bootstrapToken, scopes: ["operator.read"] },
    fromRemote,
  );
  const asToken = await refusedConnect(
    gateway.url,
    { key: createWireKey(), deviceToken: bootstrapToken, scopes: ["operator.read"] },
    fromRemote,
  );

  assert.equal(carried.includes(bootstrapToken), true);
  assert.equal(carried.includes(gateway.token), false);
  assert.equal(asSecret.error.details?.["code"], "AUTH_TOKEN_MISMATCH");
  assert.equal(asToken.error.details?.["code"], "AUTH_DEVICE_TOKEN_MISMATCH");
});

advisory(21, "a setup code presented with a wider ask, at the same time or after, leaves what it grants", async () => {
  const { gateway } = shared;
  const key = createWireKey();
  const { bootstrapToken } = await invite("operator.read");
  const connect = (scopes: readonly string[]) => refusedConnect(gateway.url, { key, bootstrapToken, scopes }, fromRemote);

  const wider = await Promise.all([connect(["operator.admin"]), connect(["operator.pairing"]), connect(["operator.admin"])]);
  await using within = await connectWire(gateway.url, { key, bootstrapToken, scopes: ["operator.read"] }, fromRemote);

  assert.deepEqual(
    wider.map(({ error }) => error.details?.["code"]),
    Array.from(wider, () => "AUTH_BOOTSTRAP_TOKEN_INVALID"),
  );
  assert.deepEqual((within.hello["auth"] as { scopes: unknown }).scopes, ["operator.read"]);
});

advisory(22, "a setup code that was used neither widens its device nor makes a request that waits", async () => {
  const { gateway } = shared;
  const key = createWireKey();
  const { bootstrapToken } = await invite("operator.read");
  const first = await connectWire(gateway.url, { key, bootstrapToken }, fromRemote);
  await first[Symbol.asyncDispose]();
  const before = stored();

  const again = await refusedConnect(gateway.url, { key, bootstrapToken, scopes: ["operator.admin"] }, fromRemote);

  assert.equal(again.error.details?.["code"], "AUTH_BOOTSTRAP_TOKEN_INVALID");
  assert.equal(stored(), before);
});

advisory(17, "whoever may pair devices cannot rotate a token to more than they hold, nor be handed another device's", async () => {
  const { gateway } = shared;
  const target = await pair("operator", "operator.admin");
  await using pairer = await ownerWith(gateway, "operator.pairing");
  const before = stored();

  const subject = { deviceId: target.key.id, role: "operator" };
  const answers = [
    await pairer.request("device.token.rotate", { ...subject, scopes: ["operator.admin"] }),
    await pairer.request("device.token.rotate", subject),
  ];

  assert.deepEqual(
    answers.map(({ ok, error, payload }) => [ok, error?.message, payload?.["token"]]),
    Array.from(answers, () => [false, "device token rotation denied", undefined]),
  );
  assert.equal(stored(), before);
});

advisory(20, "rotating a token gives a device no role that nobody approved", async () => {
  const { gateway } = shared;
  const device = await pair("operator", "operator.pairing");
  await using own = await connectWire(gateway.url, { ...device, scopes: ["operator.pairing"] });
  await using owner = await ownerWith(gateway, "operator.admin");
  const before = stored();

  const subject = { deviceId: device.key.id, role: "node" };
  const answers = [await own.request("device.token.rotate", subject), await owner.request("device.token.rotate", subject)];

  assert.deepEqual(
    answers.map(({ error }) => error?.message),
    ["device token rotation denied", "device token rotation denied"],
  );
  assert.equal(stored(), before);
});

advisory(24, "a device that came with its own token decides about no other device", async () => {
  const { gateway } = shared;
  const mine = await pair("operator", "operator.pairing");
  const { key } = await pair("operator", "operator.read");
  const waiting = await refusedConnect(gateway.url, { key: createWireKey(), token: gateway.token, scopes: [] }, fromRemote);
  const requestId = waiting.error.details?.["requestId"];
  await using wire = await connectWire(gateway.url, { ...mine, scopes: ["operator.pairing"] });
  const before = stored();

  const calls: readonly (readonly [string, object])[] = [
    ["device.pair.approve", { requestId }],
    ["device.pair.reject", { requestId }],
    ["device.pair.remove", { deviceId: key.id }],
    ["device.token.rotate", { deviceId: key.id, role: "operator" }],
    ["device.token.revoke", { deviceId: key.id, role: "operator" }],
  ];
  for (const [method, params] of calls) assert.equal((await wire.request(method, params)).ok, false, method);

  assert.equal(stored(), before);
});

advisory(27, "whoever may pair devices does not bring a revoked node back", async () => {
  const { gateway } = shared;
  const node = await pair("node");
  const subject = { deviceId: node.key.id, role: "node" };
  await using owner = await ownerWith(gateway, "operator.admin");
  await using pairer = await ownerWith(gateway, "operator.pairing");
  const revoked = await owner.request("device.token.revoke", subject);

  const rotated = await pairer.request("device.token.rotate", subject);
  const old = await refusedConnect(gateway.url, { ...node, role: "node" });
  const anew = await refusedConnect(gateway.url, { key: node.key, token: gateway.token, role: "node" });
  const approved = await pairer.request("device.pair.approve", { requestId: anew.error.details?.["requestId"] });

  assert.equal(revoked.ok, true, JSON.stringify(revoked.error));
  assert.equal(rotated.error?.message, "device token rotation denied");
  assert.equal(old.error.details?.["code"], "AUTH_DEVICE_TOKEN_MISMATCH");
  assert.equal(anew.error.details?.["code"], "PAIRING_REQUIRED");
  assert.equal(approved.error?.message, "missing scope: operator.admin");
});

advisory(26, "a node that comes again with more commands has them only once somebody approves them", async () => {
  const { gateway } = shared;
  const node = await pair("node");
  await using owner = await ownerWith(gateway, "operator.admin");
  const connectAs = async (...commands: readonly string[]) => {
    const wire = await connectWire(gateway.url, { ...node, role: "node", client: { id: "node-host", mode: "node" }, extra: { commands } });
    await wire[Symbol.asyncDispose]();
    const { payload } = await owner.request("node.pair.list");
    return payload as { pending: { nodeId: string; requestId: string }[]; paired: { nodeId: string; commands: string[] }[] };
  };
  const commandsOf = ({ paired }: Awaited<ReturnType<typeof connectAs>>) =>
    paired.find(({ nodeId }) => nodeId === node.key.id)?.commands ?? [];
  const asked = await connectAs("camera.snap");
  await owner.request("node.pair.approve", { requestId: asked.pending.find(({ nodeId }) => nodeId === node.key.id)?.requestId });

  const wider = await connectAs("camera.snap", "system.run");

  assert.deepEqual(commandsOf(wider), ["camera.snap"]);
  assert.equal(wider.pending.filter(({ nodeId }) => nodeId === node.key.id).length, 1);
});
