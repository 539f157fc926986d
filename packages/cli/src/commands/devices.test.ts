import assert from "node:assert/strict";
import { mkdtempDisposable } from "node:fs/promises";
import { tmpdir } from "node:os";
import { test } from "node:test";
import { captureIo, type CapturedIo } from "../../../../test/support/captured-io.ts";
import { startPeer, type Peer, type PeerOptions, type PeerRequest } from "../../../../test/support/scripted-peer.ts";
import { ownDevice, pairedDevice, upgradeRequest } from "../devices/fixtures.ts";
import type { DeviceList } from "../devices/words.ts";
import { run } from "../program.ts";

interface World extends AsyncDisposable {
  readonly peer: Peer;
  readonly io: CapturedIo;
  devices(...args: string[]): Promise<number>;
}

/** A fresh home and a peer that has one device waiting and two paired; what it is told to do is kept in `asked`. */
async function startWorld(
  asked: PeerRequest[],
  { answer, ...options }: PeerOptions & { answer?: string; list?: DeviceList } = {},
): Promise<World> {
  const folder = await mkdtempDisposable(`${tmpdir()}/portreeve-devices-`);
  const list: DeviceList = { pending: [upgradeRequest], paired: [ownDevice, pairedDevice] };
  const peer = await startPeer({
    onConnect: () => ({ deviceToken: "t1" }),
    onRequest(request) {
      if (request.method === "device.pair.list") return request.answer(list);
      asked.push(request);
      request.answer({ scopes: ["operator.read"] });
    },
    ...options,
  });
  const env = { PORTREEVE_HOME: folder.path, PORTREEVE_URL: peer.url, PORTREEVE_TOKEN: "s3cret" };
  const io = captureIo({ env, cwd: folder.path, ...(answer === undefined ? {} : { answer }) });
  return {
    peer,
    io,
    devices: (...args) => run(["devices", ...args], io),
    async [Symbol.asyncDispose]() {
      await peer[Symbol.asyncDispose]();
      await folder.remove();
    },
  };
}

const told = (asked: readonly PeerRequest[]): readonly string[] => asked.map(({ method, params }) => `${method} ${JSON.stringify(params)}`);
const approval = 'device.pair.approve {"requestId":"4f9d1c2a-1111"}';

test("devices alone is the list", async () => {
  await using world = await startWorld([]);

  assert.equal(await world.devices(), 0);

  assert.match(world.io.stdout, /^Waiting [^]*\nPaired:\n/);
  assert.deepEqual(world.peer.calls, ["device.pair.list [operator.pairing]", "device.pair.list [operator.admin,operator.pairing]"]);
});

test("on a terminal an approval shows what is new, asks, and goes on after a yes; what it prints stays clean", async () => {
  for (const answer of ["y", "YES"]) {
    const asked: PeerRequest[] = [];
    await using world = await startWorld(asked, { answer });

    assert.equal(await world.devices("approve", "4f9d", "--json"), 0);

    assert.match(world.io.stderr, /new {9}write/);
    assert.deepEqual(world.io.questions, ["Approve it? (y/N) "]);
    assert.deepEqual(told(asked), [approval]);
    assert.deepEqual(JSON.parse(world.io.stdout), { scopes: ["operator.read"] });
  }
});

test("any other answer approves nothing", async () => {
  for (const answer of ["", "n", "yess", "approve"]) {
    const asked: PeerRequest[] = [];
    await using world = await startWorld(asked, { answer });

    assert.equal(await world.devices("approve", "4f9d"), 1);

    assert.match(world.io.stderr, /nothing was changed\.\nIt still waits.*devices reject 4f9d1c2a/);
    assert.deepEqual(told(asked), []);
  }
});

test("without a terminal an approval needs --yes, also with --json, and the refusal is the command to run", async () => {
  const asked: PeerRequest[] = [];
  await using world = await startWorld(asked);

  const codes = [await world.devices("approve", "4f9d", "--minutes", "5"), await world.devices("approve", "4f9d", "--json")];

  assert.deepEqual([codes, told(asked)], [[2, 2], []]);
  assert.match(world.io.stderr, /new {9}write/);
  assert.match(world.io.stderr, /\.\/portreeve devices approve 4f9d1c2a-1111 --minutes 5 --yes\n/);
});

