/** TLS on a real gateway: its certificate, and clients that are held to it. */
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { chmod, mkdtemp, mkdtempDisposable, readFile, rm, stat, writeFile } from "node:fs/promises";
import { get } from "node:https";
import type { IncomingMessage } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { ConnectionError, createDeviceKey, GatewayClient } from "@portreeve/client";
import { openHome, runCli } from "./support/cli.ts";
import { startGateway, type TestGateway } from "./support/start-gateway.ts";
import { openWire } from "./support/wire-client.ts";

const generated = { gateway: { tls: { mode: "generated" } } };
const newFolder = (): ReturnType<typeof mkdtempDisposable> => mkdtempDisposable(join(tmpdir(), "portreeve-tls-"));
const other = "00:".repeat(31) + "00";

function open(gateway: TestGateway, tlsFingerprint?: string, url = gateway.url): Promise<GatewayClient> {
  return GatewayClient.open({
    url,
    tlsFingerprint,
    client: { id: "test", mode: "test", version: "1.0.0", platform: "linux" },
    device: createDeviceKey(),
    reconnect: false,
    present: () => ({ scopes: ["operator.read"], credential: { kind: "secret", value: gateway.token } }),
  });
}

const isKind = (kind: ConnectionError["kind"]) => (error: unknown) => error instanceof ConnectionError && error.kind === kind;

test("a client that pins the fingerprint is let in; the certificate is the same after a restart, its key private", async () => {
  await using gateway = await startGateway({ config: generated });
  const pin = gateway.gateway.tlsFingerprint ?? "";
  using first = await open(gateway, pin);
  const health = await first.call("health", {});

  await gateway.restart();
  using again = await open(gateway, pin.replaceAll(":", "").toLowerCase());

  assert.match(gateway.url, /^wss:/);
  assert.equal(health.ok, true);
  assert.equal((await again.call("health", {})).ok, true);
  assert.equal(((await stat(join(gateway.stateDir, "tls-key.pem"))).mode & 0o777).toString(8), "600");
  assert.equal(new X509Certificate(await readFile(join(gateway.stateDir, "tls-cert.pem"))).fingerprint256, pin);
});

test("another certificate than the pinned one is sent nothing, nor is one that nobody vouches for", async () => {
  await using gateway = await startGateway({ config: generated });

  await assert.rejects(open(gateway, other), isKind("unproved"));
  await assert.rejects(open(gateway), isKind("untrusted"));

  assert.deepEqual(gateway.gateway.listener.counts(), { accepted: 0, open: 0 });
});

test("a pin for an address without TLS is refused before anything is sent", async () => {
  await using gateway = await startGateway();

  await assert.rejects(open(gateway, other), isKind("unproved"));

  assert.equal(gateway.gateway.listener.counts().accepted, 0);
});

test("plain text on the TLS port gets nowhere, and HTTPS answers with HSTS", async () => {
  await using gateway = await startGateway({ config: generated });

  await assert.rejects(openWire(gateway.url.replace("wss:", "ws:")));
  const request = get(`${gateway.url.replace("wss:", "https:")}/healthz`, { rejectUnauthorized: false });
  const [response] = (await once(request, "response")) as [IncomingMessage];
  response.resume();

  assert.deepEqual([response.statusCode, response.headers["strict-transport-security"]], [200, "max-age=31536000"]);
});

test("beyond loopback a gateway starts with TLS, and without only when told so, with a warning", async () => {
  await assert.rejects(startGateway({ config: { gateway: { bind: "lan" } } }), /set gateway\.tls\.mode to generated/);
  await using encrypted = await startGateway({ config: { gateway: { bind: "lan", tls: { mode: "generated" } } } });
  await using plain = await startGateway({ config: { gateway: { bind: "lan", tls: { insecurePlaintext: true } } } });

  assert.match(encrypted.url, /^wss:/);
  assert.ok(plain.logLines.some(({ level, message }) => level === "warn" && /NOT encrypted/.test(message)));
});

