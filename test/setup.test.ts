/** Setup codes over real sockets: whom they let in, for what, and how often. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import test from "node:test";
import { parseSetupCode, type ParamsInput, type Result, type Scope } from "@portreeve/protocol";
import { dumpPairing, tamper } from "./support/stored-pairing.ts";
import { startGateway, type TestGateway } from "./support/start-gateway.ts";
import { type ConnectInput, connectWire, createWireKey, refusedConnect, type WireKey } from "./support/wire-client.ts";

const remote = { "x-forwarded-for": "203.0.113.9" };
const behindProxy = { config: { gateway: { trustedProxies: ["127.0.0.1"] } } };

function invite(gateway: TestGateway, params: ParamsInput<"device.pair.setupCode"> = {}): Promise<Result<"device.pair.setupCode">> {
  return gateway.callerWith("operator.admin").call("device.pair.setupCode", params);
}

const tokenOf = ({ setupCode }: { readonly setupCode: string }): string => parseSetupCode(setupCode)?.bootstrapToken ?? "";

/** Presents the code; answers the refusal's code, message and close. */
async function refusal(gateway: TestGateway, input: ConnectInput): Promise<readonly unknown[]> {
  const { error, close } = await refusedConnect(gateway.url, input, remote);
  return [error.details?.["code"], close.code, close.reason === error.message];
}

const invalid = ["AUTH_BOOTSTRAP_TOKEN_INVALID", 1008, true];

/** What is stored of devices and requests, without the count of refusals. */
const devicesIn = (gateway: TestGateway): string => dumpPairing(gateway.stateDir).replace(/^counters: .*$/m, "");

test("a code pairs a remote device at once for exactly what it says, and the token in the hello works afterwards", async () => {
  await using gateway = await startGateway(behindProxy);
  const key = createWireKey();
  const code = await invite(gateway, { scopes: ["operator.write"] });

  await using paired = await connectWire(gateway.url, { key, bootstrapToken: tokenOf(code), scopes: ["operator.read"] }, remote);
  const { method, scopes, deviceToken } = paired.hello["auth"] as Record<string, unknown>;
  await using again = await connectWire(gateway.url, { key, deviceToken: String(deviceToken), scopes: ["operator.write"] }, remote);

  assert.deepEqual([method, scopes], ["bootstrap-token", ["operator.read"]]);
  assert.equal((await again.request("sessions.list")).ok, true);
  const { paired: devices, pending } = await gateway.callerWith("operator.pairing").call("device.pair.list", {});
  assert.deepEqual(
    devices.map((device) => [device.deviceId, device.approvedVia, device.roles, device.scopes, device.remoteIp]),
    [[key.id, "bootstrap", ["operator"], ["operator.write"], "203.0.113.9"]],
  );
  assert.deepEqual(pending, []);
});

test("a code that nothing was said about grants neither administration nor pairing", async () => {
  await using gateway = await startGateway(behindProxy);
  const code = await invite(gateway);
  const key = createWireKey();

  await using _paired = await connectWire(gateway.url, { key, bootstrapToken: tokenOf(code) }, remote);

  const [device] = (await gateway.callerWith("operator.pairing").call("device.pair.list", {})).paired;
  const granted = ["operator.approvals", "operator.questions", "operator.read", "operator.talk.secrets", "operator.write"];
  assert.deepEqual([code.access, code.scopes, device?.scopes], ["limited", granted, granted]);
});

test("a code works once: neither its own key nor another one is let in with it again", async () => {
  await using gateway = await startGateway(behindProxy);
  const [key, thief] = [createWireKey(), createWireKey()];
  const bootstrapToken = tokenOf(await invite(gateway));
  await using _paired = await connectWire(gateway.url, { key, bootstrapToken }, remote);
  const before = devicesIn(gateway);

  const refusals = [await refusal(gateway, { key, bootstrapToken }), await refusal(gateway, { key: thief, bootstrapToken })];

  assert.deepEqual(refusals, [invalid, invalid]);
  assert.equal(devicesIn(gateway), before);
});