test("--yes approves without a question, and --minutes for a while", async () => {
  const asked: PeerRequest[] = [];
  await using world = await startWorld(asked, { answer: "n" });

  const codes = [await world.devices("approve", "4f9d", "--yes"), await world.devices("approve", "4f9d", "--yes", "--minutes", "30")];

  assert.deepEqual([codes, world.io.questions], [[0, 0], []]);
  assert.deepEqual(told(asked), [approval, 'device.pair.approve {"requestId":"4f9d1c2a-1111","expiresInMinutes":30}']);
  assert.match(world.io.stdout, /^Approved for 30 min, then back to what it had: Kitchen/m);
});

test("an approval is asked for with everything that it grants", async () => {
  await using world = await startWorld([]);

  await world.devices("approve", "4f9d", "--yes");

  assert.equal(world.peer.calls.at(-1), "device.pair.approve [operator.admin,operator.pairing,operator.read,operator.write]");
});

const device = `"deviceId":"${pairedDevice.deviceId}"`;
const upkeep: readonly (readonly [args: readonly string[], request: string, said: RegExp])[] = [
  [["remove", "dd"], `device.pair.remove {${device}}`, /^Removed: Kitchen \(dddddddd\)/],
  [["rename", "dd", "Hall"], `device.pair.rename {${device},"label":"Hall"}`, /is now called Hall/],
  [["revoke", "dd"], `device.token.revoke {${device},"role":"operator"}`, /^Revoked: Kitchen .*as operator/],
  [["rotate", "dd"], `device.token.rotate {${device},"role":"operator"}`, /next one may: read/],
  [
    ["rotate", "dd", "--scopes", "operator.read"],
    `device.token.rotate {${device},"role":"operator","scopes":["operator.read"]}`,
    /^Rotated: the old token of Kitchen/,
  ],
  [["reject", "4f"], 'device.pair.reject {"requestId":"4f9d1c2a-1111"}', /^Rejected: Kitchen/],
];

for (const [args, request, said] of upkeep) {
  test(`devices ${args.join(" ")} is one call, and a sentence for a person`, async () => {
    const asked: PeerRequest[] = [];
    await using world = await startWorld(asked);

    assert.equal(await world.devices(...args), 0);

    assert.deepEqual(told(asked), [request]);
    assert.match(world.io.stdout, said);
  });
}

test("a gateway that lacks a method is named with what it cannot do", async () => {
  await using world = await startWorld([], {
    onRequest: ({ method, answer, refuse }) =>
      method === "device.pair.list"
        ? answer({ pending: [], paired: [pairedDevice] })
        : refuse({ code: "INVALID_REQUEST", message: `unknown method: ${method}` }),
  });

  for (const args of [
    ["remove", "dd"],
    ["rename", "dd", "x"],
    ["rotate", "dd"],
    ["revoke", "dd"],
  ])
    assert.equal(await world.devices(...args), 1);

  assert.match(world.io.stderr, /^portreeve: This gateway cannot remove devices: it has no device\.pair\.remove\.\nUpdate the gateway/);
});

test("a gateway that cannot approve for a while says so, and approves nothing", async () => {
  await using world = await startWorld([], {
    onRequest: ({ method, answer, refuse }) =>
      method === "device.pair.list"
        ? answer({ pending: [upgradeRequest], paired: [] })
        : refuse({ code: "INVALID_REQUEST", message: "invalid device.pair.approve params: expiresInMinutes: unknown" }),
  });

  assert.equal(await world.devices("approve", "4f", "--yes", "--minutes", "5"), 1);

  assert.match(world.io.stderr, /cannot approve for a limited time/);
});

test("a device that may not manage others manages itself", async () => {
  await using world = await startWorld([], {
    onConnect: ({ scopes = [], auth }) =>
      auth?.deviceToken !== undefined && scopes.includes("operator.admin")
        ? { error: { code: "INVALID_REQUEST", message: "no", details: { code: "AUTH_SCOPE_MISMATCH" } } }
        : { deviceToken: "t1" },
  });
  const env = { ...world.io.env, PORTREEVE_TOKEN: "" };
  const io = captureIo({ env: Object.fromEntries(Object.entries(env).map(([name, value]) => [name, value ?? ""])) });

  assert.equal(await run(["devices"], io), 0, io.stderr);

  assert.deepEqual(world.peer.calls, ["device.pair.list [operator.pairing]"]);
});
