import assert from "node:assert/strict";
import { createPublicKey, createSecretKey, generateKeyPairSync, sign, verify } from "node:crypto";
import { once } from "node:events";
import { request as httpRequest } from "node:http";
import test from "node:test";
import { connectProofText, createDeviceKey, type DeviceKey } from "@portreeve/client";
import { type EventFrame, isRecord, limits, ProtocolError, type ResponseFrame } from "@portreeve/protocol";
import { WebSocket, type ClientOptions } from "ws";
import { Bus } from "../bus.ts";
import type { Dispatch } from "../dispatch/types.ts";
import { createAttempts } from "../identity/attempts.ts";
import { createBearers } from "../identity/bearers.ts";
import { createCredentials } from "../identity/credentials.ts";
import { type AdmissionVerdict, createPairing } from "../identity/pairing.ts";
import { parseConfig } from "../kit/config.ts";
import { createIds } from "../kit/ids.ts";
import { ManualClock } from "../kit/manual-clock.ts";
import { Secret } from "../kit/secret.ts";
import { secretPrincipal } from "../principal/principal.ts";
import { openStoreFile } from "../store/sqlite.ts";
import { ListenError, openListener, type Listener, type ListenerDeps } from "./listener.ts";

const { privateKey, publicKey } = generateKeyPairSync("ed25519");
const gatewayKey = {
  publicKey: publicKey.export({ format: "jwk" }).x ?? "",
  sign: (text: string) => sign(null, Buffer.from(text), privateKey).toString("base64url"),
};
const log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
const echo: Dispatch = (principal, name, params) => Promise.resolve({ name, params, scopes: principal.scopes });

interface World extends AsyncDisposable {
  readonly listener: Listener;
  readonly clock: ManualClock;
  readonly bus: Bus;
  /** Opens a socket that remembers all it gets. */
  open(options?: ClientOptions): Promise<Peer>;
}

async function startWorld(over: Partial<ListenerDeps> & { readonly configText?: string } = {}): Promise<World> {
  const clock = new ManualClock();
  const ids = createIds();
  const bus = new Bus();
  const store = await openStoreFile(":memory:", ids);
  const credentials = createCredentials({
    secret: new Secret("the-secret"),
    tokenKey: createSecretKey(Buffer.alloc(32, 7)),
    gatewayId: "aa".repeat(32),
  });
  const attempts = createAttempts({ store: store.attempts, clock });
  const identity = { credentials, authMode: "token", attempts, clock, log, bus } as const;
  const { configText = "{ gateway: { port: 0 } }", ...deps } = over;
  const listener = await openListener({
    config: parseConfig(configText, "test").gateway,
    keys: { gatewayKey },
    pairing: createPairing({ ...identity, store: store.devices, autoApproveLocal: true }),
    bearers: createBearers({ ...identity, bearers: store.bearers, devices: store.devices }),
    dispatch: echo,
    bus,
    clock,
    ids,
    log,
    countRefusal: () => undefined,
    nodes: { opened: () => undefined, closed: () => undefined },
    version: "1.2.3",
    paths: { configPath: "/c", stateDir: "/s" },
    health: () =>
      Promise.resolve({
        ok: true,
        ts: 1,
        durationMs: 0,
        channels: {},
        channelOrder: [],
        channelLabels: {},
        heartbeatSeconds: 0,
        defaultAgentId: "main",
        agents: [],
        sessions: { path: "", count: 0, recent: [] },
      }),
    sessionDefaults: () =>
      Promise.resolve({
        defaultAgentId: "main",
        mainKey: "main",
        mainSessionKey: "agent:main:main",
        scope: "per-sender",
        modelConfigured: true,
      }),
    rowOf: () => Promise.resolve(undefined),
    messagesOf: () => Promise.resolve([]),
    ...deps,
  });
  const peers: Peer[] = [];
  return {
    listener,
    clock,
    bus,
    async open(options) {
      const peer = new Peer(new WebSocket(listener.url, options));
      peers.push(peer);
      await once(peer.socket, "open");
      return peer;
    },
    async [Symbol.asyncDispose]() {
      for (const peer of peers) peer.socket.terminate();
      await listener[Symbol.asyncDispose]();
      await store[Symbol.asyncDispose]();
    },
  };
}

type ServerFrame = ResponseFrame | EventFrame;

class Peer {
  readonly socket: WebSocket;
  readonly frames: ServerFrame[] = [];
  /** The close, as `code reason`. */
  readonly closed: Promise<string>;
  #wake = Promise.withResolvers<void>();

