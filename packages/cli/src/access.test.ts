import assert from "node:assert/strict";
import { test } from "node:test";
import { ConnectionError, createDeviceKey, RemoteError, type TokenOwner, type TokenStore } from "@portreeve/client";
import type { ConnectParams } from "@portreeve/protocol";
import { startPeer, type ConnectOutcome, type PeerOptions, type PeerRequest } from "../../../test/support/scripted-peer.ts";
import { Access, ceiling } from "./access.ts";
import type { TargetSecret } from "./target.ts";

const device = createDeviceKey();
const least = ["operator.read"];

function memoryTokens(): TokenStore & { readonly all: Map<string, string> } {
  const all = new Map<string, string>();
  const keyOf = ({ gatewayKey, url }: TokenOwner): string => `${gatewayKey} ${url}`;
  return {
    all,
    find: (owner) => Promise.resolve(all.get(keyOf(owner))),
    save: (owner, token) => Promise.resolve(void all.set(keyOf(owner), token)),
    forget: (owner, token) => Promise.resolve(void (all.get(keyOf(owner)) === token && all.delete(keyOf(owner)))),
  };
}

function accessTo(url: string, tokens: TokenStore, secret: TargetSecret | "none" = { value: "s3cret", onlyFor: undefined }): Access {
  const known = secret === "none" ? undefined : secret;
  return new Access({
    target: { url, tlsFingerprint: undefined, secret: () => Promise.resolve(known) },
    device: () => Promise.resolve(device),
    tokens,
    tokensFile: "/home/me/cli/tokens.json",
    // Tokens are guarded by themselves, also where no key is pinned.
    pins: { admit: () => Promise.resolve({ kind: "known" }) },
    version: "1.0.0",
  });
}

/** `secret [scopes]` or `token [scopes]`, with `no device` when there was none. */
function presented({ auth, scopes = [], device: proof }: ConnectParams): string {
  const what =
    auth?.token !== undefined ? `secret ${auth.token}` : auth?.deviceToken !== undefined ? `token ${auth.deviceToken}` : "nothing";
  return `${what} [${scopes.join()}]${proof === undefined ? " no device" : ""}`;
}

const issue: NonNullable<PeerOptions["onConnect"]> = () => ({ deviceToken: "t1" });

test("the first call pairs at the ceiling with the secret; it and every later one go at the least scopes with the token", async () => {
  await using peer = await startPeer({ onConnect: issue });
  const tokens = memoryTokens();
  const access = accessTo(peer.url, tokens);

  (await access.open(least)).close();
  (await access.open(["operator.write"])).close();
  (await access.open([])).close();

  assert.deepEqual(peer.connects.map(presented), [
    `secret s3cret [${ceiling.join()}]`,
    "token t1 [operator.read]",
    "token t1 [operator.write]",
    "token t1 []",
  ]);
  assert.equal(access.socketsOpened, peer.sockets);
});

test("a token is never sent to another gateway key, whatever its address", async () => {
  const tokens = memoryTokens();
  const first = await startPeer({ onConnect: issue });
  (await accessTo(first.url, tokens).open(least)).close();
  await first[Symbol.asyncDispose]();
  await using impostor = await startPeer({ port: first.port, onConnect: () => ({ deviceToken: "t2" }) });

  (await accessTo(impostor.url, tokens, "none").open(least)).close();

  assert.equal(impostor.url, first.url);
  assert.deepEqual(impostor.connects.map(presented), [`nothing [${ceiling.join()}]`, "token t2 [operator.read]"]);
});

test("a token is not sent to its gateway's key under another address, where the proof may be a relayed one", async () => {
  const key = createDeviceKey();
  const tokens = memoryTokens();
  await using first = await startPeer({ key, onConnect: issue });
  await using relay = await startPeer({ key });
  (await accessTo(first.url, tokens).open(least)).close();

  (await accessTo(relay.url, tokens, "none").open(least)).close();

  assert.deepEqual(relay.connects.map(presented), [`nothing [${ceiling.join()}]`, "nothing [operator.read]"]);
});

test("the home's secret is not sent to another gateway key", async () => {
  await using peer = await startPeer({ onConnect: issue });

  const opened = accessTo(peer.url, memoryTokens(), { value: "s3cret", onlyFor: createDeviceKey().publicKey }).open(least);

  await assert.rejects(opened, (error) => error instanceof ConnectionError && error.kind === "unproved");
  assert.deepEqual(peer.connects, []);
});

test("the home's secret is not sent where no key is proved", async () => {
  await using peer = await startPeer({ key: "none" });

  const opened = accessTo(peer.url, memoryTokens(), { value: "s3cret", onlyFor: createDeviceKey().publicKey }).open(least);

  await assert.rejects(opened, (error) => error instanceof ConnectionError && error.kind === "unproved");
  assert.deepEqual(peer.connects, []);
});

test("for a gateway without a proof no token is kept: each call goes with the secret, at its own scopes", async () => {
  await using peer = await startPeer({ key: "none", onConnect: issue });
  const tokens = memoryTokens();
  const access = accessTo(peer.url, tokens);

  (await access.open(least)).close();
  (await access.open(["operator.write"])).close();

  assert.deepEqual(peer.connects.map(presented), ["secret s3cret [operator.read]", "secret s3cret [operator.write]"]);
  assert.equal(tokens.all.size, 0);
});

