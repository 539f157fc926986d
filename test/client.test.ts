/** The client package against a real gateway. */
import assert from "node:assert/strict";
import test from "node:test";
import { type ConnectCall, createConnectCall, createDeviceKey, type DeviceKey, GatewayClient, spawnByCalls } from "@portreeve/client";
import type { EventPayload } from "@portreeve/protocol";
import { script } from "./support/script.ts";
import { startGateway, type TestGateway } from "./support/start-gateway.ts";

const info = { id: "gateway-client", mode: "backend", version: "1.0.0", platform: "linux" } as const;

function open(gateway: TestGateway, device: DeviceKey, scopes: readonly string[], protocol: 3 | 4 = 4): Promise<GatewayClient> {
  return GatewayClient.open({
    url: gateway.url,
    client: info,
    device,
    protocol: { min: protocol, max: protocol },
    reconnect: false,
    present: () => ({ scopes, credential: { kind: "secret", value: gateway.token } }),
  });
}

/** Calls of one device over connections of their own, and what each asked for. */
function recordedCalls(
  gateway: TestGateway,
  device: DeviceKey,
): { call: ConnectCall; asked: [method: string, scopes: readonly string[] | undefined][] } {
  const asked: [string, readonly string[] | undefined][] = [];
  const connectCall = createConnectCall({
    url: gateway.url,
    client: info,
    device,
    credential: () => ({ kind: "secret", value: gateway.token }),
  });
  return {
    asked,
    call: (call) => {
      asked.push([call.method, call.scopes]);
      return connectCall(call);
    },
  };
}

for (const protocol of [3, 4] as const) {
  test(`protocol ${protocol}: a call, its events in order and its two answers`, async () => {
    await using gateway = await startGateway();
    using client = await open(gateway, createDeviceKey(), ["operator.write"], protocol);
    const states: string[] = [];
    const seqs: number[] = [];
    using _listening = client.on("chat", (event: EventPayload<"chat">) => {
      states.push(event.state);
      seqs.push(event.seq);
    });
    const accepted: string[] = [];

    const { status, result } = await client.call(
      "agent",
      { message: script("x", { say: "hello there" }), idempotencyKey: "k" },
      { onAccepted: ({ runId }) => accepted.push(runId) },
    );

    assert.equal(client.hello.protocol, protocol);
    assert.deepEqual([accepted, status], [["k"], "ok"]);
    assert.match(result.payloads[0]?.text ?? "", /^hello there/);
    assert.equal(states.at(-1), "final");
    assert.deepEqual(
      seqs,
      seqs.toSorted((a, b) => a - b),
    );
  });
}

test("the lifecycle as calls starts a child with admin for admin-only methods and least privilege for the launch", async () => {
  await using gateway = await startGateway();
  const device = createDeviceKey();
  using _paired = await open(gateway, device, ["operator.admin"]);
  const { call, asked } = recordedCalls(gateway, device);

  const outcome = await spawnByCalls(call, {
    task: "hello",
    parent: { sessionKey: "agent:main:main", depth: 0 },
    agentId: "main",
    role: "leaf",
    label: "by calls",
    childId: "c1",
  });

  assert.equal(outcome.status, "accepted");
  assert.deepEqual(asked, [
    ["sessions.patch", ["operator.admin"]],
    ["agent", undefined],
  ]);
  const run = await gateway.gateway.store.runs.findByWireId("c1", {});
  assert.deepEqual([run?.authority.scopes, run?.authority.owner, run?.authority.depth], [["operator.write"], false, 1]);
  const session = await gateway.gateway.store.sessions.find("agent:main:subagent:c1");
  assert.deepEqual([session?.parentKey, session?.depth, session?.role, session?.label], ["agent:main:main", 1, "leaf", "by calls"]);
});

test("explicit scopes of the lifecycle win exactly: an empty set is refused and leaves nothing", async () => {
  await using gateway = await startGateway();
  const device = createDeviceKey();
  using _paired = await open(gateway, device, ["operator.admin"]);
  const { call, asked } = recordedCalls(gateway, device);

  const outcome = await spawnByCalls(call, {
    task: "hello",
    parent: { sessionKey: "agent:main:main", depth: 0 },
    agentId: "main",
    role: "leaf",
    scopes: [],
  });

  assert.equal(outcome.status, "error");
  assert.deepEqual(outcome.status === "error" && [outcome.failed, outcome.task, outcome.kept], ["sessions.patch", "not-sent", "nothing"]);
  assert.deepEqual(asked, [["sessions.patch", []]]);
  assert.equal(await gateway.gateway.store.sessions.count(), 0);
});

test("a launch that fails takes the child's session away again", async () => {
  await using gateway = await startGateway();
  const device = createDeviceKey();
  using _paired = await open(gateway, device, ["operator.admin"]);
  const { call, asked } = recordedCalls(gateway, device);

  const outcome = await spawnByCalls(call, {
    task: "x".repeat(1_000_001),
    parent: { sessionKey: "agent:main:main", depth: 0 },
    agentId: "main",
    role: "leaf",
  });

  assert.deepEqual(outcome.status === "error" && [outcome.failed, outcome.task, outcome.kept], ["agent", "not-sent", "nothing"]);
  assert.deepEqual(asked.at(-1), ["sessions.delete", ["operator.admin"]]);
  assert.equal(await gateway.gateway.store.sessions.count(), 0);
});

test("a client whose gateway restarts is connected again and can call", async () => {
  await using gateway = await startGateway();
  const reopened = Promise.withResolvers<void>();
  let opens = 0;
  let url = gateway.url;
  using client = await GatewayClient.open({
    get url() {
      return url;
    },
    client: info,
    device: createDeviceKey(),
    reconnect: { minDelayMs: 1, maxDelayMs: 10 },
    present: () => ({ scopes: ["operator.read"], credential: { kind: "secret", value: gateway.token } }),
    onOpen: () => {
      opens += 1;
      if (opens === 2) reopened.resolve();
    },
  });

  await gateway.restart();
  url = gateway.url;
  await reopened.promise;

  assert.equal((await client.call("status", {})).connections.accepted, 1);
});