  constructor(socket: WebSocket) {
    this.socket = socket;
    socket.on("error", () => undefined);
    socket.on("message", (data) => {
      this.frames.push(JSON.parse(String(data)));
      this.#wake.resolve();
      this.#wake = Promise.withResolvers();
    });
    this.closed = new Promise((resolve) => socket.on("close", (code, reason) => resolve(`${code} ${String(reason)}`.trim())));
  }

  /** The first frame that `is` it, once it is there. */
  async find<F extends ServerFrame>(is: (frame: ServerFrame) => frame is F): Promise<F> {
    for (;;) {
      const found = this.frames.find(is);
      if (found !== undefined) return found;
      await this.#wake.promise;
    }
  }

  event(name: string): Promise<EventFrame> {
    return this.find((frame): frame is EventFrame => frame.type === "event" && frame.event === name);
  }

  /** The answer to the request `id`. */
  answer(id: string): Promise<ResponseFrame> {
    return this.find((frame): frame is ResponseFrame => frame.type === "res" && frame.id === id);
  }

  send(id: string, method: string, params: unknown = {}): void {
    this.socket.send(JSON.stringify({ type: "req", id, method, params }));
  }

  async connect({
    key,
    scopes = ["operator.read"],
    protocol = 4,
    token = "the-secret",
    ...over
  }: ConnectOptions = {}): Promise<ResponseFrame> {
    const challenge = (await this.event("connect.challenge")).payload;
    assert.ok(isRecord(challenge) && typeof challenge["nonce"] === "string" && typeof challenge["ts"] === "number");
    const { nonce, ts } = challenge;
    const client = { id: "cli", mode: "cli", version: "1", platform: "linux" };
    const text = (device: DeviceKey): string =>
      connectProofText(device, {
        clientId: "cli",
        clientMode: "cli",
        role: "operator",
        scopes,
        signedAt: ts,
        token,
        nonce,
        platform: "linux",
      });
    const device = key && { id: key.id, publicKey: key.publicKey, signature: key.sign(text(key)), nonce, signedAt: ts };
    this.send("hello", "connect", {
      minProtocol: protocol,
      maxProtocol: protocol,
      client,
      scopes,
      auth: { token },
      ...(device && { device }),
      ...over,
    });
    return this.answer("hello");
  }
}

interface ConnectOptions {
  readonly key?: DeviceKey;
  readonly scopes?: readonly string[];
  readonly protocol?: number;
  readonly token?: string;
  readonly caps?: readonly string[];
}

/** The HTTP answer to an upgrade that is not let through. */
interface RefusedUpgrade {
  readonly status: number;
  readonly retryAfter: string | undefined;
  readonly body: string;
}

async function refusedUpgrade(url: string, options: ClientOptions = {}): Promise<RefusedUpgrade> {
  const socket = new WebSocket(url, options);
  socket.on("error", () => undefined);
  const [, response] = await Promise.race([once(socket, "unexpected-response"), once(socket, "open")]);
  assert.ok(response !== undefined, "the upgrade was accepted");
  let body = "";
  for await (const chunk of response) body += String(chunk);
  return { status: response.statusCode, retryAfter: response.headers["retry-after"], body };
}

async function get(
  world: World,
  path: string,
  options: { method?: string; headers?: Record<string, string> } = {},
): Promise<{ status: number; body: string; headers: NodeJS.Dict<string | string[]> }> {
  const request = httpRequest({ host: "127.0.0.1", port: world.listener.port, path, ...options }).end();
  const [response] = await once(request, "response");
  let body = "";
  for await (const chunk of response) body += String(chunk);
  return { status: response.statusCode, body, headers: response.headers };
}

test("the challenge carries a nonce, the time and the gateway's proof over both", async () => {
  await using world = await startWorld();
  const peer = await world.open();

  const { payload, seq } = await peer.event("connect.challenge");

  assert.ok(isRecord(payload) && isRecord(payload["gateway"]));
  const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x: String(payload["gateway"]["publicKey"]) }, format: "jwk" });
  const text = `portreeve-gateway|${String(payload["nonce"])}|${world.clock.now()}`;
  assert.ok(verify(null, Buffer.from(text), key, Buffer.from(String(payload["gateway"]["signature"]), "base64url")));
  assert.deepEqual([payload["ts"], seq], [world.clock.now(), undefined]);
});