for (const [whose, headers, elsewhere] of [
  ["a remote peer's", remote, { "x-forwarded-for": "203.0.113.10" }],
  ["a page's", { origin: "http://localhost:1" }, remote],
] as const) {
  test(`ten wrong codes in a minute lock ${whose} codes out, a right one too, and nobody else's`, async () => {
    await using gateway = await startGateway(behindProxy);
    const key = createWireKey();
    const bootstrapToken = tokenOf(await invite(gateway));
    const codes: unknown[] = [];
    for (let guess = 0; guess < 10; guess += 1) {
      const wrong = { key, bootstrapToken: bootstrapToken.slice(1) + String(guess) };
      codes.push((await refusedConnect(gateway.url, wrong, headers)).error.details?.["code"]);
    }
    await gateway.restart();

    const locked = await refusedConnect(gateway.url, { key, bootstrapToken }, headers);
    await using paired = await connectWire(gateway.url, { key, bootstrapToken, scopes: ["operator.read"] }, elsewhere);

    assert.deepEqual(new Set(codes), new Set(["AUTH_BOOTSTRAP_TOKEN_INVALID"]));
    assert.equal(locked.error.details?.["code"], "AUTH_RATE_LIMITED");
    assert.equal((await paired.request("sessions.list")).ok, true);
  });
}

test("a code that is asked for too much is no guess", async () => {
  await using gateway = await startGateway(behindProxy);
  const key = createWireKey();
  const bootstrapToken = tokenOf(await invite(gateway, { scopes: ["operator.read"] }));
  for (let time = 0; time < 10; time += 1) await refusal(gateway, { key, bootstrapToken, scopes: ["operator.admin"] });

  await using paired = await connectWire(gateway.url, { key, bootstrapToken, scopes: ["operator.read"] }, remote);

  assert.equal((await paired.request("sessions.list")).ok, true);
});

test("a code belongs to the first key that presents it, also when that key asked for too much", async () => {
  await using gateway = await startGateway(behindProxy);
  const [key, other] = [createWireKey(), createWireKey()];
  const bootstrapToken = tokenOf(await invite(gateway, { scopes: ["operator.read"] }));
  const before = devicesIn(gateway);

  const beyond = await refusal(gateway, { key, bootstrapToken, scopes: ["operator.admin"] });
  const foreign = await refusal(gateway, { key: other, bootstrapToken, scopes: ["operator.read"] });
  const unchanged = devicesIn(gateway) === before;
  await using within = await connectWire(gateway.url, { key, bootstrapToken, scopes: ["operator.read"] }, remote);

  assert.deepEqual([beyond, foreign, unchanged], [invalid, invalid, true]);
  assert.equal((await within.request("sessions.list")).ok, true);
});

const asks: readonly (readonly [what: string, input: ConnectInput])[] = [
  ["a wider scope", { scopes: ["operator.pairing"] }],
  ["another role", { role: "node" }],
  ["a scope without a meaning", { scopes: ["operator.bogus"] }],
];
for (const [what, input] of asks) {
  test(`a code presented with an ask for ${what} changes nothing, is counted, and no request waits`, async () => {
    await using gateway = await startGateway(behindProxy);
    const bootstrapToken = tokenOf(await invite(gateway, { scopes: ["operator.write"] }));
    const audit = await gateway.gateway.store.audit.list(100);
    const before = devicesIn(gateway);

    const refused = await refusal(gateway, { key: createWireKey(), bootstrapToken, ...input });

    await gateway.gateway[Symbol.asyncDispose]();
    assert.deepEqual(refused, invalid);
    assert.equal(devicesIn(gateway), before);
    assert.match(dumpPairing(gateway.stateDir), /"name":"setup_codes_refused","value":1/);
    assert.deepEqual(
      audit.map((row) => row.kind),
      ["setup.issued"],
    );
  });
}

test("a code that has expired lets nobody in", async () => {
  await using gateway = await startGateway(behindProxy);
  const code = await invite(gateway, { minutes: 1 });
  tamper(gateway.stateDir, "update setup_codes set expires_at_ms = 1");

  const refused = await refusal(gateway, { key: createWireKey(), bootstrapToken: tokenOf(code) });

  const status = await gateway.callerWith("operator.admin").call("device.pair.setupStatus", { setupId: code.setupId });
  assert.deepEqual([refused, status], [invalid, { state: "expired" }]);
});

for (const [what, end] of [
  ["is removed", (gateway, { id }) => gateway.callerWith("operator.admin").call("device.pair.remove", { deviceId: id })],
  [
    "has its token revoked",
    (gateway, { id }) => gateway.callerWith("operator.admin").call("device.token.revoke", { deviceId: id, role: "operator" }),
  ],
  [
    "holds less than the code says",
    (gateway) => Promise.resolve(tamper(gateway.stateDir, `update device_grants set scopes = '["operator.write"]'`)),
  ],
] as const satisfies readonly (readonly [string, (gateway: TestGateway, issuer: WireKey) => Promise<unknown>])[]) {
  test(`a code lets nobody in once the device that issued it ${what}`, async () => {
    await using gateway = await startGateway(behindProxy);
    const issuer = createWireKey();
    await using wire = await connectWire(gateway.url, { key: issuer, token: gateway.token, scopes: ["operator.admin"] });
    const { payload } = await wire.request("device.pair.setupCode", { scopes: ["operator.admin"] });
    const bootstrapToken = tokenOf({ setupCode: String(payload?.["setupCode"]) });

    await end(gateway, issuer);
    const key = createWireKey();
    const refused = await refusal(gateway, { key, bootstrapToken });

    const { paired } = await gateway.callerWith("operator.pairing").call("device.pair.list", {});
    assert.deepEqual(refused, invalid);
    assert.equal(
      paired.some((device) => device.deviceId === key.id),
      false,
    );
  });
}

