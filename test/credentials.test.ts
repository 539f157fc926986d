/** Every way to prove oneself to a real gateway: its modes, its secrets and their rotation. */
import assert from "node:assert/strict";
import { chmod, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { openHome } from "./support/cli.ts";
import { startGateway, type TestGateway } from "./support/start-gateway.ts";
import { connectWire, createWireKey, refusedConnect, type Frame } from "./support/wire-client.ts";

const scopes = ["operator.read"];

async function tempFolder(): Promise<AsyncDisposable & { path: string }> {
  const path = await mkdtemp(join(tmpdir(), "portreeve-credentials-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** A gateway whose secret stands in a file; `write` replaces it as a person would. */
async function startWithFile(): Promise<AsyncDisposable & { gateway: TestGateway; file: string; write(text: string): Promise<void> }> {
  const folder = await tempFolder();
  const file = join(folder.path, "the-token");
  const write = async (text: string): Promise<void> => {
    await writeFile(`${file}.new`, `${text}\n`, { mode: 0o600 });
    await rename(`${file}.new`, file);
  };
  await write("first");
  const gateway = await startGateway({ config: { gateway: { auth: { tokenFile: file } } } });
  return {
    gateway,
    file,
    write,
    async [Symbol.asyncDispose]() {
      await gateway[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

const authOf = (hello: Record<string, unknown>): unknown => hello["auth"];
const codeOf = ({ error }: { error: NonNullable<Frame["error"]> }): unknown => error.details?.["code"];

test("mode password takes the password in either field and names it in hello and refusals", async () => {
  await using gateway = await startGateway({ config: { gateway: { auth: { mode: "password", password: "open sesame" } } } });
  await using byToken = await connectWire(gateway.url, { scopes, token: "open sesame" });
  await using byPassword = await connectWire(gateway.url, { scopes, extra: { auth: { password: "open sesame" } } });

  const wrong = await refusedConnect(gateway.url, { scopes, token: "wrong" });
  const missing = await refusedConnect(gateway.url, { key: createWireKey(), scopes });

  const expected = { method: "password", role: "operator", scopes };
  assert.deepEqual([authOf(byToken.hello), authOf(byPassword.hello)], [expected, expected]);
  assert.deepEqual([codeOf(wrong), codeOf(missing)], ["AUTH_PASSWORD_MISMATCH", "AUTH_PASSWORD_MISSING"]);
  assert.match(wrong.close.reason, /^unauthorized: gateway password mismatch/);
});

test("mode none pairs a program on this machine, keeps no scopes without a device and pairs no page", async () => {
  await using gateway = await startGateway({ config: { gateway: { auth: { mode: "none" } } } });
  await using paired = await connectWire(gateway.url, { key: createWireKey(), scopes });
  await using bare = await connectWire(gateway.url, { scopes: ["operator.admin"] });
  const own = gateway.url.replace("ws:", "http:");

  const page = await refusedConnect(gateway.url, { key: createWireKey(), scopes }, { origin: own });
  const foreign = await refusedConnect(gateway.url, { key: createWireKey(), scopes }, { origin: "http://localhost:5173" });

  assert.deepEqual((authOf(paired.hello) as { method: string; scopes: string[] }).scopes, scopes);
  assert.deepEqual(authOf(bare.hello), { method: "none", role: "operator", scopes: [] });
  assert.deepEqual([codeOf(page), codeOf(foreign)], ["PAIRING_REQUIRED", "CONTROL_UI_ORIGIN_NOT_ALLOWED"]);
  assert.ok(gateway.logLines.some(({ level, message }) => level === "warn" && /Authentication is OFF/.test(message)));
});

test("mode none beyond loopback does not start, and says why in one line", async () => {
  const config = { gateway: { bind: "lan", auth: { mode: "none" } } };

  await assert.rejects(startGateway({ config }), /gateway\.auth\.mode is none, .*set gateway\.bind to loopback/);
});

test("mode none is printed by whoever starts it, and the command line works with it", async () => {
  await using home = await openHome({ gateway: { auth: { mode: "none" } } });

  const list = await home.cli(["devices", "list"]);

  assert.match(home.gateway.warnings.join(), /Authentication is OFF/);
  assert.equal(list.code, 0, list.err);
});

test("mode password without a password does not start", async () => {
  await assert.rejects(
    startGateway({ config: { gateway: { auth: { mode: "password" } } } }),
    /set gateway\.auth\.password, .*PORTREEVE_PASSWORD/,
  );
});

test("the command line finds the password of its home, in the configuration or in a file", async () => {
  await using folder = await tempFolder();
  await writeFile(join(folder.path, "pw"), "from a file\n", { mode: 0o600 });
  for (const auth of [
    { mode: "password", password: "p" },
    { mode: "password", passwordFile: join(folder.path, "pw") },
  ]) {
    await using home = await openHome({ gateway: { auth } });

    const list = await home.cli(["devices", "list"]);

    assert.equal(list.code, 0, list.err);
  }
});

test("behind a trusted proxy its users come in, pair by approval only, and get no token; nobody else does", async () => {
  const trustedProxy = { userHeader: "x-user", allowUsers: ["ada"], allowLoopback: true };
  await using gateway = await startGateway({
    config: { gateway: { trustedProxies: ["127.0.0.1"], auth: { mode: "trusted-proxy", trustedProxy } } },
  });
  const forwarded = { "x-forwarded-for": "192.0.2.7" };
  const key = createWireKey();
  await using bare = await connectWire(gateway.url, { scopes: ["operator.admin"] }, { ...forwarded, "x-user": "ada" });

  const unpaired = await refusedConnect(gateway.url, { key, scopes }, { ...forwarded, "x-user": "ada" });
  await gateway.callerWith("operator.admin").call("device.pair.approve", { requestId: String(unpaired.error.details?.["requestId"]) });
  await using paired = await connectWire(gateway.url, { key, scopes }, { ...forwarded, "x-user": "ada" });
  const stranger = await refusedConnect(gateway.url, { key, scopes }, { ...forwarded, "x-user": "eve" });
  const nameless = await refusedConnect(gateway.url, { key, scopes, token: gateway.token }, forwarded);

  assert.deepEqual(authOf(bare.hello), { method: "trusted-proxy", role: "operator", scopes: [] });
  assert.equal(codeOf(unpaired), "PAIRING_REQUIRED");
  assert.deepEqual(authOf(paired.hello), { method: "trusted-proxy", role: "operator", scopes });
  assert.deepEqual([codeOf(stranger), codeOf(nameless)], ["AUTH_UNAUTHORIZED", "AUTH_IDENTITY_HEADER_REQUIRED"]);
});

test("behind a trusted proxy the owner on the gateway's machine still has the local secret", async () => {
  const auth = { mode: "trusted-proxy", trustedProxy: { userHeader: "x-user" } };
  await using gateway = await startGateway({ config: { gateway: { trustedProxies: ["192.0.2.1"], auth } } });
  await using owner = await connectWire(gateway.url, { scopes: ["operator.pairing"], token: gateway.token });

  const spoofed = await refusedConnect(gateway.url, { scopes, token: gateway.token }, { "x-user": "ada" });
  const nothing = await refusedConnect(gateway.url, { scopes });

  assert.deepEqual(authOf(owner.hello), { method: "token", role: "operator", scopes: ["operator.pairing"] });
  assert.deepEqual([codeOf(spoofed), codeOf(nothing)], ["AUTH_UNAUTHORIZED", "DEVICE_IDENTITY_REQUIRED"]);
});

test("a secret file that changes makes the new secret right and the old one wrong at once", async () => {
  await using world = await startWithFile();
  const { gateway, write } = world;
  await using before = await connectWire(gateway.url, { scopes, token: "first" });

  await write("second");
  const old = await refusedConnect(gateway.url, { scopes, token: "first" });
  await using after = await connectWire(gateway.url, { scopes, token: "second" });

  assert.deepEqual([codeOf(old), authOf(after.hello)], ["AUTH_TOKEN_MISMATCH", { method: "token", role: "operator", scopes }]);
  await assert.rejects(before.request("health", {}), /closed without the frame/);
  assert.deepEqual(await before.closed, { code: 4001, reason: "gateway auth changed" });
});

test("a change is noticed when nobody connects; paired devices stay and come again with their tokens", async () => {
  await using world = await startWithFile();
  const { gateway, write } = world;
  const key = createWireKey();
  await using device = await connectWire(gateway.url, { key, scopes, token: "first" });
  await using bare = await connectWire(gateway.url, { scopes, token: "first" });

  await write("second");
  const close = await bare.closed;
  const still = await device.request("health", {});
  const { deviceToken } = authOf(device.hello) as { deviceToken: string };
  await using again = await connectWire(gateway.url, { key, scopes, deviceToken });

  assert.deepEqual([close.code, still.ok], [4001, true]);
  assert.equal((authOf(again.hello) as { method: string }).method, "device-token");
});

test("the generated secret is rotated the same way, by writing its file", async () => {
  await using gateway = await startGateway();
  await writeFile(join(gateway.stateDir, "secret"), "my own\n", { mode: 0o600 });

  const old = await refusedConnect(gateway.url, { scopes, token: gateway.token });
  await using after = await connectWire(gateway.url, { scopes, token: "my own" });

  assert.deepEqual([codeOf(old), (authOf(after.hello) as { method: string }).method], ["AUTH_TOKEN_MISMATCH", "token"]);
});

test("while the secret file is open to others, empty or gone, no secret is right", async () => {
  await using world = await startWithFile();
  const { gateway, file, write } = world;
  const isIn = async (token: string): Promise<boolean> => {
    try {
      await using _wire = await connectWire(gateway.url, { scopes, token });
      return true;
    } catch {
      return false;
    }
  };

  await chmod(file, 0o644);
  const open = await isIn("first");
  await chmod(file, 0o600);
  const closed = await isIn("first");
  await write("");
  const empty = [await isIn("first"), await isIn("")];
  await rm(file);
  const gone = await isIn("first");
  await write("second");

  assert.deepEqual(
    { open, closed, empty, gone, back: await isIn("second") },
    { open: false, closed: true, empty: [false, false], gone: false, back: true },
  );
  assert.match(JSON.stringify(gateway.logLines), /run: chmod 600/);
  assert.doesNotMatch(JSON.stringify(gateway.logLines), /"first"|"second"/);
});

test("a secret file that others can read, is empty or is missing keeps the gateway from starting", async () => {
  await using folder = await tempFolder();
  const file = join(folder.path, "token");
  const start = () => startGateway({ config: { gateway: { auth: { tokenFile: file } } } });

  await assert.rejects(start(), /cannot be read \(ENOENT\)/);
  await writeFile(file, "", { mode: 0o600 });
  await assert.rejects(start(), /is empty/);
  await writeFile(file, "s3cret");
  await chmod(file, 0o640);
  await assert.rejects(start(), /open to other users \(mode 640\); run: chmod 600/);
});