for (const protocol of [3, 4]) {
  test(`a new local device is let in over protocol ${protocol}, hears the health and counts as connected`, async () => {
    await using world = await startWorld();
    const key = createDeviceKey();
    const peer = await world.open();

    const { ok, payload } = await peer.connect({ key, protocol });

    const health = await peer.event("health");
    assert.ok(ok && isRecord(payload) && isRecord(payload["auth"]));
    assert.equal(payload["protocol"], protocol);
    assert.match(String(payload["auth"]["deviceToken"]), /^[\w-]{43}$/);
    assert.deepEqual([health.seq, health.stateVersion], [1, { presence: 0, health: 1 }]);
    assert.deepEqual([[...world.listener.connectedDevices()], world.listener.counts()], [[key.id], { accepted: 1, open: 1 }]);
  });
}

test("requests before the hello are answered after it, in order, with the principal that was let in", async () => {
  await using world = await startWorld();
  const peer = await world.open();

  const hello = peer.connect({ scopes: ["operator.write"] });
  await peer.event("connect.challenge");
  peer.send("r1", "sessions.list", { limit: 1 });
  peer.send("r2", "status");
  await Promise.all([hello, peer.answer("r2")]);

  const answers = peer.frames.flatMap((frame) => (frame.type === "res" ? [[frame.id, frame.payload]] : [])).slice(1);
  assert.deepEqual(answers, [
    ["r1", { name: "sessions.list", params: { limit: 1 }, scopes: ["operator.write"] }],
    ["r2", { name: "status", params: {}, scopes: ["operator.write"] }],
  ]);
});

/** The gateway has seen it, too. */
async function allClosed({ listener }: World): Promise<void> {
  while (listener.counts().open > 0) await new Promise(setImmediate);
}

const ends: readonly (readonly [what: string, isHeard: boolean, end: (peer: Peer, letIn: () => void, world: World) => Promise<void>])[] = [
  [
    "breaks before its hello",
    false,
    async (peer, letIn, world) => {
      void peer.connect().catch(() => undefined);
      await peer.event("connect.challenge");
      peer.socket.terminate();
      await allClosed(world);
      letIn();
    },
  ],
  [
    "breaks after its hello",
    false,
    async (peer, letIn) => {
      letIn();
      await peer.connect();
      peer.socket.terminate();
    },
  ],
  [
    "asks for something and then breaks",
    true,
    async (peer, letIn) => {
      letIn();
      await peer.connect();
      peer.send("r1", "health");
      await peer.answer("r1");
      peer.socket.terminate();
    },
  ],
  [
    "closes in order",
    true,
    async (peer, letIn) => {
      letIn();
      await peer.connect();
      peer.socket.close();
    },
  ],
];

for (const [what, isHeard, end] of ends) {
  test(`a connection that ${what} has ${isHeard ? "" : "maybe not "}heard that it was let in`, async () => {
    const told: string[] = [];
    const verdict = Promise.withResolvers<AdmissionVerdict>();
    const letIn = { principal: secretPrincipal([]), method: "bootstrap-token", role: "operator", grant: undefined } as const;
    const delivery = { heard: () => void told.push("heard"), lost: () => void told.push("lost") };
    await using world = await startWorld({ pairing: { authenticate: () => verdict.promise } });
    const peer = await world.open();

    await end(peer, () => verdict.resolve({ kind: "admitted", admission: { ...letIn, endsInMs: undefined, delivery } }), world);
    await allClosed(world);
    await verdict.promise;

    assert.deepEqual(told, [isHeard ? "heard" : "lost"]);
  });
}

test("a sixteenth frame before the hello closes the socket", async () => {
  const never = Promise.withResolvers<never>();
  await using world = await startWorld({ pairing: { authenticate: () => never.promise } });
  const peer = await world.open();

  void peer.connect();
  await peer.event("connect.challenge");
  for (let count = 0; count < 16; count += 1) peer.send(`r${count}`, "health");

  assert.equal(await peer.closed, "1008 too many pending handshake frames");
});

test("a method with two answers gives both under one id, in the client's version", async () => {
  const dispatch: Dispatch = (_principal, _name, _params, { accept }) => {
    accept?.({ runId: "r", sessionKey: "k", agentId: "main", status: "accepted", acceptedAt: 1 });
    return Promise.resolve({ runId: "r", status: "ok" });
  };
  await using world = await startWorld({ dispatch });
  const peer = await world.open();
  await peer.connect({ protocol: 3 });

  peer.send("r1", "agent", { message: "go" });
  await peer.find(
    (frame): frame is ResponseFrame =>
      frame.type === "res" && frame.id === "r1" && isRecord(frame.payload) && frame.payload["status"] === "ok",
  );

  const payloads = peer.frames.flatMap((frame) => (frame.type === "res" && frame.id === "r1" ? [frame.payload] : []));
  assert.deepEqual(payloads, [
    { runId: "r", status: "accepted", acceptedAt: 1 },
    { runId: "r", status: "ok" },
  ]);
});

