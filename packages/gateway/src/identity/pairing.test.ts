import assert from "node:assert/strict";
import { createSecretKey } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import test from "node:test";
import { connectProofText, createDeviceKey, type DeviceKey } from "@portreeve/client";
import { clientIds, clientModes, type ConnectParams, type ErrorCode, ProtocolError } from "@portreeve/protocol";
import { Bus } from "../bus.ts";
import { createIds } from "../kit/ids.ts";
import { Secret } from "../kit/secret.ts";
import { secretPrincipal } from "../principal/principal.ts";
import { openStoreFile } from "../store/sqlite.ts";
import type { DeviceStore } from "../store/device-store.ts";
import { createAttempts } from "./attempts.ts";
import { createCredentials } from "./credentials.ts";
import { type Admission, type AdmissionAsk, type AdmissionVerdict, createPairing, type Pairing } from "./pairing.ts";

const nowMs = 1_795_435_000_000;
const nonce = "f8d18954-6f97-40cc-a216-6307a87653e8";
const credentials = createCredentials({
  secret: new Secret("the-secret"),
  tokenKey: createSecretKey(Buffer.alloc(32, 7)),
  gatewayId: "aa".repeat(32),
});
const admin = secretPrincipal(["operator.admin"]);
const owner = { id: "owner", scopes: ["operator.admin"], deviceId: undefined, ownDeviceOnly: false };
const local = { address: "127.0.0.1", directLoopback: true, hasOrigin: false };
const remote = { address: "192.0.2.7", directLoopback: false, hasOrigin: false };

interface World extends AsyncDisposable {
  readonly pairing: Pairing;
  readonly store: DeviceStore;
  readonly events: readonly string[];
  readonly lines: readonly { readonly level: string; readonly facts: Readonly<Record<string, unknown>> }[];
}

/** Pairing over a real store; `wrap` may act between its steps. */
async function openWorld(
  options: { file?: string; autoApproveLocal?: boolean; wrap?: (store: DeviceStore) => DeviceStore } = {},
): Promise<World> {
  const { file = ":memory:", autoApproveLocal = true, wrap = (store) => store } = options;
  const store = await openStoreFile(file, createIds());
  const bus = new Bus();
  const events: string[] = [];
  bus.subscribe("device.pair.requested", ({ reason }) => void events.push(`requested ${reason}`));
  bus.subscribe("device.pair.resolved", ({ decision }) => void events.push(decision));
  const lines: { level: string; facts: Readonly<Record<string, unknown>> }[] = [];
  const write = (level: string) => (facts: object) => void lines.push({ level, facts: { ...facts } });
  const log = { debug: write("debug"), info: write("info"), warn: write("warn"), error: write("error") };
  const clock = {
    now: () => nowMs,
    schedule(_atMs: number, task: () => void) {
      queueMicrotask(task);
      return { [Symbol.dispose]: () => undefined };
    },
  };
  const attempts = createAttempts({ store: store.attempts, clock });
  const pairing = createPairing({
    store: wrap(store.devices),
    credentials,
    authMode: "token",
    attempts,
    clock,
    log,
    bus,
    autoApproveLocal,
  });
  return { pairing, store: store.devices, events, lines, [Symbol.asyncDispose]: () => store[Symbol.asyncDispose]() };
}

interface AskOptions {
  readonly key?: DeviceKey;
  readonly scopes?: readonly string[];
  readonly auth?: NonNullable<ConnectParams["auth"]>;
  readonly client?: Partial<ConnectParams["client"]>;
  readonly role?: "operator" | "node";
  readonly peer?: AdmissionAsk["peer"];
}

