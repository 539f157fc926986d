/** What a client, a file or a disk can do wrong: a clear error with a stable code, and a gateway that goes on. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { runCli } from "./support/cli.ts";
import { bareEnv, startGatewayProcess } from "./support/gateway-process.ts";
import { script } from "./support/script.ts";
import { startGateway } from "./support/start-gateway.ts";
import { connectParams, connectWire, createWireKey, openWire, refusedConnect } from "./support/wire-client.ts";

const entry = join(import.meta.dirname, "../packages/cli/src/main.ts");

test("whatever comes first on a socket is answered with its own close, and the next client is served", async () => {
  await using gateway = await startGatewayProcess();
  const token = gateway.token;
  const key = createWireKey();
  const cases: readonly { name: string; frame: unknown; close: number; reason: RegExp; code?: string }[] = [
    { name: "not JSON", frame: "hello?", close: 1000, reason: /^$/ },
    { name: "binary garbage", frame: Buffer.from([0xff, 0xfe, 0x00]), close: 1000, reason: /^$/ },
    { name: "not a request", frame: { type: "event", event: "tick" }, close: 1008, reason: /invalid request frame/ },
    {
      name: "another method first",
      frame: { type: "req", id: "x", method: "status", params: {} },
      close: 1008,
      reason: /first request must be connect/,
      code: "INVALID_HANDSHAKE",
    },
    {
      name: "empty connect",
      frame: { type: "req", id: "x", method: "connect", params: {} },
      close: 1008,
      reason: /invalid connect params/,
      code: "INVALID_HANDSHAKE",
    },
    {
      name: "unknown connect field",
      frame: { type: "req", id: "x", method: "connect", params: { ...connectParams({ nonce: "" }, { token }), bogus: 1 } },
      close: 1008,
      reason: /unexpected property 'bogus'/,
      code: "INVALID_HANDSHAKE",
    },
    {
      name: "protocol 2",
      frame: {
        type: "req",
        id: "x",
        method: "connect",
        params: { ...connectParams({ nonce: "" }, { token }), minProtocol: 1, maxProtocol: 2 },
      },
      close: 1002,
      reason: /protocol mismatch/,
      code: "PROTOCOL_MISMATCH",
    },
    { name: "65 KiB before the hello", frame: "x".repeat(66_000), close: 1009, reason: /preauth payload too large|^$/ },
  ];

  for (const { name, frame, close, reason, code } of cases) {
    await using wire = await openWire(gateway.url);
    wire.send(frame);
    const closed = await wire.closed;

    assert.equal(closed.code, close, name);
    assert.match(closed.reason, reason, name);
    if (code !== undefined) assert.equal(wire.frames.find((one) => one.type === "res")?.error?.details?.["code"], code, name);
  }
  const proofs = [
    { name: "wrong nonce", input: { key, token, nonce: "00000000-0000-4000-8000-000000000000" }, code: "DEVICE_AUTH_NONCE_MISMATCH" },
    { name: "stale signature", input: { key, token, signedAt: Date.now() - 121_000 }, code: "DEVICE_AUTH_SIGNATURE_EXPIRED" },
    { name: "signature from the future", input: { key, token, signedAt: Date.now() + 125_000 }, code: "DEVICE_AUTH_SIGNATURE_EXPIRED" },
    { name: "somebody else's id", input: { key: { ...key, id: createWireKey().id }, token }, code: "DEVICE_AUTH_DEVICE_ID_MISMATCH" },
    {
      name: "signed with another key",
      input: { key: { ...key, privateKey: createWireKey().privateKey }, token },
      code: "DEVICE_AUTH_SIGNATURE_INVALID",
    },
    { name: "wrong token", input: { token: "wrong" }, code: "AUTH_TOKEN_MISMATCH" },
    { name: "wrong token with a device", input: { key, token: "wrong" }, code: "AUTH_TOKEN_MISMATCH" },
    { name: "no credential at all", input: {}, code: "DEVICE_IDENTITY_REQUIRED" },
  ];
  for (const { name, input, code } of proofs) {
    const { error, close } = await refusedConnect(gateway.url, { scopes: ["operator.read"], ...input });

    assert.equal(error.details?.["code"], code, name);
    assert.equal(close.code, 1008, name);
    assert.ok(!JSON.stringify(error).includes(token), `${name} leaks the secret`);
  }

  await using good = await connectWire(gateway.url, { token, scopes: ["operator.read"] });
  const status = await good.request("status");
  assert.deepEqual(status.payload?.["pairing"], { requestsCreated: 0, pending: 0 });
});

test("bad frames and bad parameters on an open socket are answered one by one, and the socket stays open", async () => {
  await using gateway = await startGateway();
  await using wire = await connectWire(gateway.url, { token: gateway.token, scopes: ["operator.admin"] });
  const frames: readonly [sent: unknown, code: string, message: RegExp][] = [
    [{ type: "req", id: "a", method: "" }, "INVALID_FRAME", /at \/method/],
    [{ type: "req", id: "b", method: "status", extra: 1 }, "INVALID_FRAME", /unexpected property 'extra'/],
    [{ type: "res", id: "c", ok: true }, "INVALID_FRAME", /at \/type/],
    [{ type: "req", id: "d", method: "__proto__" }, "UNKNOWN_METHOD", /unknown method: __proto__/],
    [{ type: "req", id: "e", method: "constructor" }, "UNKNOWN_METHOD", /unknown method: constructor/],
    [
      { type: "req", id: "f", method: "chat.send", params: { sessionKey: "main", idempotencyKey: "k" } },
      "INVALID_PARAMS",
      /must have required property 'message'/,
    ],
    [{ type: "req", id: "g", method: "sessions.list", params: { limit: "many" } }, "INVALID_PARAMS", /at \/limit: must be/],
    [{ type: "req", id: "h", method: "sessions.list", params: { bogus: 1 } }, "INVALID_PARAMS", /at root: unexpected property 'bogus'/],
    [{ type: "req", id: "i", method: "sessions.list", params: [] }, "INVALID_PARAMS", /must be object/],
    [
      { type: "req", id: "j", method: "agent", params: { message: "x", idempotencyKey: "k", internalEvents: [] } },
      "NOT_ALLOWED",
      /not allowed: internalEvents/,
    ],
    [
      { type: "req", id: "k", method: "agent", params: { message: "x", idempotencyKey: "k", inputProvenance: {} } },
      "NOT_ALLOWED",
      /not allowed: inputProvenance/,
    ],
    [
      { type: "req", id: "l", method: "agent", params: { message: "x", idempotencyKey: "k", extraSystemPrompt: "obey" } },
      "NOT_ALLOWED",
      /not allowed: extraSystemPrompt/,
    ],
    [
      { type: "req", id: "m", method: "agent", params: { message: "x", idempotencyKey: "k", deliver: true } },
      "NOT_SUPPORTED",
      /not supported: deliver/,
    ],
    [{ type: "req", id: "n", method: "agent", params: { message: "x", idempotencyKey: "run_1" } }, "INVALID_PARAMS", /at \/idempotencyKey/],
    [
      { type: "req", id: "o", method: "agent", params: { message: "x", idempotencyKey: "announce:v1:a" } },
      "INVALID_PARAMS",
      /at \/idempotencyKey/,
    ],
    [
      { type: "req", id: "p", method: "connect", params: connectParams(wire, { token: gateway.token }) },
      "CONNECT_ONLY_FIRST",
      /only valid as the first request/,
    ],
    [{ type: "req", id: "q", method: "device.pair.approve", params: { requestId: "nope" } }, "UNKNOWN_REQUEST", /unknown requestId/],
    [{ type: "req", id: "r", method: "subagents.yield", params: {} }, "WRONG_CALLER", /unauthorized role/],
    [
      {
        type: "req",
        id: "t",
        method: "tools.invoke",
        params: { name: "ls", args: JSON.parse('{"a":'.repeat(3_000) + "1" + "}".repeat(3_000)) },
      },
      "INVALID_PARAMS",
      /at root: must NOT nest deeper than 128 levels/,
    ],
    [
      { type: "req", id: "u", method: "sessions.patch", params: { key: "x", model: "x".repeat(201) } },
      "INVALID_PARAMS",
      /model: must NOT have more than 200/,
    ],
    [
      { type: "req", id: "v", method: "sessions.create", params: { model: "x".repeat(201) } },
      "INVALID_PARAMS",
      /model: must NOT have more than 200/,
    ],
    [{ type: "req", id: "s", method: "sessions.delete", params: { key: "main" } }, "MAIN_SESSION", /Cannot delete the main session/],
  ];

  for (const [sent, code, message] of frames) {
    wire.send(sent);
    const { error } = await wire.frame((one) => one.id === (sent as { id: string }).id);

    assert.equal(error?.details?.["code"], code, JSON.stringify(sent));
    assert.match(error?.message ?? "", message);
  }
  wire.send('{"type":"req","id":"own","method":"sessions.list","params":{"__proto__":{"limit":1}}}');
  const own = await wire.frame((one) => one.id === "own");
  wire.send("{ not json");

  assert.match(own.error?.message ?? "", /unexpected property '__proto__'/);
  assert.equal((await wire.request("health")).ok, true);
});

test("a frame beyond the limit after the hello closes that socket with 1009 and no other", async () => {
  await using gateway = await startGateway();
  await using other = await connectWire(gateway.url, { token: gateway.token, scopes: ["operator.read"] });
  await using wire = await connectWire(gateway.url, { token: gateway.token, scopes: ["operator.read"] });

  wire.send(Buffer.alloc(26_214_401, 0x20));

  assert.equal((await wire.closed).code, 1009);
  assert.equal((await other.request("status")).ok, true);
});

/** Starts the gateway command and answers how it ended, without waiting for a gateway that runs. */
async function runToEnd(
  home: string,
  ...args: string[]
): Promise<{ readonly code: number | null; readonly stderr: string; readonly stdout: string }> {
  const child = spawn(process.execPath, [entry, "gateway", "run", ...args], { env: bareEnv(home), stdio: ["ignore", "pipe", "pipe"] });
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (chunk) => (stdout += String(chunk)));
  child.stderr.on("data", (chunk) => (stderr += String(chunk)));
  const [code] = (await once(child, "close")) as [number | null];
  return { code, stderr, stdout };
}

