/** Node pairing: what a node declares waits for an approval of its own, by whoever holds what its commands need. */
import assert from "node:assert/strict";
import test from "node:test";
import { startGateway, type TestGateway } from "./support/start-gateway.ts";
import { connectWire, createWireKey, type WireKey } from "./support/wire-client.ts";

interface Declared {
  readonly caps?: readonly string[];
  readonly commands?: readonly string[];
  readonly permissions?: Readonly<Record<string, boolean>>;
}

const camera: Declared = { caps: ["camera"], commands: ["camera.snap"], permissions: { "screen.record": true } };
const client = { id: "node-host", mode: "node" };

/** Lets a node in that declares `declared`. */
function openNode(gw: TestGateway, key: WireKey, declared: Declared) {
  return connectWire(gw.url, { key, token: gw.token, role: "node", client, extra: declared });
}

async function list(gw: TestGateway) {
  return gw.callerWith("operator.pairing").call("node.pair.list", {});
}

for (const protocol of [3, 4] as const) {
  test(`what a node declares is told, waits, and is listed as approved once it is approved (protocol ${protocol})`, async () => {
    await using gw = await startGateway();
    await using owner = await connectWire(gw.url, { key: createWireKey(), token: gw.token, scopes: ["operator.admin"], protocol });
    const key = createWireKey();

    await using _ = await openNode(gw, key, camera);
    const { payload: requested } = await owner.frame((frame) => frame.event === "node.pair.requested");
    const before = await list(gw);
    const answer = await owner.request("node.pair.approve", { requestId: requested?.["requestId"] });
    const { payload: resolved } = await owner.frame((frame) => frame.event === "node.pair.resolved");
    const after = await list(gw);

    assert.deepEqual(
      [requested?.["nodeId"], requested?.["commands"], requested?.["requiredApproveScopes"], requested?.["permissions"]],
      [
        key.id,
        ["camera.snap"],
        ...(protocol === 4 ? [["operator.pairing", "operator.write"], camera.permissions] : [undefined, undefined]),
      ],
    );
    assert.deepEqual([before.pending.length, before.paired.length, after.pending.length], [1, 0, 0]);
    assert.equal(answer.ok, true, JSON.stringify(answer.error));
    assert.equal(resolved?.["decision"], "approved");
    assert.deepEqual(
      after.paired.map((node) => [node.nodeId, node.caps, node.commands, node.permissions]),
      [[key.id, ["camera"], ["camera.snap"], camera.permissions]],
    );
    assert.ok((await gw.gateway.store.audit.list(10)).some((row) => row.kind === "node.approved" && row.subject === key.id));
  });
}

const needs: readonly (readonly [what: string, commands: readonly string[], enough: readonly string[], tooLittle: string])[] = [
  ["an ordinary command", ["camera.snap"], ["operator.write"], "missing scope: operator.write"],
  ["a command that runs programs", ["camera.snap", "system.run"], ["operator.admin"], "missing scope: operator.admin"],
  ["a command of the system that is not known", ["system.launch"], ["operator.admin"], "missing scope: operator.admin"],
];

for (const [what, commands, enough, tooLittle] of needs) {
  test(`${what} is approved only by whoever holds ${enough.join(" and ")}`, async () => {
    await using gw = await startGateway();
    await using _ = await openNode(gw, createWireKey(), { commands });
    const requestId = (await list(gw)).pending[0]?.requestId ?? "";
    const weaker = enough.includes("operator.admin")
      ? gw.callerWith("operator.pairing", "operator.write")
      : gw.callerWith("operator.pairing");

    await assert.rejects(weaker.call("node.pair.approve", { requestId }), { message: tooLittle });
    const approved = enough[0] === "operator.admin" ? gw.callerWith("operator.admin") : gw.callerWith("operator.pairing", "operator.write");

    assert.equal((await approved.call("node.pair.approve", { requestId })).requestId, requestId);
  });
}