function ask({
  key,
  scopes = ["operator.read"],
  auth = { token: "the-secret" },
  client = {},
  role = "operator",
  peer = local,
}: AskOptions): AdmissionAsk {
  const fullClient = { id: "cli", mode: "cli", version: "1", platform: "linux", ...client } as const;
  const { id: clientId, mode: clientMode, platform } = fullClient;
  const proof = { clientId, clientMode, role, scopes, signedAt: nowMs, token: auth.token ?? auth.deviceToken ?? "", nonce, platform };
  const device = key && { id: key.id, publicKey: key.publicKey, signature: key.sign(connectProofText(key, proof)), nonce, signedAt: nowMs };
  return {
    connect: { minProtocol: 4, maxProtocol: 4, client: fullClient, role, scopes: [...scopes], auth, ...(device && { device }) },
    role,
    nonce,
    peer,
  };
}

function admitted(verdict: AdmissionVerdict): Admission {
  assert.equal(verdict.kind, "admitted", verdict.kind === "refused" ? verdict.error.message : "");
  assert.ok(verdict.kind === "admitted");
  return verdict.admission;
}

function refusedWith(verdict: AdmissionVerdict, code: ErrorCode): ProtocolError {
  assert.ok(verdict.kind === "refused", "the connection was let in");
  assert.equal(verdict.error.code, code);
  assert.notEqual(verdict.error.remedy, undefined, "a refusal says the next step");
  return verdict.error;
}

/** Lets a new device in at `scopes`; answers its token. */
async function pair(world: World, key: DeviceKey, scopes: readonly string[] = ["operator.read"]): Promise<string> {
  return admitted(await world.pairing.authenticate(ask({ key, scopes }))).grant?.token.reveal() ?? "";
}

const requestIdOf = (error: ProtocolError): string => String(error.details["requestId"]);

test("a new local device is paired silently, told and logged, and its token lets it in again", async () => {
  await using world = await openWorld();
  const key = createDeviceKey();

  const first = admitted(await world.pairing.authenticate(ask({ key, scopes: ["operator.write", "operator.read"] })));
  const again = admitted(await world.pairing.authenticate(ask({ key, auth: { token: first.grant?.token.reveal() ?? "" } })));

  assert.deepEqual(
    [first.method, first.principal.scopes, first.grant?.scopes],
    ["token", ["operator.read", "operator.write"], ["operator.read", "operator.write"]],
  );
  assert.deepEqual([again.method, again.principal.scopes], ["device-token", ["operator.read"]]);
  assert.deepEqual(world.events, ["approved"]);
  assert.deepEqual(
    world.lines.map(({ level, facts }) => [level, facts["deviceId"]]),
    [["info", key.id]],
  );
});

test("a paired device that asks for more is refused with one request and one log line, and keeps what it has", async () => {
  await using world = await openWorld();
  const key = createDeviceKey();
  const token = await pair(world, key);
  const upgrade = ask({ key, scopes: ["operator.admin"] });

  const first = refusedWith(await world.pairing.authenticate(upgrade), "PAIRING_REQUIRED");
  const second = refusedWith(await world.pairing.authenticate(upgrade), "PAIRING_REQUIRED");

  const { pending, paired } = await world.store.list(nowMs);
  assert.deepEqual(
    pending.map(({ requestId, reason, scopes }) => [requestId, reason, scopes]),
    [[requestIdOf(first), "scope-upgrade", ["operator.admin"]]],
  );
  assert.equal(requestIdOf(second), requestIdOf(first));
  assert.deepEqual(
    paired[0]?.grants.map(({ scopes, generation }) => [scopes, generation]),
    [[["operator.read"], 1]],
  );
  assert.deepEqual(world.events, ["approved", "requested scope-upgrade"]);
  const warnings = world.lines
    .filter(({ level }) => level === "warn")
    .map(({ facts }) => [facts["reason"], facts["client"], facts["scopesFrom"], facts["scopesTo"]]);
  assert.deepEqual(warnings, [["scope-upgrade", "cli", ["operator.read"], ["operator.admin"]]]);
  assert.deepEqual(admitted(await world.pairing.authenticate(ask({ key, auth: { deviceToken: token } }))).principal.scopes, [
    "operator.read",
  ]);
});

