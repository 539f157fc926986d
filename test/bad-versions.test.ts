/** Clients that mix up the versions, say what nobody knows, or do not wait: each gets the answer that the field deserves. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { encodeFrame, openRawPeer } from "./support/raw-peer.ts";
import { script } from "./support/script.ts";
import { startGateway, type TestGateway } from "./support/start-gateway.ts";
import { connectParams, connectWire, createWireKey, refusedConnect } from "./support/wire-client.ts";

const versions = [3, 4] as const;
let gw: TestGateway;

before(async () => (gw = await startGateway()));
after(() => gw[Symbol.asyncDispose]());

const connect = (protocol: 3 | 4, extra: object = {}) =>
  connectWire(gw.url, { key: createWireKey(), token: gw.token, scopes: ["operator.admin"], protocol, extra });

/** A field that one version alone has, sent over both: it does what it does in its own, or is refused by name. */
const fields: readonly (readonly [what: string, method: string, params: object, code: string | undefined])[] = [
  [
    "where a session stands (4)",
    "chat.history",
    { sessionKey: "main", agentId: "main", sessionId: "s", offset: 0, maxBytes: 4_096 },
    undefined,
  ],
  ["the agent of a message (4)", "chat.send", { sessionKey: "main", agentId: "main", message: "x", queueMode: "followup" }, undefined],
  ["a mode of running a job (4)", "cron.run", { id: "nope", mode: "if-enabled", expectedProcessInstanceId: "p" }, "CRON_JOB_CHANGED"],
  ["the session that is woken (4)", "wake", { mode: "next-heartbeat", text: "x", sessionKey: "agent:main:room" }, undefined],
  ["a page of sessions (4)", "sessions.subscribe", { limit: 1, includeDerivedTitles: true }, undefined],
  ["a device's reason (nobody's)", "sessions.list", { limit: 1, becauseOfTheVersion: 3 }, "INVALID_PARAMS"],
  ["a channel to answer in (3)", "chat.send", { sessionKey: "main", message: "x", originatingChannel: "sms" }, "NOT_SUPPORTED"],
  [
    "where a message comes from (3)",
    "chat.send",
    { sessionKey: "main", message: "x", systemInputProvenance: { kind: "internal_system" } },
    "NOT_ALLOWED",
  ],
  ["a provider beside the model (3)", "agent", { message: "x", provider: "openai" }, "NOT_SUPPORTED"],
  ["a lane (4)", "agent", { message: "x", lane: "fast" }, "NOT_ALLOWED"],
];

test("a field that only one version has is answered alike over both, and a field that none has is refused", async () => {
  await using three = await connect(3);
  await using four = await connect(4);

  for (const [what, method, params, code] of fields) {
    for (const [wire, name] of [
      [three, "three"],
      [four, "four"],
    ] as const) {
      const key = method === "chat.send" || method === "agent" ? { idempotencyKey: `${what} ${name}` } : {};
      const { ok, error } = await wire.request(method, { ...params, ...key });
      assert.deepEqual([ok, error?.details?.["code"]], [code === undefined, code], `${what}, version ${name}: ${error?.message}`);
    }
  }
});

for (const protocol of versions) {
  test(`a connect of version ${protocol} may say what only the other one has, and gains nothing by it`, async () => {
    const other = {
      3: { client: { buildId: "b1", timeZone: "Europe/Berlin" }, extra: { computerUse: {}, workerRuns: [], modelCatalog: {} } },
      4: { client: {}, extra: { pathEnv: "/bin", locale: "de", userAgent: "x" } },
    }[protocol];
    const ask = {
      key: createWireKey(),
      token: gw.token,
      scopes: ["operator.read"],
      protocol,
      layout: protocol === 3 ? "v3" : "v2",
    } as const;

    await using wire = await connectWire(gw.url, { ...ask, ...other });

    assert.equal(wire.hello["protocol"], protocol);
    assert.equal((await wire.request("health")).ok, true);
    assert.match((await wire.request("sessions.reset", { key: "main" })).error?.message ?? "", /missing scope: operator.admin/);
  });

  test(`a connect of version ${protocol} with a field that none has is refused by its name`, async () => {
    const { error, close } = await refusedConnect(gw.url, { token: gw.token, protocol, extra: { isAdmin: true } });

    assert.match(error.message, /unexpected property 'isAdmin'/);
    assert.equal(close.code, 1008);
  });

  test(`capabilities that nobody knows are taken and open nothing (version ${protocol})`, async () => {
    const caps = ["tool-events", "no-such-thing", "operator.admin", "__proto__", "constructor"];
    await using wire = await connectWire(gw.url, {
      key: createWireKey(),
      token: gw.token,
      scopes: ["operator.write"],
      protocol,
      extra: { caps },
    });
    const runId = `caps ${protocol}`;

    await wire.request("agent", {
      message: script("go", { call: [{ tool: "ls", args: {} }] }, { say: "ok" }),
      idempotencyKey: runId,
      sessionKey: runId,
    });
    await wire.frame(({ event, payload }) => event === "agent" && payload?.["runId"] === runId && payload["stream"] === "tool");
    const denied = await wire.request("cron.add", {});

    assert.match(denied.error?.message ?? "", /missing scope: operator.admin/);
    const tooMany = await refusedConnect(gw.url, {
      token: gw.token,
      protocol,
      extra: { caps: Array.from({ length: 257 }, (_, i) => `c${i}`) },
    });
    assert.match(tooMany.error.message, /caps/);
  });

  for (const count of [15, 16]) {
    test(`${count} frames pipelined before the hello are ${count === 15 ? "answered after it, in order" : "too many"} (version ${protocol})`, async () => {
      const peer = await openRawPeer(gw.url);
      assert.ok(peer !== undefined);
      const nonce = String(peer.frames[0]?.payload?.["nonce"]);
      const ask = { key: createWireKey(), token: gw.token, scopes: ["operator.read"], protocol };
      const first = { type: "req", id: "connect", method: "connect", params: connectParams({ nonce }, ask) };
      const rest = Array.from({ length: count }, (_, index) => ({ type: "req", id: `r${index}`, method: "sessions.list", params: {} }));

      // In one packet: the gateway has read them all before it knows who asks.
      peer.write(Buffer.concat([first, ...rest].map((frame) => encodeFrame(Buffer.from(JSON.stringify(frame))))));
      const answers = () => peer.frames.flatMap((frame) => (frame.type === "res" ? [[frame.id, frame.ok]] : []));
      if (count === 16) assert.equal(await peer.closed, 1008);
      else while (answers().length < 16) await new Promise(setImmediate);
      peer.destroy();

      const expected = [["connect", true], ...rest.map(({ id }) => [id, true])];
      assert.deepEqual(answers(), count === 15 ? expected : []);
    });
  }
}

test("after all of it the next client is served, and nothing that was acknowledged is lost", async () => {
  await using wire = await connect(4);

  const { payload } = await wire.request("chat.history", { sessionKey: "main" });

  assert.match(JSON.stringify(payload?.["messages"]), /"x"/);
  assert.equal((await wire.request("health")).ok, true);
});