test("broken frames after the hello are answered or ignored, and the socket lives", async () => {
  await using world = await startWorld();
  const peer = await world.open();
  await peer.connect();

  peer.socket.send("not json");
  peer.socket.send('{"type":"event"}');
  peer.socket.send('{"type":"req","id":"r1","method":"health","bogus":1}');
  peer.socket.send(Buffer.from('{"type":"req","id":"r2","method":"health"}'));
  const [unnamed, named, good] = [await peer.answer("invalid"), await peer.answer("r1"), await peer.answer("r2")];

  assert.deepEqual(
    [unnamed.error?.code, unnamed.error?.message],
    ["INVALID_REQUEST", 'invalid request frame: at /type: must be equal to constant "req"'],
  );
  assert.equal(named.error?.message, "invalid request frame: at root: unexpected property 'bogus'");
  assert.equal(good.ok, true);
});

test("a request's id may have 256 characters; a longer one is not said again", async () => {
  await using world = await startWorld();
  const peer = await world.open();
  await peer.connect();

  peer.send("x".repeat(257), "health");
  peer.send("y".repeat(256), "health");
  const [long, good] = [await peer.answer("invalid"), await peer.answer("y".repeat(256))];

  assert.deepEqual(
    [long.error?.code, long.error?.message, good.ok],
    ["INVALID_REQUEST", "invalid request frame: at /id: must be a string of 1 to 256 characters", true],
  );
});

test("a failure outside of dispatch is one internal error without its text", async () => {
  await using world = await startWorld({ dispatch: () => Promise.reject(new Error("a secret detail")) });
  const peer = await world.open();
  await peer.connect();

  peer.send("r1", "status");

  assert.deepEqual((await peer.answer("r1")).error, { code: "UNAVAILABLE", message: "internal error", details: { code: "INTERNAL" } });
});

test("the eleventh request in a row for the wrong role closes the socket, and any other answer starts the count again", async () => {
  const dispatch: Dispatch = (_principal, name) =>
    name === "health" ? Promise.resolve({}) : Promise.reject(new ProtocolError("WRONG_CALLER", "unauthorized role: operator"));
  await using world = await startWorld({ dispatch });
  const peer = await world.open();
  await peer.connect();

  for (let count = 0; count < 10; count += 1) peer.send(`a${count}`, "node.event");
  peer.send("good", "health");
  for (let count = 0; count < 10; count += 1) peer.send(`b${count}`, "node.event");
  await peer.answer("b9");
  peer.send("last", "node.event");

  assert.equal(await peer.closed, "1008 repeated unauthorized calls");
  assert.equal((await peer.answer("last")).ok, false);
});

test("no more requests of one connection are in work than it may have, and the others wait their turn", async () => {
  const started: string[] = [];
  const gate = Promise.withResolvers<void>();
  const full = Promise.withResolvers<void>();
  const dispatch: Dispatch = async (_principal, _name, params) => {
    if (started.push(JSON.stringify(params)) === limits.requestsInFlight) full.resolve();
    await gate.promise;
    return {};
  };
  await using world = await startWorld({ dispatch });
  const [peer, other] = [await world.open(), await world.open()];
  await Promise.all([peer.connect(), other.connect()]);

  for (let count = 0; count < limits.requestsInFlight + 50; count += 1) peer.send(`r${count}`, "status", { count });
  await full.promise;
  const pong = once(other.socket, "pong");
  other.socket.ping();
  await pong;
  const whileFull = started.length;
  gate.resolve();
  await peer.answer(`r${limits.requestsInFlight + 49}`);

  assert.equal(whileFull, limits.requestsInFlight);
  assert.equal(started.length, limits.requestsInFlight + 50);
});

test("whoever leaves aborts what is in work for it", async () => {
  const asked = Promise.withResolvers<AbortSignal>();
  const dispatch: Dispatch = (_principal, _name, _params, { signal }) => {
    asked.resolve(signal);
    return new Promise(() => undefined);
  };
  await using world = await startWorld({ dispatch });
  const peer = await world.open();
  await peer.connect();

  peer.send("r1", "agent.wait");
  const signal = await asked.promise;
  peer.socket.close();
  await once(signal, "abort");

  assert.equal(signal.aborted, true);
});

