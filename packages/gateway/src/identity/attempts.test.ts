import assert from "node:assert/strict";
import { createSecretKey } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { connectProofText, createDeviceKey, type DeviceKey } from "@portreeve/client";
import { type ConnectParams, toErrorBody } from "@portreeve/protocol";
import { wireVersions } from "../connection/versions/wire-version.ts";
import { Bus } from "../bus.ts";
import { createIds } from "../kit/ids.ts";
import { ManualClock } from "../kit/manual-clock.ts";
import { Secret } from "../kit/secret.ts";
import { secretPrincipal } from "../principal/principal.ts";
import { openStoreFile } from "../store/sqlite.ts";
import type { Store } from "../store/store.ts";
import { createAttempts, ruleFor } from "./attempts.ts";
import { createCredentials } from "./credentials.ts";
import { type AdmissionAsk, type AdmissionVerdict, createPairing } from "./pairing.ts";

type Peer = AdmissionAsk["peer"];
type Auth = NonNullable<ConnectParams["auth"]>;

const nonce = "f8d18954-6f97-40cc-a216-6307a87653e8";
const remote: Peer = { address: "192.0.2.7", directLoopback: false, hasOrigin: false };
const otherRemote: Peer = { ...remote, address: "192.0.2.8" };
const local: Peer = { address: "127.0.0.1", directLoopback: true, hasOrigin: false };
const page: Peer = { ...local, hasOrigin: true, origin: "http://localhost:5173" };
const credentials = createCredentials({
  secret: new Secret("the-secret"),
  tokenKey: createSecretKey(Buffer.alloc(32, 7)),
  gatewayId: "aa".repeat(32),
});

/** Pairing over a real store with a clock that stands still. */
async function openWorld(file = ":memory:", clock = new ManualClock()) {
  const store = await openStoreFile(file, createIds());
  const log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
  const attempts = createAttempts({ store: store.attempts, clock });
  const pairing = createPairing({
    store: store.devices,
    credentials,
    authMode: "token",
    attempts,
    clock,
    log,
    bus: new Bus(),
    autoApproveLocal: true,
  });
  const connect = (peer: Peer, auth: Auth, key?: DeviceKey, signal?: AbortSignal): Promise<AdmissionVerdict> =>
    pairing.authenticate({ ...toAsk(clock, peer, auth, key), signal });
  return {
    store,
    clock,
    connect,
    /** The code of the refusal, or `in`. */
    codeOf: async (peer: Peer, auth: Auth, key?: DeviceKey) => outcomeOf(await connect(peer, auth, key)),
    async failTimes(count: number, peer: Peer, auth: Auth, key?: DeviceKey) {
      for (let round = 0; round < count; round += 1) await connect(peer, auth, key);
    },
    /** Pairs a device on this machine; answers its token. */
    async pair(key: DeviceKey): Promise<string> {
      const verdict = await connect(local, { token: "the-secret" }, key);
      return verdict.kind === "admitted" ? (verdict.admission.grant?.token.reveal() ?? "") : "";
    },
    approveAll: async (): Promise<void> => {
      for (const { requestId } of (await pairing.list(secretPrincipal(["operator.admin"]))).pending)
        await pairing.approve(requestId, secretPrincipal(["operator.admin"]));
    },
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
  };
}

function toAsk(clock: ManualClock, peer: Peer, auth: Auth, key: DeviceKey | undefined): AdmissionAsk {
  const client = { id: "test", mode: "test", version: "1", platform: "linux" } as const;
  const scopes = ["operator.read"];
  const signed = auth.token ?? auth.deviceToken ?? "";
  const proof = { clientId: client.id, clientMode: client.mode, role: "operator", scopes, signedAt: clock.now(), token: signed, nonce };
  const signature = key?.sign(connectProofText(key, { ...proof, platform: client.platform })) ?? "";
  const device = key && { id: key.id, publicKey: key.publicKey, signature, nonce, signedAt: clock.now() };
  return { connect: { minProtocol: 4, maxProtocol: 4, client, scopes, auth, ...(device && { device }) }, role: "operator", nonce, peer };
}