async function temporaryHome(): Promise<AsyncDisposable & { path: string }> {
  const path = await mkdtemp(join(tmpdir(), "portreeve-bad-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

const badConfigs: readonly [what: string, text: string, says: RegExp][] = [
  ["a misspelt key", "{ gateway: { prot: 1 } }", /gateway\.prot: unknown key/],
  ["a wrong type", "{ gateway: { port: 'many' } }", /gateway\.port: .*expected number.*; got "many"/],
  ["a port out of range", "{ gateway: { port: 70000 } }", /gateway\.port: .*65535.*; got 70000/],
  ["no JSON5", "{ gateway: ", /not JSON5/],
  ["a wildcard origin", "{ gateway: { allowedOrigins: ['*'] } }", /gateway\.allowedOrigins\.0/],
  ["a bad agent id", "{ agents: { entries: { 'Bad Id': {} } } }", /agents\.entries/],
];

for (const [what, text, says] of badConfigs) {
  test(`a configuration with ${what} keeps the gateway from starting and says where and what`, async () => {
    await using home = await temporaryHome();
    await writeFile(join(home.path, "config.json5"), text);

    const { code, stderr } = await runToEnd(home.path);

    assert.equal(code, 1);
    assert.match(stderr, says);
    assert.match(stderr, /config\.json5/);
    assert.doesNotMatch(stderr, /\n\s+at /);
  });
}

test("a mistake beside a secret does not print the secret", async () => {
  await using home = await temporaryHome();
  await writeFile(
    join(home.path, "config.json5"),
    "{ gateway: { auth: { token: 12345678, mode: 'token' } }, models: { providers: { a: { api: 'x', apiKey: 'sk-very-secret' } } } }",
  );

  const { code, stderr } = await runToEnd(home.path);

  assert.equal(code, 1);
  assert.doesNotMatch(stderr, /12345678|sk-very-secret/);
});

test("an empty configuration file is valid", async () => {
  await using gateway = await startGatewayProcess({ config: {} });
  await writeFile(join(gateway.home, "config.json5"), "");
  await gateway.kill();

  await gateway.start();

  assert.match(gateway.url, /^ws:/);
});

/** What happened, and what to do about it. */
const oneLineAndStep = /^portreeve: [^\n]+\n[^\n]*\.\/portreeve [^\n]*\n$/;

test("a state folder that cannot be written is one line that names it, and one with the next step", async () => {
  await using home = await temporaryHome();
  await writeFile(join(home.path, "file"), "");

  // Below a file, on a file system that takes no folders, and with a name no file system takes.
  for (const stateDir of [join(home.path, "file", "state"), "/proc/portreeve/state", join(home.path, "x".repeat(300))]) {
    const { code, stderr } = await runToEnd(home.path, "--state", stateDir, "--port", "0");

    assert.equal(code, 1);
    assert.ok(stderr.includes(stateDir), stderr);
    assert.match(stderr, oneLineAndStep);
  }
});

test("a home that cannot be written is one line too, for the commands of a client", async () => {
  const { code, err } = await runCli(["status"], {
    PORTREEVE_HOME: "/proc/portreeve",
    PORTREEVE_URL: "ws://127.0.0.1:9",
    PORTREEVE_TOKEN: "x",
  });

  assert.notEqual(code, 0);
  assert.match(err, /\/proc\/portreeve/);
  assert.doesNotMatch(err, /\n\s+at /);
});

test("a port in use is one line that names it and what to do, and one with the next step", async () => {
  await using home = await temporaryHome();
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };

  const { code, stderr } = await runToEnd(home.path, "--port", String(port));
  server.close();

  assert.equal(code, 1);
  assert.match(stderr, new RegExp(String(port)));
  assert.match(stderr, /--port/);
  assert.match(stderr, oneLineAndStep);
});

test("a second gateway on the same state folder says so and exits; the first goes on, and a killed one leaves no lock", async () => {
  await using gateway = await startGatewayProcess();

  const second = await runToEnd(gateway.home, "--port", "0");
  await using wire = await connectWire(gateway.url, { token: gateway.token, scopes: ["operator.read"] });
  const served = await wire.request("status");
  await gateway.kill();
  await gateway.start();

  assert.equal(second.code, 1);
  assert.match(second.stderr, /another gateway is using the state folder/);
  assert.match(second.stderr, oneLineAndStep);
  assert.equal(served.ok, true);
});

test("on a full disk a write is refused with a stable code, reads go on, and nothing acknowledged is lost", async () => {
  await using gateway = await startGatewayProcess();
  await gateway.stop("SIGTERM");
  // No file may grow much beyond the database as it is: what is left is used up.
  const { size } = await stat(join(gateway.stateDir, "portreeve.db"));
  await gateway.start({ fileLimitKiB: Math.ceil(size / 1_024) + 100 });
  const wire = await connectWire(gateway.url, { token: gateway.token, scopes: ["operator.admin"] });
  const accepted: string[] = [];
  let refused: Awaited<ReturnType<typeof wire.request>> | undefined;
  for (let index = 0; index < 200 && refused === undefined; index += 1) {
    const label = `${index}-${"x".repeat(500)}`.slice(0, 500);
    const answer = await wire.request("sessions.patch", { key: `s${index}`, label });
    if (answer.ok === true) accepted.push(`agent:main:s${index}`);
    else refused = answer;
  }
  const health = await wire.request("status");
  await wire[Symbol.asyncDispose]();

  assert.deepEqual(
    [refused?.error?.code, refused?.error?.details?.["code"], refused?.error?.retryable],
    ["UNAVAILABLE", "STORE_UNAVAILABLE", true],
  );
  assert.match(String(refused?.error?.details?.["remediationHint"]), /free space/);
  assert.equal(health.ok, true);
  const kept = await reopen(gateway);
  assert.deepEqual(
    accepted.filter((key) => !kept.includes(key)),
    [],
  );
});

/** Kills the process and reads its state folder with a gateway that has all the space it wants. */
async function reopen(gateway: { home: string; kill(): Promise<void> }): Promise<readonly string[]> {
  await gateway.kill();
  await using again = await startGateway({ root: gateway.home });
  const { sessions } = await again.callerWith("operator.read").call("sessions.list", { limit: 1_000 });
  return sessions.map((session) => session.key);
}

test("secrets reach no log, no answer and no event", async () => {
  await using gateway = await startGateway();
  const key = createWireKey();
  await using wire = await connectWire(gateway.url, { key, token: gateway.token, scopes: ["operator.admin"] });
  const { deviceToken } = wire.hello["auth"] as { deviceToken: string };
  await refusedConnect(gateway.url, { key, deviceToken, scopes: ["operator.admin"], token: "wrong" }).catch(() => undefined);
  await refusedConnect(gateway.url, { key: createWireKey(), deviceToken, scopes: [] });
  for (const method of ["status", "health", "device.pair.list", "sessions.list", "agents.list"]) await wire.request(method);
  await wire.request("chat.send", {
    sessionKey: "main",
    message: script("x", { call: [{ tool: "ls", args: {} }] }, { say: "y" }),
    idempotencyKey: "k",
  });
  await wire.frame((frame) => frame.event === "chat" && frame.payload?.["state"] === "final");

  const tokenKey = (await readFile(join(gateway.stateDir, "token-key"), "utf8")).trim();
  const said = JSON.stringify([
    gateway.logLines,
    wire.frames.filter((frame) => frame.payload !== undefined && frame.payload["type"] !== "hello-ok"),
  ]);
  for (const secret of [gateway.token, deviceToken, tokenKey]) assert.ok(!said.includes(secret));
});

test("a time that no clock reaches is refused by name, and the gateway starts again", async () => {
  await using gateway = await startGateway();
  const caller = gateway.callerWith("operator.admin");
  const never = Number.MAX_SAFE_INTEGER;
  const message = script("hello", { say: "heard" });
  const asks = {
    agent: () => caller.call("agent", { message, timeout: never, idempotencyKey: "a" }),
    "chat.send": () => caller.call("chat.send", { sessionKey: "main", message, timeoutMs: never, idempotencyKey: "b" }),
    "sessions.create": () => caller.call("sessions.create", { key: "made", message, timeoutMs: never, idempotencyKey: "c" }),
    "sessions.send": () => caller.call("sessions.send", { key: "main", message, timeoutMs: never, idempotencyKey: "d" }),
    "sessions.steer": () => caller.call("sessions.steer", { key: "main", message, timeoutMs: never, idempotencyKey: "e" }),
    "subagents.spawn, timeout": () => caller.call("subagents.spawn", { task: message, runTimeoutSeconds: never, idempotencyKey: "f" }),
    "subagents.spawn, budget": () => caller.call("subagents.spawn", { task: message, budget: { wallMs: never }, idempotencyKey: "g" }),
  };

  for (const [name, ask] of Object.entries(asks)) await assert.rejects(ask(), { code: "INVALID_PARAMS", message: /imeout|wallMs/ }, name);
  await gateway.restart();

  assert.deepEqual((await gateway.callerWith("operator.read").call("runs.list", {})).runs, []);
});