const firstFrames: readonly [name: string, frame: string, close: string, message: string | undefined][] = [
  ["is not JSON", "hello?", "1000", undefined],
  [
    "is not connect",
    '{"type":"req","id":"r1","method":"health"}',
    "1008 invalid handshake: first request must be connect",
    "invalid handshake: first request must be connect",
  ],
  [
    "speaks another protocol",
    '{"type":"req","id":"r1","method":"connect","params":{"minProtocol":9,"maxProtocol":9}}',
    "1002 protocol mismatch",
    "protocol mismatch",
  ],
];

for (const [name, frame, close, message] of firstFrames) {
  test(`a first frame that ${name} closes with ${close}`, async () => {
    await using world = await startWorld();
    const peer = await world.open();

    peer.socket.send(frame);

    assert.equal(await peer.closed, close);
    assert.deepEqual(
      peer.frames.flatMap((answer) => (answer.type === "res" ? [answer.error?.message] : [])),
      message === undefined ? [] : [message],
    );
  });
}

test("a device that must be approved is told how, with the request in the close reason", async () => {
  await using world = await startWorld({ configText: "{ gateway: { port: 0, allowedOrigins: ['https://ui.example'] } }" });
  const key = createDeviceKey();
  const first = await world.open();
  await first.connect({ key });
  const peer = await world.open();

  const { error } = await peer.connect({ key, scopes: ["operator.admin"] });

  assert.ok(isRecord(error?.details));
  assert.deepEqual([error.code, error.details["code"], error.details["reason"]], ["NOT_PAIRED", "PAIRING_REQUIRED", "scope-upgrade"]);
  const reason = `pairing required: device is asking for more scopes than currently approved (requestId: ${String(error.details["requestId"])})`;
  assert.equal(await peer.closed, `1008 ${reason.slice(0, 120)}`);
});

test("a wrong secret is refused with the text that clients match", async () => {
  await using world = await startWorld();
  const peer = await world.open();

  const { error } = await world.clock.runUntil(peer.connect({ token: "wrong" }), 250);

  assert.equal(error?.message, "unauthorized: gateway token mismatch (provide the gateway's token)");
  assert.equal(await peer.closed, `1008 ${error.message}`);
});

const failures: readonly [name: string, thrown: Error, code: string, close: string][] = [
  [
    "a store that cannot write",
    new ProtocolError("STORE_UNAVAILABLE", "the state cannot be written"),
    "STORE_UNAVAILABLE",
    "1013 the state cannot be written",
  ],
  ["an unexpected failure", new Error("a secret detail"), "INTERNAL", "1011 internal error"],
];

for (const [name, thrown, code, close] of failures) {
  test(`${name} during the handshake is answered and closes with ${close.slice(0, 4)}`, async () => {
    await using world = await startWorld({ pairing: { authenticate: () => Promise.reject(thrown) } });
    const peer = await world.open();

    const { error } = await peer.connect();

    assert.ok(isRecord(error?.details));
    assert.deepEqual([error.code, error.details["code"], await peer.closed], ["UNAVAILABLE", code, close]);
  });
}

test("a socket that never says hello is closed in time, and one that did is not", async () => {
  await using world = await startWorld();
  const [silent, polite] = [await world.open(), await world.open()];
  await polite.connect();

  world.clock.advance(limits.handshakeTimeoutMs);

  assert.equal(await silent.closed, "1000");
  polite.send("r1", "health");
  assert.equal((await polite.answer("r1")).ok, true);
});

test("more bytes than a socket may send before its hello close it, in one frame or in many", async () => {
  await using world = await startWorld();
  const [one, many] = [await world.open(), await world.open()];

  one.socket.send("x".repeat(limits.preauthBytes + 1));
  for (let sent = 0; sent <= limits.preauthBytes; sent += 1_000) many.socket.send("x".repeat(1_000), { fin: false });

  assert.deepEqual(await Promise.all([one.closed, many.closed]), ["1009 preauth payload too large", "1009 preauth payload too large"]);
});

test("bytes sent before the hello are not held against a connection after it", async () => {
  await using world = await startWorld();
  const peer = await world.open();
  await peer.connect();

  peer.send("r1", "status", { text: "x".repeat(limits.preauthBytes * 2) });

  assert.equal((await peer.answer("r1")).ok, true);
});

test("a frame beyond the largest closes an open connection with 1009", async () => {
  await using world = await startWorld();
  const peer = await world.open();
  await peer.connect();

  peer.socket.send(Buffer.alloc(limits.maxPayloadBytes + 1, "x"));

  assert.equal(await peer.closed, "1009");
});