test("the refusal of an upgrade names request, device, ask, what is approved and the command", async () => {
  await using world = await openWorld();
  const key = createDeviceKey();
  await pair(world, key);

  const error = refusedWith(await world.pairing.authenticate(ask({ key, scopes: ["operator.admin"] })), "PAIRING_REQUIRED");

  const requestId = requestIdOf(error);
  const expected = {
    reason: "scope-upgrade",
    requestId,
    deviceId: key.id,
    requestedRole: "operator",
    requestedScopes: ["operator.admin"],
    approvedRoles: ["operator"],
    approvedScopes: ["operator.read"],
  };
  assert.deepEqual(error.details, expected);
  assert.equal(error.message, "pairing required: device is asking for more scopes than currently approved");
  assert.equal(error.remedy, `On the gateway's machine run: ./portreeve devices approve ${requestId}`);
});

test("a device token above its scopes is refused and leaves no request", async () => {
  await using world = await openWorld();
  const key = createDeviceKey();
  const token = await pair(world, key);

  refusedWith(
    await world.pairing.authenticate(ask({ key, scopes: ["operator.admin"], auth: { deviceToken: token } })),
    "AUTH_SCOPE_MISMATCH",
  );

  assert.deepEqual((await world.store.counts(nowMs)).requestsCreated, 0);
});

test("whatever a client calls itself, an upgrade waits and a stranger from afar waits", async () => {
  await using world = await openWorld();
  const key = createDeviceKey();
  await pair(world, key);
  const clients = clientIds.flatMap((id) => clientModes.map((mode) => ({ id, mode, displayName: "backend" })));

  const upgrades = await Promise.all(clients.map((client) => world.pairing.authenticate(ask({ key, client, scopes: ["operator.admin"] }))));
  const strangers = await Promise.all(
    clients.map((client) =>
      world.pairing.authenticate(ask({ key: createDeviceKey(), client, peer: { ...remote, address: client.id + client.mode } })),
    ),
  );

  assert.deepEqual(
    new Set([...upgrades, ...strangers].map((verdict) => verdict.kind === "refused" && verdict.error.code)),
    new Set(["PAIRING_REQUIRED"]),
  );
});

test("an approval lets the device in with the union, and its old token ends", async () => {
  await using world = await openWorld();
  const key = createDeviceKey();
  const token = await pair(world, key);
  const error = refusedWith(await world.pairing.authenticate(ask({ key, scopes: ["operator.admin"] })), "PAIRING_REQUIRED");

  await world.pairing.approve(requestIdOf(error), admin);

  const after = admitted(await world.pairing.authenticate(ask({ key, scopes: ["operator.admin"] })));
  assert.deepEqual(after.grant?.scopes, ["operator.admin", "operator.read"]);
  refusedWith(await world.pairing.authenticate(ask({ key, auth: { deviceToken: token } })), "AUTH_DEVICE_TOKEN_MISMATCH");
  assert.deepEqual(world.events, ["approved", "requested scope-upgrade", "approved"]);
});

test("an approver cannot give what it does not have", async () => {
  await using world = await openWorld();
  const key = createDeviceKey();
  await pair(world, key);
  const error = refusedWith(await world.pairing.authenticate(ask({ key, scopes: ["operator.admin"] })), "PAIRING_REQUIRED");
  const approver = secretPrincipal(["operator.pairing", "operator.write"]);

  await assert.rejects(
    world.pairing.approve(requestIdOf(error), approver),
    (thrown) => thrown instanceof ProtocolError && thrown.message === "missing scope: operator.admin",
  );

  assert.equal((await world.store.counts(nowMs)).pending, 1);
});

test("what is approved is approved again for whoever could have approved it, and for nobody else", async () => {
  await using world = await openWorld();
  const key = createDeviceKey();
  await pair(world, key);
  const error = refusedWith(await world.pairing.authenticate(ask({ key, scopes: ["operator.admin"] })), "PAIRING_REQUIRED");
  const first = await world.pairing.approve(requestIdOf(error), admin);

  const again = await world.pairing.approve(requestIdOf(error), admin);
  const weaker = world.pairing.approve(requestIdOf(error), secretPrincipal(["operator.pairing", "operator.read"]));

  assert.deepEqual(again, first);
  await assert.rejects(weaker, (thrown) => thrown instanceof ProtocolError && thrown.message === "missing scope: operator.admin");
});

