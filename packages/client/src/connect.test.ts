import assert from "node:assert/strict";
import { createPublicKey, verify } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { WebSocketServer } from "ws";
import { startPeer } from "../../../test/support/scripted-peer.ts";
import { connect, type Connection, type ConnectOptions, type Presentation } from "./connect.ts";
import { connectProofText, createDeviceKey } from "./device-key.ts";
import { ConnectionError, RemoteError } from "./errors.ts";

const client = { id: "cli", mode: "cli", version: "1.0.0", platform: "linux" };
const secret: Presentation = { scopes: ["operator.read"], credential: { kind: "secret", value: "s3cret" } };
const device = createDeviceKey();

function open(url: string, options: Partial<ConnectOptions> = {}): Promise<Connection> {
  const listener = { onOpen: () => undefined, onFrame: () => undefined, onClose: () => undefined };
  return connect({ url, client, device, present: () => secret, ...options }, listener);
}

test("a connect proves the device over the challenge, with the gateway's time and the credential", async () => {
  await using peer = await startPeer();

  const connection = await open(peer.url);

  connection.close();
  const [params] = peer.connects;
  assert.ok(params?.device);
  const proof = connectProofText(device, {
    clientId: "cli",
    clientMode: "cli",
    role: "operator",
    scopes: ["operator.read"],
    signedAt: params.device.signedAt,
    token: "s3cret",
    nonce: params.device.nonce,
    platform: "linux",
  });
  const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x: params.device.publicKey }, format: "jwk" });
  assert.equal(verify(null, Buffer.from(proof), key, Buffer.from(params.device.signature, "base64url")), true);
  assert.equal(params.device.id, device.id);
  assert.deepEqual(params.auth, { token: "s3cret" });
  assert.deepEqual([params.minProtocol, params.maxProtocol], [4, 4]);
});

test("the credential is decided by the key the gateway has proved", async () => {
  await using peer = await startPeer();
  await using unproved = await startPeer({ key: "none" });
  const asked: (string | undefined)[] = [];
  const present: ConnectOptions["present"] = ({ gatewayKey }) => {
    asked.push(gatewayKey);
    return { scopes: [], credential: { kind: "none" } };
  };

  const connections = [await open(peer.url, { present }), await open(unproved.url, { present })];

  for (const connection of connections) connection.close();
  assert.deepEqual(asked, [peer.key.publicKey, undefined]);
  assert.equal(peer.connects[0]?.auth, undefined);
});

test("a gateway whose proof does not hold is told nothing", async () => {
  await using peer = await startPeer({ key: "tampered" });
  let wasAsked = false;

  const opened = open(peer.url, {
    present: () => {
      wasAsked = true;
      return secret;
    },
  });

  await assert.rejects(opened, (error) => error instanceof ConnectionError && error.kind === "unproved");
  assert.equal(wasAsked, false);
  assert.deepEqual(peer.connects, []);
});

test("a refusal carries the wire's code, details and remedy, and how the socket closed", async () => {
  const details = { code: "PAIRING_REQUIRED", reason: "scope-upgrade", requestId: "r1", remediationHint: "approve it" };
  await using peer = await startPeer({
    onConnect: () => ({
      error: { code: "NOT_PAIRED", message: "pairing required", details },
      close: { code: 1008, reason: "pairing required" },
    }),
  });

  const error = await open(peer.url).catch((reason: unknown) => reason);

  assert.ok(error instanceof RemoteError);
  assert.deepEqual(
    [error.code, error.wireCode, error.message, error.remedy],
    ["PAIRING_REQUIRED", "NOT_PAIRED", "pairing required", "approve it"],
  );
  assert.deepEqual(error.details, details);
  assert.deepEqual(error.close, { code: 1008, reason: "pairing required" });
});

test("an address where nothing listens, or where no WebSocket is spoken, is unreachable", async () => {
  const plain = createServer((_request, response) => void response.writeHead(403).end());
  await new Promise<void>((resolve) => void plain.listen(0, "127.0.0.1", resolve));
  const { port } = plain.address() as AddressInfo; // A TCP server's address is never text.

  const refused = await open(`ws://127.0.0.1:${port}`).catch((reason: unknown) => reason);
  await new Promise((resolve) => void plain.close(resolve));
  const silent = await open(`ws://127.0.0.1:${port}`).catch((reason: unknown) => reason);
  const nonsense = await open("not a url").catch((reason: unknown) => reason);

  for (const error of [refused, silent, nonsense])
    assert.ok(error instanceof ConnectionError && error.kind === "unreachable", String(error));
});

test("a gateway that never challenges is given up after the budget", async () => {
  const mute = new WebSocketServer({ host: "127.0.0.1", port: 0 });
  await new Promise((resolve) => void mute.once("listening", resolve));
  const { port } = mute.address() as AddressInfo; // A TCP server's address is never text.

  const error = await open(`ws://127.0.0.1:${port}`, { timeoutMs: 50 }).catch((reason: unknown) => reason);

  for (const socket of mute.clients) socket.terminate();
  mute.close();
  assert.ok(error instanceof ConnectionError && error.kind === "timeout");
});

test("an abort ends the handshake with the signal's reason", async () => {
  await using peer = await startPeer();
  const abort = new AbortController();
  const reason = new Error("enough");

  const opened = open(peer.url, {
    signal: abort.signal,
    present: () => {
      abort.abort(reason);
      return secret;
    },
  });

  await assert.rejects(opened, reason);
});
