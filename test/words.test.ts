/** Short authentication words: the device and the gateway show the same ones, unless somebody stands between. */
import assert from "node:assert/strict";
import { mkdtempDisposable, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { createDeviceKey, type DeviceKey, GatewayClient, RemoteError } from "@portreeve/client";
import type { PairingRequest } from "@portreeve/protocol";
import { openHome, runCli } from "./support/cli.ts";
import { startPeer } from "./support/scripted-peer.ts";
import { startGateway, type TestGateway } from "./support/start-gateway.ts";
import { connectWire, createWireKey } from "./support/wire-client.ts";

const byHand = { gateway: { pairing: { autoApproveLocal: false } } };

/** Connects a device that must wait; answers the words it shows. */
async function wordsOnDevice(url: string, token: string, device: DeviceKey): Promise<string> {
  const error = await GatewayClient.open({
    url,
    client: { id: "cli", mode: "cli", version: "1", platform: "linux" },
    device,
    reconnect: false,
    present: () => ({ scopes: ["operator.read"], credential: { kind: "secret", value: token } }),
  }).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof RemoteError && error.code === "PAIRING_REQUIRED", String(error));
  return error.words ?? "none";
}

async function pendingOf(gateway: TestGateway): Promise<PairingRequest | undefined> {
  return (await gateway.callerWith("operator.pairing").call("device.pair.list", {})).pending[0];
}

test("a device that waits shows the words that the gateway shows for its request", async () => {
  await using gateway = await startGateway({ config: byHand });

  const words = await wordsOnDevice(gateway.url, gateway.token, createDeviceKey());

  assert.match(words, /^[a-z]+( [a-z]+){3}$/);
  assert.equal((await pendingOf(gateway))?.words, words);
});

test("the words are those of the newest connect: a new nonce changes them on both sides, and the request stays", async () => {
  await using gateway = await startGateway({ config: byHand });
  const device = createDeviceKey();

  const first = await wordsOnDevice(gateway.url, gateway.token, device);
  const before = await pendingOf(gateway);
  const second = await wordsOnDevice(gateway.url, gateway.token, device);
  const after = await pendingOf(gateway);

  assert.equal(after?.requestId, before?.requestId);
  assert.deepEqual([before?.words, after?.words, first === second], [first, second, false]);
});

test("whoever may pair hears the words with the request", async () => {
  await using gateway = await startGateway();
  const hearer = { key: createWireKey(), token: gateway.token, scopes: ["operator.pairing"] };
  await using operator = await connectWire(gateway.url, hearer);
  const wanted = createDeviceKey();
  using _paired = await GatewayClient.open({
    url: gateway.url,
    client: { id: "cli", mode: "cli", version: "1", platform: "linux" },
    device: wanted,
    reconnect: false,
    present: () => ({ scopes: [], credential: { kind: "secret", value: gateway.token } }),
  });

  const words = await wordsOnDevice(gateway.url, gateway.token, wanted);
  const told = await operator.frame((frame) => frame.event === "device.pair.requested");

  assert.equal(told.payload?.["words"], words);
});

test("somebody who stands between with keys of their own shows other words on each side", async () => {
  await using gateway = await startGateway({ config: byHand });
  const error = { code: "NOT_PAIRED", message: "pairing required", details: { code: "PAIRING_REQUIRED" } };
  await using between = await startPeer({ onConnect: () => ({ error }) });

  const onDevice = await wordsOnDevice(between.url, gateway.token, createDeviceKey());
  await wordsOnDevice(gateway.url, gateway.token, createDeviceKey());
  const onGateway = (await pendingOf(gateway))?.words;

  assert.notEqual(onGateway, undefined);
  assert.notEqual(onDevice, onGateway);
});

test("one terminal that waits shows the same words for its request in every command", async () => {
  await using home = await openHome(byHand);

  const refused = await home.cli(["status"]);
  const words = /Words: ((?:[a-z]+ ){3}[a-z]+)\./.exec(refused.err)?.[1] ?? "none printed";
  const lists = [await home.cli(["devices"]), await home.cli(["devices"])];
  const [request = ""] = /^[0-9a-f]{8}(?=  )/m.exec(lists[0]?.out ?? "") ?? [];
  const asked = await home.cli(["devices", "approve", request]);
  const approved = await home.cli(["devices", "approve", request, "--yes"]);

  const said = [...lists, asked, approved].map(({ out, err }) => out + err);
  assert.deepEqual(
    said.map((text) => text.includes(words)),
    [true, true, true, true],
    [refused.err, ...said].join("\n"),
  );
});

test("another machine's command line prints the words that the owner sees in the list and with the approval", async () => {
  await using home = await openHome(byHand);
  await using other = await mkdtempDisposable(join(tmpdir(), "portreeve-other-"));
  const secret = (await readFile(join(home.path, "state", "secret"), "utf8")).trim();

  const refused = await runCli(["status", "--url", home.gateway.url, "--token", secret], { PORTREEVE_HOME: other.path });
  const words = /Words: ((?:[a-z]+ ){3}[a-z]+)\./.exec(refused.err)?.[1] ?? "none printed";
  const { pending } = JSON.parse((await home.cli(["devices", "list", "--json"])).out) as { pending: PairingRequest[] };
  const request = pending.find((one) => one.words === words);
  const list = await home.cli(["devices", "list"]);
  const approved = await home.cli(["devices", "approve", request?.requestId ?? words, "--yes"]);

  assert.deepEqual(
    [list.out, approved.out + approved.err].map((said) => said.includes(words)),
    [true, true],
    approved.err,
  );
});