function outcomeOf(verdict: AdmissionVerdict): string {
  return verdict.kind === "admitted" ? "in" : verdict.error.code;
}

async function countsOf(store: Store): Promise<number> {
  return await store.attempts.count();
}

test("the eleventh wrong secret of a remote peer within a minute is locked out, and so is the right one", async () => {
  await using world = await openWorld();

  const codes: string[] = [];
  for (let round = 0; round < 11; round += 1) codes.push(await world.codeOf(remote, { token: `guess-${round}` }));
  const right = await world.codeOf(remote, { token: "the-secret" });

  assert.deepEqual(
    [codes.slice(0, 10).every((code) => code === "AUTH_TOKEN_MISMATCH"), codes[10], right],
    [true, "AUTH_RATE_LIMITED", "AUTH_RATE_LIMITED"],
  );
});

test("a lock ends after five minutes and is another peer's no moment", async () => {
  await using world = await openWorld();
  await world.failTimes(10, remote, { token: "wrong" });

  const other = await world.codeOf(otherRemote, { token: "the-secret" });
  world.clock.advance(299_999);
  const before = await world.codeOf(remote, { token: "the-secret" });
  world.clock.advance(1);
  const after = await world.codeOf(remote, { token: "the-secret" });

  assert.deepEqual([other, before, after], ["in", "AUTH_RATE_LIMITED", "in"]);
});

test("a locked peer is told how long, and to wait, in both versions", async () => {
  await using world = await openWorld();
  await world.failTimes(10, remote, { token: "wrong" });
  world.clock.advance(1_000);

  const verdict = await world.connect(remote, { token: "wrong" });

  assert.ok(verdict.kind === "refused");
  const expected = {
    code: "INVALID_REQUEST",
    message: "unauthorized: too many failed authentication attempts (retry later)",
    retryable: true,
    retryAfterMs: 299_000,
    details: {
      code: "AUTH_RATE_LIMITED",
      authReason: "rate_limited",
      canRetryWithDeviceToken: false,
      recommendedNextStep: "wait_then_retry",
      remediationHint: "Wait 299 seconds, then connect with the right credential. The gateway's own machine is never locked out.",
    },
  };
  assert.deepEqual([wireVersions[3].error(verdict.error), wireVersions[4].error(verdict.error)], [expected, expected]);
  assert.equal(toErrorBody(verdict.error, 3).retryAfterMs, 299_000);
});

test("attempts that a lock refuses do not make it longer", async () => {
  await using world = await openWorld();
  await world.failTimes(10, remote, { token: "wrong" });
  world.clock.advance(200_000);
  await world.failTimes(20, remote, { token: "wrong" });
  world.clock.advance(100_000);

  assert.equal(await world.codeOf(remote, { token: "the-secret" }), "in");
});

test("failures further apart than a minute do not add up", async () => {
  await using world = await openWorld();
  for (let round = 0; round < 30; round += 1) {
    await world.codeOf(remote, { token: "wrong" });
    world.clock.advance(6_700);
  }

  assert.equal(await world.codeOf(remote, { token: "the-secret" }), "in");
});

test("a success forgets the failures before it", async () => {
  await using world = await openWorld();
  await world.failTimes(9, remote, { token: "wrong" });
  await world.codeOf(remote, { token: "the-secret" });
  await world.failTimes(9, remote, { token: "wrong" });

  assert.equal(await world.codeOf(remote, { token: "the-secret" }), "in");
});

test("a burst of guesses at once gets no more than ten answers", async () => {
  await using world = await openWorld();

  const guesses = Array.from({ length: 31 }, (_, round) => world.codeOf(remote, { token: `guess-${round}` }));
  const codes = await Promise.all([...guesses, world.codeOf(remote, { token: "the-secret" })]);

  assert.equal(codes.filter((code) => code === "AUTH_TOKEN_MISMATCH").length, 10);
  assert.equal(codes.at(-1), "AUTH_RATE_LIMITED");
});