test("an unknown request can be neither approved nor rejected", async () => {
  await using world = await openWorld();
  const isUnknown = (thrown: unknown): boolean =>
    thrown instanceof ProtocolError && thrown.code === "UNKNOWN_REQUEST" && thrown.message === "unknown requestId";

  await assert.rejects(world.pairing.approve("nope", admin), isUnknown);
  await assert.rejects(world.pairing.reject("nope", admin), isUnknown);
});

test("a rejected device is never paired silently again", async () => {
  await using world = await openWorld();
  const key = createDeviceKey();
  const error = refusedWith(await world.pairing.authenticate(ask({ key, peer: remote })), "PAIRING_REQUIRED");

  await world.pairing.reject(requestIdOf(error), admin);

  const later = refusedWith(await world.pairing.authenticate(ask({ key, peer: local })), "PAIRING_REQUIRED");
  assert.notEqual(requestIdOf(later), requestIdOf(error));
  assert.deepEqual(world.events, ["requested not-paired", "rejected", "requested not-paired"]);
});

test("a rejection is remembered longer than the request it answered", async () => {
  await using world = await openWorld();
  const [key, other] = [createDeviceKey(), createDeviceKey()];
  const longAgoMs = nowMs - 3 * 86_400_000;
  const facts = {
    displayName: undefined,
    platform: "linux",
    deviceFamily: undefined,
    clientId: "cli",
    clientMode: "cli",
    remoteIp: "192.0.2.7",
  };
  const request = { ...facts, role: "operator", scopes: [], reason: "not-paired", isRepair: false } as const;
  const asked = await world.store.requestPairing({ ...request, deviceId: key.id, publicKey: key.publicKey }, longAgoMs);
  assert.ok(asked.kind === "pending");
  await world.store.reject(asked.request.requestId, owner, longAgoMs);
  await world.store.requestPairing({ ...request, deviceId: other.id, publicKey: other.publicKey }, nowMs);

  refusedWith(await world.pairing.authenticate(ask({ key })), "PAIRING_REQUIRED");

  assert.deepEqual((await world.store.list(nowMs)).paired, []);
});

test("a waiting request from afar is not approved by coming in over loopback", async () => {
  await using world = await openWorld();
  const key = createDeviceKey();
  const error = refusedWith(await world.pairing.authenticate(ask({ key, peer: remote })), "PAIRING_REQUIRED");

  const second = refusedWith(await world.pairing.authenticate(ask({ key, peer: local })), "PAIRING_REQUIRED");

  assert.equal(requestIdOf(second), requestIdOf(error));
});

test("an approval that comes during the handshake is accepted", async () => {
  const key = createDeviceKey();
  let approveMeanwhile: (() => Promise<unknown>) | undefined;
  const wrap = (store: DeviceStore): DeviceStore => ({
    ...store,
    async requestPairing(request, atMs, saw) {
      await approveMeanwhile?.();
      return store.requestPairing(request, atMs, saw);
    },
  });
  await using world = await openWorld({ wrap });
  const error = refusedWith(await world.pairing.authenticate(ask({ key, peer: remote })), "PAIRING_REQUIRED");
  approveMeanwhile = () => world.store.approve(requestIdOf(error), owner, nowMs);

  const verdict = await world.pairing.authenticate(ask({ key, peer: remote }));

  assert.deepEqual(admitted(verdict).principal.scopes, ["operator.read"]);
  assert.deepEqual(world.events, ["requested not-paired"]);
  assert.deepEqual((await world.store.list(nowMs)).pending, []);
});