test("the same or a narrower declaration asks nobody again, a wider one replaces the request", async () => {
  await using gw = await startGateway();
  const key = createWireKey();
  const requested: string[] = [];
  gw.gateway.bus.subscribe("node.pair.requested", ({ requestId }) => void requested.push(requestId));
  for (const declared of [camera, camera]) await (await openNode(gw, key, declared))[Symbol.asyncDispose]();
  const first = (await list(gw)).pending[0]?.requestId ?? "";
  await gw.callerWith("operator.admin").call("node.pair.approve", { requestId: first });

  await (await openNode(gw, key, { caps: ["camera"], permissions: { "screen.record": false } }))[Symbol.asyncDispose]();
  const narrower = await list(gw);
  await (await openNode(gw, key, { ...camera, commands: ["camera.snap", "system.run"] }))[Symbol.asyncDispose]();
  const wider = await list(gw);
  await (await openNode(gw, key, { ...camera, permissions: { "screen.record": true, microphone: true } }))[Symbol.asyncDispose]();
  const other = await list(gw);

  assert.equal(requested.length, 3);
  assert.deepEqual([narrower.pending, wider.pending.length, other.pending.length], [[], 1, 1]);
  assert.notEqual(wider.pending[0]?.requestId, other.pending[0]?.requestId);
  assert.deepEqual(
    other.paired.map((node) => node.commands),
    [["camera.snap"]],
  );
  await assert.rejects(gw.callerWith("operator.admin").call("node.pair.approve", { requestId: wider.pending[0]?.requestId ?? "x" }), {
    code: "UNKNOWN_REQUEST",
  });
});

test("a rejected declaration leaves what was approved, and a removed node is closed with 4001", async () => {
  await using gw = await startGateway();
  const key = createWireKey();
  const admin = gw.callerWith("operator.admin");
  await (await openNode(gw, key, camera))[Symbol.asyncDispose]();
  await admin.call("node.pair.approve", { requestId: (await list(gw)).pending[0]?.requestId ?? "" });
  await using wire = await openNode(gw, key, { commands: ["system.run"] });

  const rejected = await admin.call("node.pair.reject", { requestId: (await list(gw)).pending[0]?.requestId ?? "" });
  const kept = await list(gw);
  const removed = await admin.call("node.pair.remove", { nodeId: key.id });
  const close = await wire.closed;

  assert.deepEqual([rejected.nodeId, kept.paired.length, kept.pending], [key.id, 1, []]);
  assert.deepEqual([removed, close.code, close.reason], [{ nodeId: key.id }, 4001, "device removed"]);
  assert.deepEqual(await list(gw), { pending: [], paired: [] });
  await assert.rejects(admin.call("node.pair.remove", { nodeId: key.id }), { message: "unknown nodeId" });
});

test("a device that manages itself alone decides about no node and sees none", async () => {
  await using gw = await startGateway();
  await using _ = await openNode(gw, createWireKey(), camera);
  const requestId = (await list(gw)).pending[0]?.requestId ?? "";
  const nodeId = (await list(gw)).pending[0]?.nodeId ?? "";
  const key = createWireKey();
  const scopes = ["operator.pairing", "operator.write"];
  await using first = await connectWire(gw.url, { key, token: gw.token, scopes });
  const { deviceToken } = first.hello["auth"] as { deviceToken: string };
  await using wire = await connectWire(gw.url, { key, deviceToken, scopes });

  const answers = [
    await wire.request("node.pair.approve", { requestId }),
    await wire.request("node.pair.reject", { requestId }),
    await wire.request("node.pair.remove", { nodeId }),
  ];

  assert.deepEqual(
    answers.map((answer) => answer.error?.message),
    ["node pairing approval denied", "node pairing rejection denied", "node removal denied"],
  );
  assert.deepEqual((await wire.request("node.pair.list")).payload, { pending: [], paired: [] });
  assert.equal((await list(gw)).pending.length, 1);
});

test("removing the device forgets what was approved for the node", async () => {
  await using gw = await startGateway();
  const key = createWireKey();
  const admin = gw.callerWith("operator.admin");
  await using _ = await openNode(gw, key, camera);
  await admin.call("node.pair.approve", { requestId: (await list(gw)).pending[0]?.requestId ?? "" });

  await admin.call("device.pair.remove", { deviceId: key.id });

  assert.deepEqual(await list(gw), { pending: [], paired: [] });
});