test("one peer holds at most 32 sockets without a hello; a hello or a close frees a place", async () => {
  await using world = await startWorld();
  const peers = await Promise.all(Array.from({ length: limits.unauthenticatedSocketsPerPeer }, () => world.open()));

  const refused = await refusedUpgrade(world.listener.url);
  await peers[0]?.connect();
  const afterHello = await world.open();
  const refusedAgain = await refusedUpgrade(world.listener.url);
  peers[1]?.socket.send("not json");
  await peers[1]?.closed;
  const afterClose = await world.open();

  assert.deepEqual([refused, refusedAgain], Array(2).fill({ status: 503, retryAfter: "5", body: "Too many unauthenticated sockets" }));
  assert.deepEqual([afterHello.socket.readyState, afterClose.socket.readyState], [WebSocket.OPEN, WebSocket.OPEN]);
  assert.deepEqual(world.listener.counts(), { accepted: 34, open: 33 });
});

test("however many peers hold sockets without a hello, one that holds none gets in, and one of the greediest goes", async () => {
  await using world = await startWorld({ configText: '{ gateway: { port: 0, trustedProxies: ["127.0.0.1"] } }' });
  const openAs = (address: string): Promise<Peer> => world.open({ headers: { "x-forwarded-for": address } });
  const floods = await openFloods(openAs, limits.unauthenticatedSocketsPerPeer);

  const late = await openAs("198.51.100.1");
  const answer = await late.connect({ key: createDeviceKey() });

  assert.match(String(answer.error?.message), /^pairing required/);
  assert.match((await floods[0]?.closed) ?? "", /^(1013 too many unauthenticated sockets|1006)/);
  assert.deepEqual(world.listener.counts(), { accepted: limits.unauthenticatedSockets + 1, open: limits.unauthenticatedSockets });
});

test("sockets without a hello are bounded in all, where no peer holds more than another", async () => {
  await using world = await startWorld({ configText: '{ gateway: { port: 0, trustedProxies: ["127.0.0.1"] } }' });
  await openFloods((address) => world.open({ headers: { "x-forwarded-for": address } }), 1);

  const refused = await refusedUpgrade(world.listener.url, { headers: { "x-forwarded-for": "198.51.100.1" } });

  assert.deepEqual(refused, { status: 503, retryAfter: "5", body: "Too many unauthenticated sockets of all peers" });
  assert.deepEqual(world.listener.counts(), { accepted: limits.unauthenticatedSockets, open: limits.unauthenticatedSockets });
});

test("an IPv6 network is one peer", async () => {
  await using world = await startWorld({ configText: '{ gateway: { port: 0, trustedProxies: ["127.0.0.1"] } }' });
  for (let index = 0; index < limits.unauthenticatedSocketsPerPeer; index += 1)
    await world.open({ headers: { "x-forwarded-for": `2001:db8::${index}` } });

  const [same, other] = [
    await refusedUpgrade(world.listener.url, { headers: { "x-forwarded-for": "2001:db8::ffff" } }),
    await world.open({ headers: { "x-forwarded-for": "2001:db8:0:1::1" } }),
  ];

  assert.equal(same.status, 503);
  assert.equal(other.socket.readyState, WebSocket.OPEN);
});

/** Takes every place, `each` by one peer, in the order of the peers. */
async function openFloods(openAs: (address: string) => Promise<Peer>, each: number): Promise<readonly Peer[]> {
  const floods: Peer[] = [];
  for (let index = 0; index < limits.unauthenticatedSockets; index += 1) {
    const peer = Math.floor(index / each);
    floods.push(await openAs(`203.0.${Math.floor(peer / 256)}.${peer % 256}`));
  }
  return floods;
}

test("a page of a foreign origin is refused in words it can read, one on this machine is let in", async () => {
  await using world = await startWorld();
  const [foreign, local] = [await world.open({ origin: "https://evil.example" }), await world.open({ origin: "http://localhost:5173" })];

  const [refused, admitted] = [await foreign.connect({ key: createDeviceKey() }), await local.connect({ key: createDeviceKey() })];

  assert.ok(isRecord(refused.error?.details));
  assert.equal(refused.error.details["code"], "CONTROL_UI_ORIGIN_NOT_ALLOWED");
  assert.equal(
    await foreign.closed,
    "1008 origin not allowed (open the Control UI from the gateway host or allow it in gateway.controlUi.allowedOrigins)",
  );
  assert.equal(admitted.ok, true);
});

test("an upgrade under a foreign name or through an unknown proxy gets an HTTP answer", async () => {
  await using world = await startWorld();

  const [rebound, proxied] = [
    await refusedUpgrade(world.listener.url, { headers: { host: "evil.example" } }),
    await refusedUpgrade(world.listener.url, { headers: { "x-forwarded-for": "127.0.0.1" } }),
  ];

  assert.deepEqual([rebound.status, JSON.parse(rebound.body).error.type], [421, "misdirected_request"]);
  assert.deepEqual([proxied.status, JSON.parse(proxied.body).error.type], [403, "proxy_attribution_required"]);
  assert.equal(world.listener.counts().accepted, 0);
});