test("a code of a device that was removed stays dead when the device is paired again; others' codes and used ones stay", async () => {
  await using gateway = await startGateway(behindProxy);
  const issuer = createWireKey();
  const admin = { key: issuer, token: gateway.token, scopes: ["operator.admin"] };
  const codes: { readonly setupId: string; readonly setupCode: string }[] = [await invite(gateway)];
  {
    await using wire = await connectWire(gateway.url, admin);
    for (const scopes of [["operator.read"], ["operator.write"]])
      codes.push((await wire.request("device.pair.setupCode", { scopes })).payload as (typeof codes)[number]);
  }
  const [others = "", used = "", unused = ""] = codes.map(tokenOf);
  await using _used = await connectWire(gateway.url, { key: createWireKey(), bootstrapToken: used, scopes: ["operator.read"] }, remote);

  await gateway.callerWith("operator.admin").call("device.pair.remove", { deviceId: issuer.id });
  const { error } = await refusedConnect(gateway.url, admin);
  await gateway.callerWith("operator.admin").call("device.pair.approve", { requestId: String(error.details?.["requestId"]) });
  const refused = await refusal(gateway, { key: createWireKey(), bootstrapToken: unused });
  await using paired = await connectWire(gateway.url, { key: createWireKey(), bootstrapToken: others, scopes: ["operator.read"] }, remote);

  const states = codes.map(({ setupId }) => gateway.callerWith("operator.admin").call("device.pair.setupStatus", { setupId }));
  assert.deepEqual(refused, invalid);
  assert.equal((await paired.request("sessions.list")).ok, true);
  assert.deepEqual(
    (await Promise.all(states)).map(({ state }) => state),
    ["completed", "completed", "unknown"],
  );
});

test("a code survives a restart of the gateway, once", async () => {
  await using gateway = await startGateway(behindProxy);
  const bootstrapToken = tokenOf(await invite(gateway));
  await gateway.restart();
  const key = createWireKey();

  await using _paired = await connectWire(gateway.url, { key, bootstrapToken }, remote);
  await gateway.restart();

  assert.deepEqual(await refusal(gateway, { key, bootstrapToken }), invalid);
});

test("a code without a device proof, or with a proof over another token, lets nobody in and stays good", async () => {
  await using gateway = await startGateway(behindProxy);
  const bootstrapToken = tokenOf(await invite(gateway));
  const key = createWireKey();

  const deviceless = await refusedConnect(gateway.url, { bootstrapToken }, remote);
  const unsigned = await refusedConnect(gateway.url, { key, extra: { auth: { bootstrapToken } } }, remote);
  await using paired = await connectWire(gateway.url, { key: createWireKey(), bootstrapToken }, remote);

  assert.deepEqual(
    [deviceless.error.details?.["code"], unsigned.error.details?.["code"], paired.hello["type"]],
    ["DEVICE_IDENTITY_REQUIRED", "DEVICE_AUTH_SIGNATURE_INVALID", "hello-ok"],
  );
});

test("beside another credential a code is neither looked at nor used up", async () => {
  await using gateway = await startGateway(behindProxy);
  const bootstrapToken = tokenOf(await invite(gateway));
  const key = createWireKey();

  const wrong = await refusedConnect(gateway.url, { key, token: "wrong", bootstrapToken }, remote);
  const right = await refusedConnect(gateway.url, { key, token: gateway.token, bootstrapToken }, remote);
  await using paired = await connectWire(gateway.url, { key, bootstrapToken }, remote);

  assert.deepEqual(
    [wrong.error.details?.["code"], right.error.details?.["code"], paired.hello["type"]],
    ["AUTH_TOKEN_MISMATCH", "PAIRING_REQUIRED", "hello-ok"],
  );
});