test("a rejection that comes during the handshake leaves no new request", async () => {
  const key = createDeviceKey();
  let rejectMeanwhile: (() => Promise<unknown>) | undefined;
  const wrap = (store: DeviceStore): DeviceStore => ({
    ...store,
    async requestPairing(request, atMs, saw) {
      await rejectMeanwhile?.();
      return store.requestPairing(request, atMs, saw);
    },
  });
  await using world = await openWorld({ wrap });
  const first = refusedWith(await world.pairing.authenticate(ask({ key, peer: remote })), "PAIRING_REQUIRED");
  rejectMeanwhile = () => world.store.reject(requestIdOf(first), owner, nowMs);

  const second = refusedWith(await world.pairing.authenticate(ask({ key, peer: remote })), "PAIRING_REQUIRED");

  assert.equal(second.details["requestId"], undefined);
  assert.match(second.remedy ?? "", /was rejected/);
  assert.deepEqual(world.events, ["requested not-paired"]);
  assert.deepEqual((await world.store.list(nowMs)).pending, []);
});

test("a rejection that comes during the handshake is not undone by a silent pairing", async () => {
  const key = createDeviceKey();
  const wrap = (store: DeviceStore): DeviceStore => ({
    ...store,
    async approveSilently(request, atMs) {
      const asked = await store.requestPairing(request, atMs);
      assert.ok(asked.kind === "pending");
      await store.reject(asked.request.requestId, owner, atMs);
      return store.approveSilently(request, atMs);
    },
  });
  await using world = await openWorld({ wrap });

  refusedWith(await world.pairing.authenticate(ask({ key })), "PAIRING_REQUIRED");

  assert.deepEqual((await world.store.list(nowMs)).paired, []);
});

test("one device's pending upgrade disturbs no other device", async () => {
  await using world = await openWorld();
  const [upgrader, other] = [createDeviceKey(), createDeviceKey()];
  await pair(world, upgrader);
  await pair(world, other);
  refusedWith(await world.pairing.authenticate(ask({ key: upgrader, scopes: ["operator.admin"] })), "PAIRING_REQUIRED");

  const verdict = await world.pairing.authenticate(ask({ key: other }));

  assert.deepEqual(admitted(verdict).principal.scopes, ["operator.read"]);
});

test("with the switch off the first local pairing waits", async () => {
  await using world = await openWorld({ autoApproveLocal: false });

  refusedWith(await world.pairing.authenticate(ask({ key: createDeviceKey() })), "PAIRING_REQUIRED");

  assert.deepEqual(world.events, ["requested not-paired"]);
});

test("beyond the bound on requests a stranger is refused without one", async () => {
  await using world = await openWorld();
  for (let count = 0; count < 16; count += 1) await world.pairing.authenticate(ask({ key: createDeviceKey(), peer: remote }));

  const error = refusedWith(await world.pairing.authenticate(ask({ key: createDeviceKey(), peer: remote })), "PAIRING_REQUIRED");

  assert.equal(error.details["requestId"], undefined);
  assert.equal((await world.store.counts(nowMs)).pending, 16);
});

const damages: readonly [name: string, sql: string][] = [
  ["a record that cannot be read", "update device_grants set scopes = 'not json'"],
  ["a record with another key", `update devices set public_key = '${createDeviceKey().publicKey}'`],
];

for (const [name, sql] of damages) {
  test(`${name} is refused by name, and the store is left as it is`, async () => {
    const folder = await mkdtemp(join(tmpdir(), "portreeve-pairing-"));
    const file = join(folder, "portreeve.db");
    const key = createDeviceKey();
    {
      await using before = await openWorld({ file });
      await pair(before, key);
    }
    {
      using db = new DatabaseSync(file);
      db.exec(sql);
    }
    await using world = await openWorld({ file });

    const error = refusedWith(await world.pairing.authenticate(ask({ key })), "DEVICE_RECORD_CORRUPT");

    assert.equal(error.details["deviceId"], key.id);
    assert.equal((await world.store.counts(nowMs)).requestsCreated, 0);
    assert.deepEqual(world.events, []);
    await rm(folder, { recursive: true });
  });
}