test("every open connection hears the tick, and none before its hello", async () => {
  await using world = await startWorld();
  const [open, silent] = [await world.open(), await world.open()];
  await open.connect({ scopes: [] });
  await silent.event("connect.challenge");

  world.clock.advance(limits.handshakeTimeoutMs - 1);
  const late = await world.open();
  await late.event("connect.challenge");
  world.clock.advance(limits.tickIntervalMs - limits.handshakeTimeoutMs + 1);

  assert.deepEqual((await open.event("tick")).payload, { ts: world.clock.now() });
  assert.deepEqual(
    late.frames.map((frame) => frame.type === "event" && frame.event),
    ["connect.challenge"],
  );
});

test("a peer that answers no ping is cut off at the next one", async () => {
  await using world = await startWorld();
  const [dead, alive] = [await world.open({ autoPong: false }), await world.open()];
  await Promise.all([dead.connect(), alive.connect()]);

  const pinged = Promise.all([once(dead.socket, "ping"), once(alive.socket, "ping")]);
  world.clock.advance(limits.pingIntervalMs);
  await pinged;
  alive.send("r1", "health");
  await alive.answer("r1");
  world.clock.advance(limits.pingIntervalMs);

  assert.equal(await dead.closed, "1006");
  alive.send("r2", "health");
  assert.equal((await alive.answer("r2")).ok, true);
});

test("a peer that reads nothing while megabytes wait for it is cut off at the second ping", async () => {
  const answered = Promise.withResolvers<void>();
  const dispatch: Dispatch = (_principal, name) => (answered.resolve(), Promise.resolve({ name, text: "x".repeat(33_554_432) }));
  await using world = await startWorld({ dispatch });
  const peer = await world.open();
  await peer.connect();
  peer.socket.pause();
  peer.send("r1", "health");
  await answered.promise;
  peer.send("r2", "health");
  for (let turn = 0; turn < 100; turn += 1) await new Promise(setImmediate);

  world.clock.advance(limits.pingIntervalMs);
  world.clock.advance(limits.pingIntervalMs);

  await allClosed(world);
});

test("a peer that reads late gets the answers to what it sent meanwhile", async () => {
  const answered = Promise.withResolvers<void>();
  const dispatch: Dispatch = (_principal, name) => (answered.resolve(), Promise.resolve({ name, text: "x".repeat(16_777_216) }));
  await using world = await startWorld({ dispatch });
  const peer = await world.open();
  await peer.connect();
  peer.socket.pause();
  peer.send("r0", "health");
  await answered.promise;
  const ids = Array.from({ length: 6 }, (_, index) => `r${index}`);
  for (const id of ids.slice(1)) peer.send(id, "health");
  for (let turn = 0; turn < 100; turn += 1) await new Promise(setImmediate);
  world.clock.advance(limits.pingIntervalMs);

  peer.socket.resume();
  const answers = await Promise.all(ids.map((id) => peer.answer(id)));
  world.clock.advance(limits.pingIntervalMs);
  peer.send("last", "health");

  assert.equal(
    answers.every(({ ok }) => ok),
    true,
  );
  assert.equal((await peer.answer("last")).ok, true);
});

test("a device has so many open sockets and no more, however many come at once; others come in, and it again when one is closed", async () => {
  await using world = await startWorld();
  const [key, other] = [createDeviceKey(), createDeviceKey()];
  const connect = async (of: DeviceKey): Promise<readonly [Peer, ResponseFrame]> => {
    const peer = await world.open();
    return [peer, await peer.connect({ key: of })];
  };
  const [first] = await connect(key);
  for (let count = 1; count < limits.socketsPerDevice - 1; count += 1) await connect(key);

  const late = await Promise.all(Array.from({ length: 4 }, () => connect(key)));
  const [, ofOther] = await connect(other);
  first.socket.close();
  await first.closed;
  while (world.listener.counts().open > limits.socketsPerDevice) await new Promise(setImmediate);
  const [, again] = await connect(key);

  const refused = late.filter(([, { ok }]) => !ok);
  assert.equal(refused.length, 3);
  assert.deepEqual([ofOther.ok, again.ok], [true, true]);
  for (const [peer, { error }] of refused) {
    const details = isRecord(error?.details) ? error.details : {};
    assert.deepEqual([error?.code, error?.retryable, details["code"]], ["UNAVAILABLE", true, "TOO_MANY_SOCKETS"]);
    assert.match(String(details["remediationHint"]), /Close .* or give each program a device of its own/);
    assert.equal(await peer.closed, `1013 ${error?.message}`);
  }
});