test("a connection that offers nothing is not counted", async () => {
  await using world = await openWorld();
  const key = createDeviceKey();
  await world.failTimes(20, remote, {}, key);
  await world.failTimes(20, remote, { token: "" });

  assert.deepEqual([await countsOf(world.store), await world.codeOf(remote, { token: "the-secret" })], [0, "in"]);
});

test("the secret and device tokens are counted apart", async () => {
  await using world = await openWorld();
  const key = createDeviceKey();
  await world.pair(key);
  await world.failTimes(10, remote, { deviceToken: "wrong" }, key);

  const [byToken, bySecret] = [
    await world.codeOf(remote, { deviceToken: "wrong" }, key),
    await world.codeOf(remote, { token: "the-secret" }),
  ];

  assert.deepEqual([byToken, bySecret], ["AUTH_RATE_LIMITED", "in"]);
});

test("a junk device token beside them does not keep guesses at the secret from counting", async () => {
  await using world = await openWorld();
  await world.failTimes(10, remote, { token: "wrong", deviceToken: "junk" }, createDeviceKey());

  assert.equal(await world.codeOf(remote, { token: "the-secret" }), "AUTH_RATE_LIMITED");
});

test("a paired device with its right token passes its peer's lock, and only that device", async () => {
  await using world = await openWorld();
  const key = createDeviceKey();
  const token = await world.pair(key);
  await world.failTimes(10, remote, { token: "wrong" });
  await world.failTimes(10, remote, { deviceToken: "wrong" }, createDeviceKey());

  const codes = {
    itself: await world.codeOf(remote, { deviceToken: token }, key),
    inTheTokenField: await world.codeOf(remote, { token }, key),
    anotherDevice: await world.codeOf(remote, { deviceToken: token }, createDeviceKey()),
    withoutItsToken: await world.codeOf(remote, { token: "the-secret" }, key),
    noDevice: await world.codeOf(remote, { token }),
  };

  assert.deepEqual(codes, {
    itself: "in",
    inTheTokenField: "in",
    anotherDevice: "AUTH_RATE_LIMITED",
    withoutItsToken: "AUTH_RATE_LIMITED",
    noDevice: "AUTH_RATE_LIMITED",
  });
});

test("an exempt device cannot try secrets: they count, and a right one means nothing while its peer is locked", async () => {
  await using world = await openWorld();
  const key = createDeviceKey();
  const deviceToken = await world.pair(key);
  await world.failTimes(10, remote, { token: "guess", deviceToken }, key);

  const verdict = await world.connect(remote, { token: "the-secret", deviceToken }, key);

  assert.equal(verdict.kind === "admitted" && verdict.admission.method, "device-token");
  assert.equal(await world.codeOf(remote, { token: "the-secret" }), "AUTH_RATE_LIMITED");
});

test("a client that repeats its device token in the secret's field guesses nothing", async () => {
  await using world = await openWorld();
  const key = createDeviceKey();
  const token = await world.pair(key);
  await world.failTimes(20, remote, { token, deviceToken: token }, key);

  assert.equal(await countsOf(world.store), 0);
});

test("pages on this machine are locked out together, whatever origin each guess names, and programs beside them are not", async () => {
  await using world = await openWorld();
  for (let port = 1; port <= 10; port += 1) await world.codeOf({ ...page, origin: `http://localhost:${port}` }, { token: "wrong" });

  const codes = [
    await world.codeOf(page, { token: "the-secret" }),
    await world.codeOf({ ...page, origin: "http://localhost:99" }, { token: "the-secret" }),
    await world.codeOf(local, { token: "the-secret" }),
  ];

  assert.deepEqual(codes, ["AUTH_RATE_LIMITED", "AUTH_RATE_LIMITED", "in"]);
});

test("a program that guesses on this machine locks no page out", async () => {
  await using world = await openWorld();
  for (let guess = 0; guess < 11; guess += 1) await world.clock.runUntil(world.connect(local, { token: "wrong" }), 5_000);

  assert.equal(await world.codeOf(page, { token: "the-secret" }), "in");
});