test("version 3 asks for a node: what waits is added to and never taken from, and only what the node says of itself is shown", async () => {
  await using gw = await startGateway();
  const key = createWireKey();
  await using _ = await openNode(gw, key, camera);
  await using owner = await connectWire(gw.url, { key: createWireKey(), token: gw.token, scopes: ["operator.admin"], protocol: 3 });
  const declared = (await list(gw)).pending[0];
  const ask = async (params: object) => (await owner.request("node.pair.request", { nodeId: key.id, ...params })).payload;

  const same = await ask({ commands: ["camera.snap"], displayName: "not what it says of itself", platform: "ios" });
  const wider = await ask({ commands: ["system.run"] });
  const again = await ask({ commands: ["system.run"] });
  const pending = (await list(gw)).pending;
  await gw.callerWith("operator.admin").call("node.pair.approve", { requestId: pending[0]?.requestId ?? "" });
  const approved = await ask({ commands: ["system.run"], caps: ["camera"] });
  const afterwards = await ask({ commands: ["system.which"] });

  const { requestId, ...facts } = declared ?? assert.fail();
  assert.deepEqual([same?.["status"], same?.["created"], requestOf(same)["requestId"]], ["pending", false, requestId]);
  assert.deepEqual([wider?.["status"], wider?.["created"], again?.["created"]], ["pending", true, false]);
  assert.notEqual(requestOf(wider)["requestId"], requestId);
  assert.deepEqual(
    pending.map((request) => ({ ...request, requestId: "", ts: 0 })),
    [
      {
        ...facts,
        requestId: "",
        ts: 0,
        commands: ["camera.snap", "system.run"],
        requiredApproveScopes: ["operator.pairing", "operator.write", "operator.admin"],
      },
    ],
  );
  assert.deepEqual([approved?.["status"], approved?.["created"]], ["approved", false]);
  // Approved again is everything: the node loses nothing by an approval of what was asked for it.
  assert.deepEqual(requestOf(afterwards)["commands"], ["camera.snap", "system.run", "system.which"]);
});

test("nobody asks for what is no node, for more than a node may declare, silently, or as a device that manages itself alone", async () => {
  await using gw = await startGateway();
  const [key, operator] = [createWireKey(), createWireKey()];
  await using _ = await openNode(gw, key, { commands: Array.from({ length: 1_000 }, (_, index) => `command.${index}`) });
  const scopes = ["operator.pairing"];
  await using owner = await connectWire(gw.url, { key: operator, token: gw.token, scopes, protocol: 3 });
  const { deviceToken } = owner.hello["auth"] as { deviceToken: string };
  await using itself = await connectWire(gw.url, { key: operator, deviceToken, scopes, protocol: 3 });
  const before = await list(gw);
  const more = Array.from({ length: 30 }, (_, index) => `other.${index}`);

  const answers = [
    await owner.request("node.pair.request", { nodeId: "nobody" }),
    await owner.request("node.pair.request", { nodeId: operator.id, commands: ["system.run"] }),
    await owner.request("node.pair.request", { nodeId: key.id, commands: more }),
    await owner.request("node.pair.request", { nodeId: key.id, silent: true }),
    await itself.request("node.pair.request", { nodeId: key.id, commands: ["system.run"] }),
  ];

  assert.deepEqual(
    answers.map((answer) => answer.error?.message),
    [
      "unknown nodeId",
      "unknown nodeId",
      "a node has at most 256 caps and 1024 commands, what waits included",
      "not supported: silent",
      "node pairing request denied",
    ],
  );
  assert.deepEqual(await list(gw), before);
});

test("no token is one of node pairing, also not the node's own; version 4 has neither method and lists neither", async () => {
  await using gw = await startGateway();
  const key = createWireKey();
  await using node = await openNode(gw, key, camera);
  const { deviceToken } = node.hello["auth"] as { deviceToken: string };
  const admin = { key: createWireKey(), token: gw.token, scopes: ["operator.admin"] };
  await using v3 = await connectWire(gw.url, { ...admin, protocol: 3 });
  await using v4 = await connectWire(gw.url, { ...admin, protocol: 4 });
  const own = ["node.pair.request", "node.pair.verify"];

  const verdicts = [];
  for (const token of [deviceToken, gw.token, "guess"])
    verdicts.push((await v3.request("node.pair.verify", { nodeId: key.id, token })).payload);
  const unknown = await v4.request("node.pair.verify", { nodeId: key.id, token: deviceToken });

  assert.deepEqual(verdicts, [{ ok: false }, { ok: false }, { ok: false }]);
  assert.equal(unknown.error?.message, "unknown method: node.pair.verify");
  assert.deepEqual(
    [v3, v4].map((wire) => own.filter((name) => methodsOf(wire).includes(name))),
    [own, []],
  );
  assert.ok(methodsOf(v4).includes("node.pair.list"));
});

function requestOf(answer: Readonly<Record<string, unknown>> | undefined): Readonly<Record<string, unknown>> {
  return answer?.["request"] as Readonly<Record<string, unknown>>;
}

function methodsOf({ hello }: { readonly hello: Readonly<Record<string, unknown>> }): readonly string[] {
  return (hello["features"] as { readonly methods: readonly string[] }).methods;
}