test("version 3 clients read the refusal in their own words", async () => {
  await using gateway = await startGateway(behindProxy);

  const { error, close } = await refusedConnect(gateway.url, { key: createWireKey(), bootstrapToken: "guess", protocol: 3 }, remote);

  assert.equal(error.message, "unauthorized: bootstrap token invalid or expired (scan a fresh setup code)");
  assert.deepEqual([error.code, close], ["INVALID_REQUEST", { code: 1008, reason: error.message }]);
});

test("a code for a node pairs a node and no operator", async () => {
  await using gateway = await startGateway(behindProxy);
  const bootstrapToken = tokenOf(await invite(gateway, { bootstrapProfile: "node" }));
  const key = createWireKey();

  const asOperator = await refusal(gateway, { key, bootstrapToken });
  await using node = await connectWire(gateway.url, { key, bootstrapToken, role: "node" }, remote);

  assert.deepEqual(asOperator, invalid);
  assert.equal((node.hello["auth"] as Record<string, unknown>)["role"], "node");
});

test("issuing and using a code are one audit row each, which name who invited; the token stands in no file", async () => {
  await using gateway = await startGateway(behindProxy);
  const code = await invite(gateway, { scopes: ["operator.read"] });
  const key = createWireKey();
  await using _paired = await connectWire(gateway.url, { key, bootstrapToken: tokenOf(code) }, remote);

  const rows = await gateway.gateway.store.audit.list(100);

  const facts = { role: "operator", scopes: ["operator.read"] };
  assert.deepEqual(
    rows.map((row) => [row.kind, row.actor, row.subject, row.facts]),
    [
      ["setup.issued", "secret:local", code.setupId, { ...facts, expiresAtMs: code.expiresAtMs }],
      ["device.paired", `device:${key.id}`, key.id, { ...facts, setupId: code.setupId, issuer: "secret:local" }],
    ],
  );
  await gateway.gateway[Symbol.asyncDispose]();
  const bytes = await readFile(`${gateway.stateDir}/portreeve.db`, "latin1");
  assert.deepEqual([bytes.includes(tokenOf(code)), bytes.includes(code.setupId)], [false, true]);
  assert.equal(JSON.stringify(gateway.logLines).includes(tokenOf(code)), false);
});

test("who may pair hears that a code was used, and its status says by whom", async () => {
  await using gateway = await startGateway(behindProxy);
  const hearer = { key: createWireKey(), token: gateway.token };
  await using operator = await connectWire(gateway.url, { ...hearer, scopes: ["operator.pairing"] });
  await using reader = await connectWire(gateway.url, { ...hearer, key: createWireKey(), scopes: ["operator.read"] });
  const code = await invite(gateway, { scopes: ["operator.admin"] });
  const status = (): Promise<unknown> => gateway.callerWith("operator.admin").call("device.pair.setupStatus", { setupId: code.setupId });
  const key = createWireKey();

  const before = await status();
  const client = { displayName: "phone" };
  await using _paired = await connectWire(gateway.url, { key, bootstrapToken: tokenOf(code), client }, remote);
  const told = await operator.frame((frame) => frame.event === "device.pair.setup.completed");

  const { ts, ...completion } = told.payload ?? {};
  assert.deepEqual(completion, { setupId: code.setupId, deviceId: key.id, deviceName: "phone", access: "full" });
  assert.deepEqual([before, await status()], [{ state: "waiting" }, { state: "completed", completion: { ...completion, ts } }]);
  await reader.request("health");
  assert.equal(
    reader.frames.some((frame) => frame.event?.startsWith("device.pair")),
    false,
  );
});

test("a device whose connection breaks before it was heard again is told of as it was paired, to whoever may pair", async () => {
  await using gateway = await startGateway(behindProxy);
  const scopes = ["operator.pairing"];
  await using operator = await connectWire(gateway.url, { key: createWireKey(), token: gateway.token, scopes });
  const code = await invite(gateway);

  // Ended without a word, as a lost network does.
  await (await connectWire(gateway.url, { key: createWireKey(), bootstrapToken: tokenOf(code) }, remote))[Symbol.asyncDispose]();

  const uncertain = await operator.frame((frame) => frame.event === "device.pair.setup.deliveryUncertain");
  const completed = await operator.frame((frame) => frame.event === "device.pair.setup.completed");
  assert.equal(uncertain.payload?.["setupId"], code.setupId);
  assert.deepEqual(uncertain.payload, completed.payload);
});