test("the owner's own files serve; files that do not fit, are open to others or are missing are one line", async () => {
  await using made = await startGateway({ config: generated });
  await using another = await startGateway({ config: generated });
  const folder = await mkdtemp(join(tmpdir(), "portreeve-tls-"));
  try {
    const [certFile, keyFile] = [join(folder, "cert.pem"), join(folder, "key.pem")];
    await writeFile(certFile, await readFile(join(made.stateDir, "tls-cert.pem")));
    await writeFile(keyFile, await readFile(join(made.stateDir, "tls-key.pem")), { mode: 0o600 });
    const start = (tls: object) => startGateway({ config: { gateway: { tls: { mode: "files", ...tls } } } });
    {
      await using gateway = await start({ certFile, keyFile });
      using client = await open(gateway, made.gateway.tlsFingerprint);
      assert.equal((await client.call("health", {})).ok, true);
    }

    await assert.rejects(start({ certFile }), /set gateway\.tls\.certFile and gateway\.tls\.keyFile/);
    await assert.rejects(start({ certFile: `${certFile}.none`, keyFile }), /cannot be read \(ENOENT\)/);
    await assert.rejects(start({ certFile: keyFile, keyFile }), /cannot be read as PEM/);
    await assert.rejects(start({ certFile: join(another.stateDir, "tls-cert.pem"), keyFile }), /does not belong to its key/);
    await chmod(keyFile, 0o640);
    await assert.rejects(start({ certFile, keyFile }), /open to other users \(mode 640\); run: chmod 600/);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test("the command line finds the pin of its home's gateway, and takes another by flag", async () => {
  await using home = await openHome(generated);

  const own = await home.cli(["devices", "list"]);
  const named = await home.cli(["devices", "list", "--tls-fingerprint", home.gateway.tlsFingerprint ?? ""]);
  const wrong = await home.cli(["devices", "list", "--tls-fingerprint", other]);

  assert.deepEqual([own.code, named.code, wrong.code], [0, 0, 4], own.err + named.err);
  assert.match(wrong.err, /shows another certificate than the pinned one/);
});

test("a pin that was named once is kept for its address, and a wrong one is not", async () => {
  await using gateway = await startGateway({ config: generated });
  const path = await mkdtemp(join(tmpdir(), "portreeve-pins-"));
  try {
    const list = (...args: readonly string[]) =>
      runCli(["devices", "list", "--url", gateway.url, "--token", gateway.token, ...args], { PORTREEVE_HOME: path });

    const codes = [
      (await list()).code,
      (await list("--tls-fingerprint", other)).code,
      (await list()).code,
      (await list("--tls-fingerprint", gateway.gateway.tlsFingerprint ?? "")).code,
      (await list()).code,
    ];

    assert.deepEqual(codes, [4, 4, 4, 0, 0]);
  } finally {
    await rm(path, { recursive: true, force: true });
  }
});

test("a pin is kept from the first call on also when that call ends in a pairing request", async () => {
  await using gateway = await startGateway({ config: { gateway: { ...generated.gateway, pairing: { autoApproveLocal: false } } } });
  await using home = await newFolder();
  const status = (...args: readonly string[]) =>
    runCli(["status", "--json", "--url", gateway.url, "--token", gateway.token, ...args], { PORTREEVE_HOME: home.path });

  const outcomes = [await status("--tls-fingerprint", gateway.gateway.tlsFingerprint ?? ""), await status()];

  assert.deepEqual(outcomes.map(codeOf), ["PAIRING_REQUIRED", "PAIRING_REQUIRED"]);
});

test("nobody at an address, a certificate that is not trusted and a fingerprint that is none are told apart, each with its step", async () => {
  const gateway = await startGateway({ config: generated });
  await using home = await newFolder();
  const env = { PORTREEVE_HOME: home.path };
  const status = (...args: readonly string[]) => runCli(["status", "--json", "--url", gateway.url, ...args], env);

  const untrusted = await status();
  const misshapen = [await status("--tls-fingerprint", "abc"), await runCli(["pair", "CODE", "--json", "--tls-fingerprint", "abc"], env)];
  const inEnv = await runCli(["status", "--json"], { ...env, PORTREEVE_URL: gateway.url, PORTREEVE_TLS_FINGERPRINT: "abc" });
  await gateway[Symbol.asyncDispose]();
  const nobody = await status();

  assert.deepEqual([untrusted, ...misshapen, inEnv, nobody].map(codeOf), [
    "CERTIFICATE_UNTRUSTED",
    "USAGE",
    "USAGE",
    "USAGE",
    "UNREACHABLE",
  ]);
  assert.match(untrusted.err, /does not trust.*\.\/portreeve status --url wss:.* --tls-fingerprint SHA256/);
  for (const { err } of misshapen) assert.match(err, /--tls-fingerprint.*64 hexadecimal digits/);
  assert.match(inEnv.err, /PORTREEVE_TLS_FINGERPRINT.*64 hexadecimal digits/);
  assert.match(nobody.err, /gateway run/);
  assert.doesNotMatch(nobody.err, /certificate|fingerprint/);
});

function codeOf({ err }: { readonly err: string }): string {
  return (JSON.parse(err) as { error: { code: string } }).error.code;
}
