import assert from "node:assert/strict";
import { mkdir, mkdtempDisposable, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { createDeviceKey, openDeviceKey } from "@portreeve/client";
import { findHome } from "@portreeve/gateway/home";
import { findTarget, readHome, type HomeFacts, type TargetFlags } from "./target.ts";

interface KnownHome {
  readonly running?: string;
  readonly config?: { readonly port?: number; readonly bind?: string; readonly token?: string };
  readonly secret?: string;
  readonly key?: string;
}

function homeOf({ running, config = {}, secret, key }: KnownHome): HomeFacts {
  return {
    running: () => Promise.resolve(running === undefined ? undefined : { url: running }),
    config: () => Promise.resolve(config),
    secret: () => Promise.resolve(secret),
    pin: () => Promise.resolve(undefined),
    gatewayKey: () => Promise.resolve(key),
  };
}

const home: KnownHome = { running: "ws://127.0.0.1:4000", secret: "home-secret", key: "home-key" };
type Row = readonly [
  what: string,
  flags: TargetFlags,
  env: Record<string, string>,
  home: KnownHome,
  url: string,
  secret: string | undefined,
];

const table: readonly Row[] = [
  ["nothing at all", {}, {}, {}, "ws://127.0.0.1:18789", undefined],
  ["a running gateway", {}, {}, home, "ws://127.0.0.1:4000", "home-secret only for home-key"],
  ["a configured port", {}, {}, { config: { port: 5000 }, secret: "s" }, "ws://127.0.0.1:5000", "s"],
  ["a port that is chosen at start", {}, {}, { config: { port: 0 } }, "ws://127.0.0.1:18789", undefined],
  ["a gateway bound to all addresses", {}, {}, { config: { bind: "lan" } }, "ws://127.0.0.1:18789", undefined],
  ["a gateway bound to one address", {}, {}, { config: { bind: "::1" } }, "ws://[::1]:18789", undefined],
  [
    "a configured secret beside a generated one",
    {},
    {},
    { ...home, config: { token: "configured" } },
    "ws://127.0.0.1:4000",
    "configured only for home-key",
  ],
  ["the environment's address and secret", {}, { PORTREEVE_URL: "ws://e:1", PORTREEVE_TOKEN: "e" }, home, "ws://e:1", "e"],
  ["the environment's address alone", {}, { PORTREEVE_URL: "ws://e:1" }, home, "ws://e:1", undefined],
  ["the environment's secret alone", {}, { PORTREEVE_TOKEN: "e" }, home, "ws://127.0.0.1:4000", "e"],
  ["empty variables", {}, { PORTREEVE_URL: "", PORTREEVE_TOKEN: "" }, home, "ws://127.0.0.1:4000", "home-secret only for home-key"],
  ["flags", { url: "ws://f:1", token: "f" }, { PORTREEVE_URL: "ws://e:1", PORTREEVE_TOKEN: "e" }, home, "ws://f:1", "f"],
  ["a --url of elsewhere", { url: "ws://f:1" }, {}, home, "ws://f:1", undefined],
  ["a --url of elsewhere, and the environment's secret", { url: "ws://f:1" }, { PORTREEVE_TOKEN: "e" }, home, "ws://f:1", undefined],
  [
    "a --url of elsewhere, and another gateway in the environment",
    { url: "ws://f:1" },
    { PORTREEVE_URL: "ws://e:1", PORTREEVE_TOKEN: "e" },
    home,
    "ws://f:1",
    undefined,
  ],
  ["a --url that is the home's", { url: "ws://127.0.0.1:4000" }, {}, home, "ws://127.0.0.1:4000", "home-secret only for home-key"],
  ["a --token alone", { token: "f" }, {}, home, "ws://127.0.0.1:4000", "f"],
];

for (const [what, flags, env, known, url, expected] of table) {
  test(`${what}: ${url}, ${expected ?? "no secret"}`, async () => {
    const target = await findTarget(flags, env, homeOf(known));
    const secret = await target.secret();

    assert.equal(target.url, url);
    assert.equal(secret && `${secret.value}${secret.onlyFor === undefined ? "" : ` only for ${secret.onlyFor}`}`, expected);
  });
}

test("a home on disk tells the running gateway, its key, its generated secret and what the configuration says", async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), "portreeve-home-"));
  const known = findHome({ PORTREEVE_HOME: folder.path });
  await mkdir(known.stateDir);
  await writeFile(join(known.stateDir, "gateway.json"), JSON.stringify({ url: "ws://127.0.0.1:7", pid: process.pid }));
  await writeFile(known.secretFile, "generated\n");
  await writeFile(known.configFile, "{ gateway: { port: 9, auth: { token: 'configured' } } }");
  const key = await openDeviceKey(join(known.stateDir, "gateway-key.pem"));

  const facts = readHome(known);

  assert.deepEqual(await facts.running(), { url: "ws://127.0.0.1:7", pid: process.pid });
  assert.equal(await facts.secret(), "generated");
  assert.equal(await facts.gatewayKey(), key.publicKey);
  assert.deepEqual(await facts.config(), { port: 9, bind: "loopback", token: "configured" });
});

test("a home that is empty, or holds what cannot be read as meant, says nothing", async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), "portreeve-home-"));
  const known = findHome({ PORTREEVE_HOME: folder.path });
  const empty = readHome(known);
  assert.deepEqual(
    [await empty.running(), await empty.secret(), await empty.gatewayKey(), await empty.config()],
    [undefined, undefined, undefined, {}],
  );
  await mkdir(known.stateDir);
  await writeFile(join(known.stateDir, "gateway.json"), "{");
  await writeFile(join(known.stateDir, "gateway-key.pem"), createDeviceKey().publicKey);
  await writeFile(known.configFile, "{ port: 'wrong' }");

  const facts = readHome(known);

  assert.deepEqual([await facts.running(), await facts.gatewayKey(), await facts.config()], [undefined, undefined, {}]);
});

test("what a gateway left behind when it crashed does not lead to whoever listens there", async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), "portreeve-home-"));
  const known = findHome({ PORTREEVE_HOME: folder.path });
  await mkdir(known.stateDir);
  const noProcess = 2 ** 22 + 1; // Above the largest process id.
  await writeFile(join(known.stateDir, "gateway.json"), JSON.stringify({ url: "ws://127.0.0.1:7", pid: noProcess }));

  const running = await readHome(known).running();

  assert.equal(running, undefined);
});