test("a request that has expired does not stand in a new device's way", async () => {
  await using world = await openWorld();
  const key = createDeviceKey();
  const { connect } = ask({ key });
  const facts = {
    deviceId: key.id,
    publicKey: key.publicKey,
    displayName: undefined,
    platform: connect.client.platform,
    deviceFamily: undefined,
    clientId: "cli",
    clientMode: "cli",
    remoteIp: undefined,
  };
  await world.store.requestPairing({ ...facts, role: "operator", scopes: [], reason: "not-paired", isRepair: false }, nowMs - 300_000);

  const verdict = await world.pairing.authenticate(ask({ key }));

  assert.deepEqual(admitted(verdict).principal.scopes, ["operator.read"]);
});

const deviceless: readonly [name: string, options: AskOptions, expected: readonly string[] | ErrorCode][] = [
  ["keeps its scopes on this machine", { scopes: ["operator.pairing"] }, ["operator.pairing"]],
  ["keeps none from afar", { peer: remote }, []],
  ["keeps none as a page", { peer: { ...local, hasOrigin: true } }, []],
  ["is refused with a wrong secret", { auth: { token: "wrong" } }, "AUTH_TOKEN_MISMATCH"],
  ["is refused with nothing", { auth: {} }, "DEVICE_IDENTITY_REQUIRED"],
  ["is refused with a device token alone", { auth: { deviceToken: "x" } }, "DEVICE_IDENTITY_REQUIRED"],
  ["is refused as a node", { role: "node" }, "DEVICE_IDENTITY_REQUIRED"],
  ["is refused as the control UI", { client: { id: "openclaw-control-ui", mode: "webchat" } }, "CONTROL_UI_DEVICE_IDENTITY_REQUIRED"],
  ["is refused as the terminal UI", { client: { id: "openclaw-tui", mode: "ui" } }, "CONTROL_UI_DEVICE_IDENTITY_REQUIRED"],
  [
    "hears of a wrong secret first, also as the control UI",
    { client: { id: "openclaw-control-ui" }, auth: { token: "wrong" } },
    "AUTH_TOKEN_MISMATCH",
  ],
];

for (const [name, options, expected] of deviceless) {
  test(`a connection without a device ${name}`, async () => {
    await using world = await openWorld();

    const verdict = await world.pairing.authenticate(ask(options));

    if (typeof expected === "string") refusedWith(verdict, expected);
    else
      assert.deepEqual(
        [admitted(verdict).principal.kind, admitted(verdict).principal.scopes, admitted(verdict).grant],
        ["secret", expected, undefined],
      );
    assert.equal((await world.store.counts(nowMs)).requestsCreated, 0);
  });
}

test("a proof for another connection is refused before anything is stored", async () => {
  await using world = await openWorld();
  const request = ask({ key: createDeviceKey() });

  refusedWith(await world.pairing.authenticate({ ...request, nonce: "another" }), "DEVICE_AUTH_NONCE_MISMATCH");

  assert.deepEqual((await world.store.list(nowMs)).paired, []);
});

for (const [agoMs, writes] of [
  [0, 0],
  [59_999, 0],
  [60_000, 1],
  [-60_000, 1],
] as const) {
  test(`a device that was seen ${agoMs} ms ago is ${writes === 0 ? "not written" : "written"} as seen when it connects`, async () => {
    const seen: number[] = [];
    await using world = await openWorld({
      wrap: (store) => ({
        ...store,
        markSeen: (deviceId, atMs) => {
          seen.push(atMs);
          return store.markSeen(deviceId, atMs);
        },
      }),
    });
    const key = createDeviceKey();
    await pair(world, key);
    await world.store.markSeen(key.id, nowMs - agoMs);

    admitted(await world.pairing.authenticate(ask({ key })));

    assert.deepEqual(seen, writes === 0 ? [] : [nowMs]);
  });
}
