/** Every reason why a device waits, over real sockets and in both protocol versions, and what becomes of the requests. */
import assert from "node:assert/strict";
import test from "node:test";
import { limits } from "@portreeve/protocol";
import { createManualClock } from "./support/manual-clock.ts";
import { startGateway, type TestGateway } from "./support/start-gateway.ts";
import { type ConnectInput, connectWire, createWireKey, refusedConnect } from "./support/wire-client.ts";

const requirements = {
  "not-paired": "device is not approved yet",
  "role-upgrade": "device is asking for a higher role than currently approved",
  "scope-upgrade": "device is asking for more scopes than currently approved",
  "metadata-upgrade": "device identity changed and must be re-approved",
};

interface Situation {
  readonly what: string;
  readonly reason: keyof typeof requirements;
  /** How the device was paired; undefined: not at all. */
  readonly before?: ConnectInput;
  readonly asks: ConnectInput;
  readonly headers?: Readonly<Record<string, string>>;
}

const remote = { "x-forwarded-for": "203.0.113.9" };
const read = { scopes: ["operator.read"] };

const situations: readonly Situation[] = [
  { what: "a new device from afar", reason: "not-paired", asks: read, headers: remote },
  { what: "an operator that asks to be a node", reason: "role-upgrade", before: read, asks: { role: "node" } },
  { what: "a node that asks to be an operator", reason: "role-upgrade", before: { role: "node" }, asks: read },
  { what: "more scopes", reason: "scope-upgrade", before: read, asks: { scopes: ["operator.write"] } },
  { what: "another platform", reason: "metadata-upgrade", before: read, asks: { ...read, client: { platform: "windows" } } },
];

const open = (): Promise<TestGateway> => startGateway({ config: { gateway: { trustedProxies: ["127.0.0.1"] } } });

for (const protocol of [3, 4] as const) {
  for (const { what, reason, before, asks, headers = {} } of situations) {
    test(`${what} waits as ${reason} and is let in once it is approved (protocol ${protocol})`, async () => {
      await using gw = await open();
      const key = createWireKey();
      const input = { ...asks, key, token: gw.token, protocol };
      if (before !== undefined) await (await connectWire(gw.url, { ...before, key, token: gw.token }))[Symbol.asyncDispose]();

      const { error, close } = await refusedConnect(gw.url, input, headers);
      const requestId = String(error.details?.["requestId"]);
      const again = await refusedConnect(gw.url, input, headers);
      const { pending } = await gw.callerWith("operator.pairing").call("device.pair.list", {});
      await gw.callerWith("operator.admin").call("device.pair.approve", { requestId });
      await using wire = await connectWire(gw.url, input, headers);

      const remedy = `On the gateway's machine run: ./portreeve devices approve ${requestId}`;
      const message = `pairing required: ${protocol === 3 ? remedy : requirements[reason]}`;
      assert.deepEqual([error.code, error.details?.["reason"], error.message], ["NOT_PAIRED", reason, message]);
      assert.equal(close.code, 1008);
      assert.match(close.reason, new RegExp(`^pairing required: .*${requestId}`));
      assert.equal(again.error.details?.["requestId"], requestId);
      assert.deepEqual(
        pending.map((request) => [request.requestId, request.reason, request.isRepair]),
        [[requestId, reason, before !== undefined]],
      );
      assert.equal((await wire.request("health")).ok, true);
    });
  }

  test(`another name for the same platform, a newer system and a new name are no reason to wait (protocol ${protocol})`, async () => {
    await using gw = await open();
    const key = createWireKey();
    const platforms = ["darwin", "macos", "macOS 26.1", "MacOS"];

    for (const platform of platforms) {
      const client = { platform, id: "cli", mode: "cli", displayName: platform, version: platform };
      await using wire = await connectWire(gw.url, { key, token: gw.token, ...read, protocol, layout: "v2", client });

      assert.equal((await wire.request("status")).ok, true, platform);
    }
  });

  test(`a wider ask replaces the one that waits, which is told as rejected, and asks for both (protocol ${protocol})`, async () => {
    await using gw = await open();
    const { token } = gw;
    await using watcher = await connectWire(gw.url, { token, key: createWireKey(), scopes: ["operator.pairing"], protocol });
    const key = createWireKey();
    await using _ = await connectWire(gw.url, { key, token, ...read });

    const first = await refusedConnect(gw.url, { key, token, scopes: ["operator.write"] });
    const narrower = await refusedConnect(gw.url, { key, token, scopes: ["operator.talk"] });
    const wider = await refusedConnect(gw.url, { key, token, scopes: ["operator.approvals"] });
    const rejected = await watcher.frame((frame) => frame.payload?.["decision"] === "rejected");
    await watcher.frame((frame) => frame.payload?.["requestId"] === wider.error.details?.["requestId"]);

    assert.equal(narrower.error.details?.["requestId"], first.error.details?.["requestId"]);
    assert.equal(rejected.payload?.["requestId"], first.error.details?.["requestId"]);
    const asked = watcher.frames.filter((frame) => frame.event === "device.pair.requested");
    assert.deepEqual(
      asked.map((frame) => frame.payload?.["scopes"]),
      [["operator.write"], ["operator.approvals", "operator.write"]],
    );
    await assert.rejects(
      gw.callerWith("operator.admin").call("device.pair.approve", { requestId: String(first.error.details?.["requestId"]) }),
      { code: "UNKNOWN_REQUEST" },
    );
  });
}

test("a node role that is approved brings none of the scopes that were merged into its request", async () => {
  await using gw = await open();
  const key = createWireKey();
  await using _ = await connectWire(gw.url, { key, token: gw.token, ...read });
  await refusedConnect(gw.url, { key, token: gw.token, scopes: ["operator.write"] });
  const { error } = await refusedConnect(gw.url, { key, token: gw.token, role: "node", scopes: [] });

  const requestId = String(error.details?.["requestId"]);
  await assert.rejects(gw.callerWith("operator.pairing", "operator.write").call("device.pair.approve", { requestId }), {
    message: "missing scope: operator.admin",
  });
  const { device } = await gw.callerWith("operator.admin").call("device.pair.approve", { requestId });

  assert.deepEqual(
    device.tokens.map(({ role, scopes }) => [role, scopes]),
    [
      ["node", []],
      ["operator", ["operator.read", "operator.write"]],
    ],
  );
});

test("an expired request is gone from the list, cannot be decided, and asking again makes a new one", async () => {
  const clock = createManualClock(Date.now());
  await using gw = await startGateway({ clock });
  const [key, input] = [createWireKey(), { token: gw.token, scopes: ["operator.admin"] }];
  await using _ = await connectWire(gw.url, { key, ...input, ...read, signedAt: clock.now() });
  const first = await refusedConnect(gw.url, { key, ...input, signedAt: clock.now() });
  const owner = gw.callerWith("operator.admin");
  const requestId = String(first.error.details?.["requestId"]);

  clock.jump(limits.pairingRequestTtlMs);
  const { pending } = await owner.call("device.pair.list", {});
  await assert.rejects(owner.call("device.pair.approve", { requestId }), { code: "UNKNOWN_REQUEST" });
  await assert.rejects(owner.call("device.pair.reject", { requestId }), { code: "UNKNOWN_REQUEST" });
  const second = await refusedConnect(gw.url, { key, ...input, signedAt: clock.now() });

  assert.deepEqual(pending, []);
  assert.notEqual(second.error.details?.["requestId"], requestId);
});