const mismatch: ConnectOutcome = {
  error: { code: "INVALID_REQUEST", message: "device token mismatch", details: { code: "AUTH_DEVICE_TOKEN_MISMATCH" } },
};

test("a stored token that is refused is replaced once, with the secret", async () => {
  await using peer = await startPeer({ onConnect: ({ auth }) => (auth?.deviceToken === "old" ? mismatch : { deviceToken: "t1" }) });
  const tokens = memoryTokens();
  await tokens.save({ gatewayKey: peer.key.publicKey, url: peer.url }, "old");

  (await accessTo(peer.url, tokens).open(least)).close();

  assert.deepEqual(peer.connects.map(presented), [
    "token old [operator.read]",
    `secret s3cret [${ceiling.join()}]`,
    "token t1 [operator.read]",
  ]);
});

test("a new token that is refused too is an error, not a loop", async () => {
  await using peer = await startPeer({ onConnect: ({ auth }) => (auth?.deviceToken === undefined ? { deviceToken: "t1" } : mismatch) });
  const access = accessTo(peer.url, memoryTokens());

  const error = await access.open(least).catch((reason: unknown) => reason);

  assert.match(String(error), /device token mismatch/);
  assert.ok(peer.sockets <= 4);
});

test("without the secret a refused token stays the gateway's own refusal", async () => {
  await using peer = await startPeer({ onConnect: () => mismatch });
  const tokens = memoryTokens();
  await tokens.save({ gatewayKey: peer.key.publicKey, url: peer.url }, "old");

  await assert.rejects(
    accessTo(peer.url, tokens, "none").open(least),
    (error) => error instanceof RemoteError && error.code === "AUTH_DEVICE_TOKEN_MISMATCH",
  );

  assert.equal(peer.sockets, 1);
});

const waits: ConnectOutcome = { error: { code: "NOT_PAIRED", message: "pairing required", details: { code: "PAIRING_REQUIRED" } } };

test("an owner whose device waits for an approval gets in with the secret alone, at exactly the call's scopes", async () => {
  const answer = { onRequest: ({ answer: say }: PeerRequest) => say({ pending: [], paired: [] }) };
  await using peer = await startPeer({ onConnect: (params) => (params.device === undefined ? {} : waits), ...answer });

  (await accessTo(peer.url, memoryTokens()).openAsOwner(["operator.pairing"])).close();

  assert.equal(peer.connects.map(presented).at(-1), "secret s3cret [operator.pairing] no device");
});

test("an owner whose device waits already does not ask anew: what its request shows stays as it was", async () => {
  const pending = [{ requestId: "r1", deviceId: device.id }];
  await using peer = await startPeer({ onConnect: () => ({}), onRequest: ({ answer }) => answer({ pending, paired: [] }) });

  (await accessTo(peer.url, memoryTokens()).openAsOwner(["operator.pairing"])).close();

  assert.deepEqual(peer.connects.filter(Boolean).map(presented), [
    "secret s3cret [operator.pairing] no device",
    "secret s3cret [operator.pairing] no device",
  ]);
});

test("where the secret alone is let in with nothing, the refusal of the device that waits stands", async () => {
  await using peer = await startPeer({
    onConnect: (params) => (params.device === undefined ? { scopes: [] } : waits),
    onRequest: ({ refuse }) => refuse({ code: "INVALID_REQUEST", message: "missing scope: operator.pairing" }),
  });

  await assert.rejects(
    accessTo(peer.url, memoryTokens()).openAsOwner(["operator.pairing"]),
    (error) => error instanceof RemoteError && error.code === "PAIRING_REQUIRED" && error.words !== undefined,
  );
});

test("for anything but the owner's commands a device that waits is refused", async () => {
  await using peer = await startPeer({ onConnect: () => waits });

  await assert.rejects(
    accessTo(peer.url, memoryTokens()).open(least),
    (error) => error instanceof RemoteError && error.code === "PAIRING_REQUIRED",
  );

  assert.equal(peer.sockets, 1);
});

test("a token that does not cover what a command needs is refused with the scopes by name, and with what this device can do", async () => {
  await using peer = await startPeer({
    onConnect: ({ auth }) =>
      auth?.deviceToken === undefined
        ? { deviceToken: "t1" }
        : {
            error: {
              code: "INVALID_REQUEST",
              message: "mismatch",
              details: { code: "AUTH_SCOPE_MISMATCH", remediationHint: "ask for less" },
            },
          },
  });
  const tokens = memoryTokens();

  const refused = accessTo(peer.url, tokens).open(["operator.pairing", "operator.read"]);

  await assert.rejects(refused, (error) => {
    assert.ok(error instanceof RemoteError);
    assert.equal(error.code, "AUTH_SCOPE_MISMATCH");
    assert.match(error.message, /operator\.pairing and operator\.read/);
    assert.match(error.remedy ?? "", /rm \S*tokens\.json; \.\/portreeve status --url \S+ --token SECRET/);
    return true;
  });
});