test("the status doubts a device that was lost before it was heard, over a restart, until it comes again", async () => {
  await using gateway = await startGateway(behindProxy);
  const hearer = { key: createWireKey(), token: gateway.token, scopes: ["operator.pairing"] };
  const [code, key] = [await invite(gateway), createWireKey()];
  const status = async (): Promise<readonly string[]> =>
    Object.keys(await gateway.callerWith("operator.admin").call("device.pair.setupStatus", { setupId: code.setupId }));
  await using operator = await connectWire(gateway.url, hearer);
  const lost = await connectWire(gateway.url, { key, bootstrapToken: tokenOf(code) }, remote);
  const { deviceToken } = lost.hello["auth"] as Record<string, string>;
  const told = [await status()];
  await lost[Symbol.asyncDispose]();
  await operator.frame((frame) => frame.event === "device.pair.setup.deliveryUncertain");
  told.push(await status());
  await gateway.restart();
  told.push(await status());

  await using again = await connectWire(gateway.url, { key, ...(deviceToken === undefined ? {} : { deviceToken }) }, remote);
  await again.request("health");
  told.push(await status());

  const doubted = ["state", "deliveryUncertain"];
  assert.deepEqual(told, [["state", "completion"], doubted, doubted, ["state", "completion"]]);
});

test("a device that was heard is not doubted by a gateway that starts afterwards", async () => {
  await using gateway = await startGateway(behindProxy);
  const code = await invite(gateway);
  await using device = await connectWire(gateway.url, { key: createWireKey(), bootstrapToken: tokenOf(code) }, remote);
  await device.request("health");
  await gateway.restart();

  const status = await gateway.callerWith("operator.admin").call("device.pair.setupStatus", { setupId: code.setupId });

  assert.deepEqual(Object.keys(status), ["state", "completion"]);
});

const notAdmin: readonly Scope[] = ["operator.pairing", "operator.write", "operator.read", "operator.approvals"];
test("nobody but an administrator makes a code or asks about one", async () => {
  await using gateway = await startGateway();

  for (const scope of notAdmin) {
    const caller = gateway.callerWith(scope);
    await assert.rejects(caller.call("device.pair.setupCode", {}), /missing scope: operator\.admin/);
    await assert.rejects(caller.call("device.pair.setupStatus", { setupId: "x" }), /missing scope: operator\.admin/);
  }
});

const wrongParams: readonly (readonly [what: string, params: object, message: RegExp])[] = [
  ["more than ten minutes", { minutes: 11 }, /minutes: must be <= 10/],
  ["no time at all", { minutes: 0 }, /minutes: must be >= 1/],
  ["a scope without a meaning", { scopes: ["operator.bogus"] }, /scopes\/0/],
  ["a node with scopes", { role: "node", scopes: ["operator.read"] }, /a node has no scopes/],
  ["an address that is none", { publicUrl: "file:///etc/passwd" }, /publicUrl/],
  ["what it does not know", { everything: true }, /unexpected property 'everything'/],
];
for (const [what, params, message] of wrongParams) {
  test(`a code for ${what} is refused`, async () => {
    await using gateway = await startGateway();

    await assert.rejects(invite(gateway, params as ParamsInput<"device.pair.setupCode">), message);
  });
}

test("a code names the address it was made for, says when it ends, and comes as a picture when asked", async () => {
  await using gateway = await startGateway({ config: { gateway: { publicUrl: "https://gate.example:8443/" } } });

  const [configured, given] = [await invite(gateway), await invite(gateway, { publicUrl: "wss://other.example/ws", includeQr: true })];

  const { url, expiresAtMs } = parseSetupCode(configured.setupCode) ?? {};
  assert.deepEqual([url, expiresAtMs], [configured.gatewayUrl, configured.expiresAtMs]);
  assert.deepEqual(
    [configured.gatewayUrl, configured.urlSource, configured.auth],
    ["wss://gate.example:8443", "gateway.publicUrl", "token"],
  );
  assert.deepEqual([given.gatewayUrl, given.urlSource], ["wss://other.example/ws", "params.publicUrl"]);
  assert.deepEqual([configured.qrDataUrl, given.qrDataUrl?.startsWith("data:image/svg+xml;base64,")], [undefined, true]);
});

test("ten devices that race with one code: one is let in", async () => {
  await using gateway = await startGateway(behindProxy);
  const bootstrapToken = tokenOf(await invite(gateway));
  const keys: readonly WireKey[] = Array.from({ length: 10 }, createWireKey);

  const outcomes = await Promise.allSettled(keys.map((key) => connectWire(gateway.url, { key, bootstrapToken }, remote)));

  for (const outcome of outcomes) if (outcome.status === "fulfilled") await outcome.value[Symbol.asyncDispose]();
  assert.equal(outcomes.filter((outcome) => outcome.status === "fulfilled").length, 1);
  assert.equal((await gateway.callerWith("operator.pairing").call("device.pair.list", {})).paired.length, 1);
});