/** As many peers as there are rows fail so often. */
async function fillWith(world: Awaited<ReturnType<typeof openWorld>>, maxFailures: number): Promise<void> {
  const rule = { maxFailures, windowMs: 60_000, lockMs: 300_000 };
  for (let peer = 0; peer < 4_096; peer += 1)
    await world.store.attempts.fail({ kind: "shared-secret", peer: `p${peer}` }, rule, world.clock.now());
}

test("a lock outlives however many other peers fail after it", async () => {
  await using world = await openWorld();
  await world.failTimes(10, remote, { token: "wrong" });
  world.clock.advance(1);

  await fillWith(world, 10);

  assert.equal(await world.codeOf(remote, { token: "the-secret" }), "AUTH_RATE_LIMITED");
  assert.equal(await countsOf(world.store), 4_096);
});

test("while as many peers are locked out as are remembered, another one's guess is not looked at, and the right secret lets it in", async () => {
  await using world = await openWorld();
  await fillWith(world, 1);

  const during = [await world.codeOf(remote, { token: "wrong" }), await world.codeOf(remote, { token: "the-secret" })];
  const here = await world.clock.runUntil(world.connect(local, { token: "wrong" }), 5_000);
  world.clock.advance(300_000);
  const after = await world.codeOf(remote, { token: "wrong" });

  assert.deepEqual(during, ["AUTH_RATE_LIMITED", "in"]);
  assert.deepEqual([outcomeOf(here), after], ["AUTH_TOKEN_MISMATCH", "AUTH_TOKEN_MISMATCH"]);
});

test("a program on this machine waits 250 ms, doubling to 5 s, for its refusal and is never locked out", async () => {
  await using world = await openWorld();

  const waits: number[] = [];
  for (let round = 0; round < 13; round += 1) {
    const before = world.clock.now();
    await world.clock.runUntil(world.connect(local, { token: "wrong" }), 5_000);
    waits.push(world.clock.now() - before);
  }

  assert.deepEqual(waits.slice(0, 7), [250, 500, 1_000, 2_000, 4_000, 5_000, 5_000]);
  assert.ok(waits.every((wait) => wait <= 5_000));
  assert.equal(await world.codeOf(local, { token: "the-secret" }), "in");
  const before = world.clock.now();
  await world.clock.runUntil(world.connect(local, { token: "wrong" }), 5_000);
  assert.equal(world.clock.now() - before, 250);
});

test("whoever waits holds nobody up, and a caller that is gone waits no longer", async () => {
  await using world = await openWorld();
  const gone = new AbortController();
  const waiting = world.connect(local, { token: "wrong" }, undefined, gone.signal);

  const other = await world.codeOf(local, { token: "the-secret" });
  gone.abort();

  assert.deepEqual([other, outcomeOf(await waiting)], ["in", "AUTH_TOKEN_MISMATCH"]);
});

test("a lock survives a restart and holds for every gateway on the store", async () => {
  const folder = await mkdtemp(join(tmpdir(), "portreeve-attempts-"));
  const file = join(folder, "portreeve.db");
  const clock = new ManualClock();
  try {
    {
      await using first = await openWorld(file, clock);
      await first.failTimes(10, remote, { token: "wrong" });
    }
    await using second = await openWorld(file, clock);

    assert.equal(await second.codeOf(remote, { token: "the-secret" }), "AUTH_RATE_LIMITED");
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test("whose attempts count together: an address, an IPv6 network, this machine's programs, its pages", () => {
  const keys = (peer: Partial<Peer>): string => ruleFor({ ...remote, ...peer }).key;

  assert.deepEqual(
    [
      keys({}),
      keys({ address: "2001:db8:1:2:3::4" }),
      keys({ address: "2001:db8:1:2::9" }),
      keys({ address: "::2" }),
      keys(local),
      keys(page),
    ],
    ["192.0.2.7", "2001:db8:1:2::/64", "2001:db8:1:2::/64", "0:0:0:0::/64", "loopback", "pages"],
  );
});
