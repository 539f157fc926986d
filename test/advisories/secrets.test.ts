/** R1, R6, R7: where secrets may be, who sees what, and when a credential ends. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { WebSocket, WebSocketServer } from "ws";
import { runCli } from "../support/cli.ts";
import { say, startFakeOpenAi } from "../support/fake-openai.ts";
import { startGatewayProcess } from "../support/gateway-process.ts";
import { script } from "../support/script.ts";
import { connectWire, createWireKey, openWire, refusedConnect, type Wire } from "../support/wire-client.ts";
import { advisory, fromRemote, httpUrl, ownerWith, runToEnd, shareGateway } from "./advisory.ts";

const providerKey = "sk-provider-key-of-a-test";
const userInfo = "user-in-a-url:password-in-a-url";
const shared = shareGateway({
  models: {
    providers: {
      local: { api: "openai-compatible", baseUrl: "http://127.0.0.1:9/v1", apiKey: providerKey },
      leaky: { api: "openai-compatible", baseUrl: `http://${userInfo}@127.0.0.1:9/v1` },
    },
  },
  agents: { entries: { broken: { model: "leaky/m" } } },
});

/** Stands between a client and the gateway: hands on the gateway's challenge, and keeps what the client says. */
async function startRelay(gatewayUrl: string): Promise<AsyncDisposable & { readonly url: string; readonly heard: readonly string[] }> {
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  await once(server, "listening");
  const heard: string[] = [];
  server.on("connection", (client) => {
    const behind = new WebSocket(gatewayUrl);
    behind.once("message", (data) => client.send(String(data)));
    client.on("message", (data) => {
      heard.push(String(data));
      client.close(1008, "heard enough");
    });
    client.once("close", () => behind.terminate());
  });
  return {
    url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`, // A listening TCP server has an address of this form.
    heard,
    async [Symbol.asyncDispose]() {
      for (const client of server.clients) client.terminate();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

advisory(1, "a client sent to another address presents neither the shared secret nor its token there", async () => {
  const { gateway } = shared;
  const env = { PORTREEVE_HOME: gateway.home };
  const first = await runCli(["status"], env);
  await using relay = await startRelay(gateway.url);

  const byFlag = await runCli(["status", "--url", relay.url], env);
  const byEnv = await runCli(["status"], { ...env, PORTREEVE_URL: relay.url });

  const tokens = [...(await readFile(join(gateway.home, "cli", "tokens.json"), "utf8")).matchAll(/"([A-Za-z0-9_-]{43})"(?!:)/g)];
  assert.equal(first.code, 0);
  assert.ok(byFlag.code !== 0 && byEnv.code !== 0);
  assert.ok(tokens.length > 0);
  for (const secret of [gateway.token, ...tokens.map((match) => match[1] ?? "")]) assert.ok(!relay.heard.join().includes(secret));
});

advisory(3, "a prompt holds no credential, no hash of one and no device's id", async () => {
  await using provider = await startFakeOpenAi({ handler: () => say("done") });
  await using gateway = await startGatewayProcess({
    config: {
      models: { providers: { fake: { api: "openai-compatible", baseUrl: provider.baseUrl } } },
      agents: { defaults: { model: "fake/m" } },
    },
  });
  const key = createWireKey();
  await using wire = await connectWire(gateway.url, { key, token: gateway.token, scopes: ["operator.admin"] });
  const { deviceToken } = wire.hello["auth"] as { deviceToken: string };

  await runToEnd(wire, "hello", { key: "k" });

  const sent = JSON.stringify(provider.requests.map(({ body, headers }) => ({ body, headers })));
  const hashes = ["hex", "base64url", "base64"] as const;
  const traces = hashes.map((encoding) => createHash("sha256").update(gateway.token).digest(encoding).slice(0, 12));
  assert.equal(provider.requests.length, 1);
  for (const trace of [gateway.token, deviceToken, key.id, key.publicKey, ...traces]) assert.ok(!sent.includes(trace));
});

advisory(4, "a token from before an approval, and a secret from before a change, end with it", async () => {
  await using gateway = await startGatewayProcess();
  const key = createWireKey();
  await using first = await connectWire(gateway.url, { key, token: gateway.token, scopes: ["operator.read"] });
  const { deviceToken } = first.hello["auth"] as { deviceToken: string };
  const upgrade = await refusedConnect(gateway.url, { key, token: gateway.token, scopes: ["operator.write"] });
  await using owner = await ownerWith(gateway, "operator.admin");
  await owner.request("device.pair.approve", { requestId: upgrade.error.details?.["requestId"] });

  const old = await refusedConnect(gateway.url, { key, deviceToken, scopes: ["operator.read"] });
  const before = gateway.token;
  await gateway.kill();
  await writeFile(join(gateway.stateDir, "secret"), "another-secret-that-a-person-chose\n");
  await gateway.start();
  const stale = await refusedConnect(gateway.url, { token: before, scopes: ["operator.read"] });

  assert.equal(old.error.details?.["code"], "AUTH_DEVICE_TOKEN_MISMATCH");
  assert.equal(stale.error.details?.["code"], "AUTH_TOKEN_MISMATCH");
});

advisory(7, "no method that reads shows a provider's key or what stands in its address", async () => {
  const { gateway } = shared;
  await using wire = await ownerWith(gateway, "operator.admin");
  const params: Readonly<Record<string, object>> = {
    "chat.history": { sessionKey: "main" },
    "agent.wait": { runId: "none", timeoutMs: 0 },
    "sessions.patch": { key: "main", model: "leaky/m" },
    "chat.send": { sessionKey: "agent:broken:main", message: "hello", idempotencyKey: "leak" },
  };
  const hello = await readHello(gateway.url, gateway.token);

  for (const method of hello) if (method !== "connect") await wire.request(method, params[method] ?? {});
  await runToEnd(wire, "hello", { key: "unreachable", sessionKey: "agent:broken:main" });

  const said = JSON.stringify(wire.frames);
  assert.ok(hello.includes("agents.list"));
  for (const secret of [providerKey, ...userInfo.split(":"), gateway.token]) assert.ok(!said.includes(secret), secret);
});

async function readHello(url: string, token: string): Promise<readonly string[]> {
  await using wire = await connectWire(url, { token, scopes: [] });
  return (wire.hello["features"] as { methods: string[] }).methods;
}

advisory(9, "before a credential, neither HTTP nor the socket says what the gateway is, has or knows", async () => {
  const { gateway } = shared;
  const paths = ["/", "/health", "/healthz", "/ready", "/readyz", "/config", "/api/config", "/bootstrap.json", "/control-ui/config.json"];
  const bodies = await Promise.all(paths.map(async (path) => (await fetch(httpUrl(gateway, path), { headers: fromRemote })).text()));
  await using wire = await openWire(gateway.url, fromRemote);
  const challenge = JSON.stringify(wire.frames);
  const refused = await wire.request("health");

  assert.deepEqual(Object.keys(wire.frames[0]?.payload ?? {}).toSorted(), ["gateway", "nonce", "ts"]);
  assert.equal(refused.error?.details?.["code"], "INVALID_HANDSHAKE");
  assert.deepEqual([...new Set(bodies)].toSorted(), ['{"ok":true,"status":"live"}', '{"ready":true}', "Not Found"].toSorted());
  for (const fact of [gateway.home, gateway.token, "0.1.0"]) assert.ok(!`${bodies.join()}${challenge}`.includes(fact), fact);
});

advisory(10, "what the gateway writes is its owner's alone, whatever the umask, also after a restart", async () => {
  const umask = process.umask(0);
  try {
    await using gateway = await startGatewayProcess();
    await using wire = await connectWire(gateway.url, { key: createWireKey(), token: gateway.token, scopes: ["operator.admin"] });
    await runToEnd(wire, "hello", { key: "k" });
    await gateway.kill();
    await gateway.start();

    const modes = await Promise.all(
      (await readdir(gateway.stateDir)).map(async (name) => [name, (await stat(join(gateway.stateDir, name))).mode & 0o077] as const),
    );
    assert.equal((await stat(gateway.stateDir)).mode & 0o077, 0);
    assert.ok(modes.length >= 6);
    for (const [name, open] of modes) assert.equal(open, 0, name);
  } finally {
    process.umask(umask);
  }
});

/** Names of everything below `folder`. */
async function listAll(folder: string): Promise<readonly string[]> {
  return (await readdir(folder, { recursive: true })).filter((name) => !name.includes("portreeve.db")).toSorted();
}

/** Runs tool calls with the built-in model and answers what the tools said. */
async function resultsOf(wire: Wire, key: string, calls: readonly { readonly tool: string; readonly args: object }[]): Promise<string> {
  await runToEnd(wire, script("go", { call: calls }, { say: "done" }), { key, sessionKey: key });
  const history = await wire.request("chat.history", { sessionKey: key });
  const messages = history.payload?.["messages"] as { role: string }[];
  return JSON.stringify(messages.filter((message) => message.role === "toolResult"));
}

advisory(83, "an id that looks like a path is an id, and a path that leads outside leads nowhere", async () => {
  const { gateway } = shared;
  await using wire = await ownerWith(gateway, "operator.admin");
  await wire.request("sessions.patch", { key: "first" });
  const before = await listAll(gateway.home);

  const patched = await wire.request("sessions.patch", { key: "../../../../tmp/escaped" });
  const byFile = await wire.request("chat.history", { sessionKey: "main", sessionFile: "/etc/passwd" });
  const byId = await wire.request("agent", { message: "x", sessionId: "../../state/secret", idempotencyKey: "traverse" });
  const byAgent = await wire.request("agent", { message: "x", agentId: "../main", idempotencyKey: "traverse-2" });
  const said = await resultsOf(wire, "traversal", [
    { tool: "read", args: { path: "../state/secret" } },
    { tool: "read", args: { path: join(gateway.stateDir, "secret") } },
    { tool: "ls", args: { path: ".." } },
    { tool: "grep", args: { pattern: ".", path: "../state" } },
  ]);

  assert.equal(patched.payload?.["key"], "agent:main:../../../../tmp/escaped");
  assert.equal(byFile.error?.details?.["code"], "INVALID_PARAMS");
  assert.equal(byId.error?.details?.["code"], "UNKNOWN_SESSION");
  assert.equal(byAgent.error?.details?.["code"], "INVALID_PARAMS");
  assert.equal(said.match(/"isError":true/g)?.length, 4);
  assert.ok(!said.includes(gateway.token));
  assert.deepEqual(await listAll(gateway.home), before);
});

advisory(84, "files of a workspace configure neither the gateway nor its secrets, also when it starts in that folder", async () => {
  const workspace = await mkdtemp(join(tmpdir(), "portreeve-hostile-"));
  try {
    await writeFile(join(workspace, ".env"), "PORTREEVE_TOKEN=planted\nPORTREEVE_HOME=/tmp/planted\nOPENAI_API_KEY=planted\n");
    await writeFile(join(workspace, "config.json5"), "{ gateway: { auth: { token: 'planted' } } }");
    await writeFile(join(workspace, "package.json"), '{ "type": "commonjs" }');
    await mkdir(join(workspace, "node_modules/ws"), { recursive: true });
    await writeFile(join(workspace, "node_modules/ws/index.js"), "throw new Error('planted')");
    await using gateway = await startGatewayProcess({
      cwd: workspace,
      config: { agents: { entries: { main: { workspace } } } },
    });
    await using wire = await ownerWith(gateway, "operator.read");
    const agents = await wire.request("agents.list");
    const planted = await refusedConnect(gateway.url, { token: "planted", scopes: ["operator.admin"] });

    assert.notEqual(gateway.token, "planted");
    assert.equal(planted.error.details?.["code"], "AUTH_TOKEN_MISMATCH");
    assert.match(JSON.stringify(agents.payload), /scripted/);
  } finally {
    await rm(workspace, { recursive: true, force: true });
  }
});

advisory(85, "a link in the workspace that leads out of it is followed by no tool", async () => {
  const { gateway } = shared;
  const workspace = join(gateway.home, "workspace");
  await symlink(gateway.stateDir, join(workspace, "state"));
  await symlink(join(gateway.stateDir, "secret"), join(workspace, "note.txt"));
  await using wire = await ownerWith(gateway, "operator.admin");

  const said = await resultsOf(wire, "links", [
    { tool: "read", args: { path: "note.txt" } },
    { tool: "read", args: { path: "state/secret" } },
    { tool: "ls", args: { path: "state" } },
    { tool: "grep", args: { pattern: ".", path: "state" } },
  ]);
  const searched = await resultsOf(wire, "search", [{ tool: "grep", args: { pattern: gateway.token.slice(0, 6) } }]);

  assert.equal(said.match(/"isError":true/g)?.length, 4);
  assert.ok(!`${said}${searched}`.includes(gateway.token));
});
