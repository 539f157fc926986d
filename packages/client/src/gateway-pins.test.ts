import assert from "node:assert/strict";
import { mkdtempDisposable, readFile, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { startPeer, type PeerOptions } from "../../../test/support/scripted-peer.ts";
import { connect, type Credential } from "./connect.ts";
import { createDeviceKey } from "./device-key.ts";
import { ConnectionError, mayReconnectAfter } from "./errors.ts";
import { fingerprintOf, type GatewayPins, openGatewayPins } from "./gateway-pins.ts";

const newFolder = (): ReturnType<typeof mkdtempDisposable> => mkdtempDisposable(join(tmpdir(), "portreeve-pins-"));
const url = "ws://127.0.0.1:1000";
const known = { kind: "known" };

test("the key met first is kept for its address, in a 0600 file, and another one is told from it", async () => {
  await using folder = await newFolder();
  const file = join(folder.path, "cli", "gateways.json");

  const verdicts = [
    await openGatewayPins(file).admit(url, "key-1"),
    await openGatewayPins(file).admit(`${url}/path`, "key-1"),
    await openGatewayPins(file).admit(url, "key-2"),
    await openGatewayPins(file).admit("ws://127.0.0.1:2000", "key-2"),
  ];

  assert.deepEqual(verdicts, [known, known, { kind: "changed", pinned: "key-1" }, known]);
  assert.equal((await stat(file)).mode & 0o777, 0o600);
});

test("keys met at once are all kept, and of two at one address the first is pinned", async () => {
  await using folder = await newFolder();
  const file = join(folder.path, "gateways.json");
  const met = Array.from({ length: 8 }, (_, index) => ({ url: `ws://127.0.0.1:${1_000 + index}`, gatewayKey: `key-${index}` }));

  await Promise.all(met.map((one) => openGatewayPins(file).admit(one.url, one.gatewayKey)));
  const listed = await openGatewayPins(file).list();
  const rivals = await Promise.all(["key-a", "key-b"].map((key) => openGatewayPins(file).admit("ws://127.0.0.1:9999", key)));

  assert.deepEqual(listed, met);
  assert.deepEqual(rivals.map(({ kind }) => kind).toSorted(), ["changed", "known"]);
});

test("a gateway that proves no key is let pass until it has proved one", async () => {
  await using folder = await newFolder();
  const pins = openGatewayPins(join(folder.path, "gateways.json"));

  const verdicts = [await pins.admit(url, undefined), await pins.admit(url, "key-1"), await pins.admit(url, undefined)];

  assert.deepEqual(verdicts, [known, known, { kind: "changed", pinned: "key-1" }]);
});

test("a key is forgotten on purpose, one address at a time", async () => {
  await using folder = await newFolder();
  const pins = openGatewayPins(join(folder.path, "gateways.json"));
  await pins.admit("ws://b:1", "key-b");
  await pins.admit("ws://a:1", "key-a");

  const forgotten = [await pins.forget("ws://a:1"), await pins.forget("ws://a:1")];

  assert.deepEqual([forgotten, await pins.list()], [["key-a", undefined], [{ url: "ws://b:1", gatewayKey: "key-b" }]]);
});

for (const text of ["", "[]", '{"version":2,"keys":{}}', '{"version":1,"keys":{"u":5}}']) {
  test(`a file that says ${JSON.stringify(text)} never counts as empty, and is left as it is`, async () => {
    await using folder = await newFolder();
    const file = join(folder.path, "gateways.json");
    await writeFile(file, text);

    await assert.rejects(openGatewayPins(file).admit(url, "key"), {
      name: "DamagedFileError",
      remedy: /meet every gateway anew.*rm \S+gateways\.json/,
    });
    assert.equal(await readFile(file, "utf8"), text);
  });
}

const listener = { onOpen: () => undefined, onFrame: () => undefined, onClose: () => undefined };

/** Connects with a credential that must not reach a stranger. */
function open(to: string, pins: GatewayPins, credential: Credential): Promise<unknown> {
  const client = { id: "cli", mode: "cli", version: "1", platform: "linux" };
  const present = () => ({ scopes: ["operator.read"], credential });
  return connect({ url: to, client, device: createDeviceKey(), pins, present }, listener).then((connection) => connection.close());
}

const strangers: readonly (readonly [what: string, key: PeerOptions["key"], says: RegExp])[] = [
  ["another key", undefined, /now it is [0-9a-f]{4}( [0-9a-f]{4}){7}\./],
  ["no key", "none", /now it proves none\./],
];
for (const [what, key, says] of strangers) {
  for (const kind of ["secret", "device-token", "setup-code"] as const) {
    test(`where a gateway is known, ${what} gets neither the ${kind} nor anything else`, async () => {
      await using folder = await newFolder();
      const pins = openGatewayPins(join(folder.path, "gateways.json"));
      const first = await startPeer();
      await open(first.url, pins, { kind: "none" });
      await first[Symbol.asyncDispose]();
      await using stranger = await startPeer({ port: first.port, ...(key === undefined ? {} : { key }) });

      const error = await open(stranger.url, pins, { kind, value: "s3cret" }).catch((reason: unknown) => reason);

      assert.ok(error instanceof ConnectionError && error.kind === "key-changed", String(error));
      assert.ok(error.message.includes(fingerprintOf(first.key.publicKey)));
      assert.match(error.message, says);
      assert.deepEqual([stranger.connects, stranger.calls, mayReconnectAfter(error)], [[], [], false]);
      assert.deepEqual(await pins.list(), [{ url: first.url, gatewayKey: first.key.publicKey }]);
    });
  }
}