test("at the end every connection is told and closed, and the port is free", async () => {
  const world = await startWorld();
  const [open, silent] = [await world.open(), await world.open()];
  await open.connect();

  await world.listener[Symbol.asyncDispose]();

  assert.deepEqual(await Promise.all([open.closed, silent.closed]), ["1012 service restart", "1012 service restart"]);
  assert.deepEqual((await open.event("shutdown")).payload, { reason: "gateway stopping", restartExpectedMs: null });
  await using next = await startWorld({ configText: `{ gateway: { port: ${world.listener.port} } }` });
  assert.equal(next.listener.port, world.listener.port);
});

test("a port in use is one line that says what to do", async () => {
  await using world = await startWorld();
  const { port } = world.listener;

  await assert.rejects(
    startWorld({ configText: `{ gateway: { port: ${port} } }` }),
    (error) =>
      error instanceof ListenError && error.code === "PORT_IN_USE" && error.message.includes(String(port)) && !error.message.includes("\n"),
  );
});

test("an address that is not this machine's is one line that says what to do", async () => {
  await assert.rejects(
    startWorld({ configText: '{ gateway: { port: 0, bind: "192.0.2.77" } }' }),
    (error) => error instanceof ListenError && error.code === "ADDRESS_NOT_AVAILABLE" && error.message.includes("192.0.2.77"),
  );
});

const requests: readonly [name: string, path: string, options: Parameters<typeof get>[2], status: number, body: string][] = [
  ["/health", "/health", {}, 200, '{"ok":true,"status":"live"}'],
  ["/healthz with a query", "/healthz?x=1", {}, 200, '{"ok":true,"status":"live"}'],
  ["/healthz without a body", "/healthz", { method: "HEAD" }, 200, ""],
  ["/healthz through a proxy", "/healthz", { headers: { "x-forwarded-for": "192.0.2.7" } }, 200, '{"ok":true,"status":"live"}'],
  ["/readyz", "/readyz", {}, 200, '{"ready":true,"failing":[],"uptimeMs":0}'],
  ["/readyz through a proxy", "/readyz", { headers: { "x-forwarded-for": "192.0.2.7" } }, 200, '{"ready":true}'],
  ["/startupz", "/startupz", {}, 200, '{"ok":true,"status":"started","version":"1.2.3","uptimeMs":0}'],
  ["/startup through a proxy", "/startup", { headers: { "x-forwarded-for": "192.0.2.7" } }, 200, '{"ok":true,"status":"started"}'],
  ["POST /healthz", "/healthz", { method: "POST" }, 405, "Method Not Allowed"],
  ["DELETE /readyz", "/readyz", { method: "DELETE" }, 405, "Method Not Allowed"],
  ["another path", "/", {}, 404, "Not Found"],
  ["a path below a probe", "/health/x", {}, 404, "Not Found"],
  ["a prototype's name", "/__proto__", {}, 404, "Not Found"],
  [
    "an offer to speak HTTP/2",
    "/healthz",
    { headers: { connection: "Upgrade, HTTP2-Settings", upgrade: "h2c", "http2-settings": "AAMAAABkAAQAAP__" } },
    200,
    '{"ok":true,"status":"live"}',
  ],
];

for (const [name, path, options, status, body] of requests) {
  test(`${name} answers ${status}`, async () => {
    await using world = await startWorld();

    const answer = await get(world, path, options);

    assert.deepEqual([answer.status, answer.body], [status, body]);
    assert.deepEqual([answer.headers["x-content-type-options"], answer.headers["cache-control"]], ["nosniff", "no-store"]);
  });
}

test("a request under a foreign name answers 421, also for a probe", async () => {
  await using world = await startWorld();

  const answer = await get(world, "/healthz", { headers: { host: "evil.example" } });

  assert.deepEqual([answer.status, JSON.parse(answer.body).error.type], [421, "misdirected_request"]);
});

test("a gateway whose health cannot be read is live and not ready", async () => {
  await using world = await startWorld({ health: () => Promise.reject(new Error("disk")) });

  const [live, ready] = [await get(world, "/healthz"), await get(world, "/readyz")];

  assert.deepEqual([live.status, ready.status, ready.body], [200, 503, '{"ready":false,"failing":["health"],"uptimeMs":0}']);
});
