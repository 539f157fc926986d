/** Requests sent back to back on one connection, without waiting for the answers between. */
import assert from "node:assert/strict";
import test, { after } from "node:test";
import { script } from "./support/script.ts";
import { startGateway } from "./support/start-gateway.ts";
import { connectWire, createWireKey, type Frame, type Wire } from "./support/wire-client.ts";

const gw = await startGateway();
after(() => gw[Symbol.asyncDispose]());

const scopes = ["operator.read", "operator.write"];
const hanging = script("wait", { hang: true });

function connect(protocol: 3 | 4): Promise<Wire> {
  return connectWire(gw.url, { key: createWireKey(), scopes, token: gw.token, protocol });
}

/** All at once; answers the first answer to each. */
function pipeline(wire: Wire, name: string, requests: readonly (readonly [method: string, params: object])[]): Promise<Frame[]> {
  for (const [index, [method, params]] of requests.entries()) wire.send({ type: "req", id: `${name}-${index}`, method, params });
  return Promise.all(requests.map((_, index) => wire.frame(({ id }) => id === `${name}-${index}`)));
}

test("a run that another device named the same is not stopped with the caller's own; without an own one it is meant", async () => {
  await using one = await connect(4);
  await using other = await connect(4);
  const send = (wire: Wire, message: string) => wire.request("chat.send", { sessionKey: "shared", message, idempotencyKey: "same" });
  const abort = async (wire: Wire) => (await wire.request("chat.abort", { sessionKey: "shared", runId: "same" })).payload?.["runIds"];
  const left = async (): Promise<unknown> => {
    const { payload } = await one.request("runs.list", { sessionKey: "shared", status: ["running", "queued"] });
    return (payload?.["runs"] as object[] | undefined)?.length;
  };
  await send(one, hanging);
  await send(other, script("wait as well", { hang: true }));

  const steps = [await left(), await abort(one), await left(), await abort(one), await left()];
  await using third = await connect(4);
  const last = [await abort(third), await left()];

  assert.deepEqual(steps, [2, ["same"], 1, [], 1]);
  assert.deepEqual(last, [["same"], 0]);
});

test("a wait for a run that is not there yet waits for it to come, as long as it may", async () => {
  await using wire = await connect(4);

  const [early, , behind, never] = await pipeline(wire, "waits", [
    ["agent.wait", { runId: "to-come", timeoutMs: 60_000 }],
    ["agent", { sessionKey: "waited", message: script("go", { say: "done" }), idempotencyKey: "to-come" }],
    ["agent.wait", { runId: "to-come", timeoutMs: 60_000 }],
    ["agent.wait", { runId: "never", timeoutMs: 1 }],
  ]);

  assert.deepEqual(
    [early, behind, never].map((one) => one?.payload?.["status"]),
    ["ok", "ok", "timeout"],
  );
});

for (const protocol of [3, 4] as const) {
  test(`an abort finds every message that was sent before it, and none that was sent after it (version ${protocol})`, async () => {
    await using wire = await connect(protocol);
    for (const [method, key] of [
      ["chat.send", "sessionKey"],
      ["agent", "sessionKey"],
      ["sessions.send", "key"],
    ] as const) {
      const [name, at] = [`${method.replace(".", "-")}-${protocol}`, (id: string) => `${name}-${id}`];
      await wire.request("sessions.patch", { key: name, label: name });
      const say = (id: string, message: string) => [method, { [key]: name, message, idempotencyKey: at(id) }] as const;

      const [, , aborted, , after] = await pipeline(wire, name, [
        say("one", hanging),
        say("two", hanging),
        ["chat.abort", { sessionKey: name }],
        say("three", script("go on", { say: "done" })),
        ["chat.abort", { sessionKey: name, runId: at("one") }],
      ]);

      assert.deepEqual([aborted?.payload?.["aborted"], aborted?.payload?.["runIds"]], [true, [at("one"), at("two")]], method);
      assert.equal(after?.payload?.["aborted"], false);
      const { payload } = await wire.request("agent.wait", { runId: at("three") });
      assert.equal(payload?.["status"], "ok", method);
    }
  });

  test(`one run that was sent just before can be stopped by its id (version ${protocol})`, async () => {
    await using wire = await connect(protocol);
    const key = `named-${protocol}`;
    await wire.request("sessions.patch", { key, label: key });

    const [, chat, , session] = await pipeline(wire, key, [
      ["chat.send", { sessionKey: key, message: hanging, idempotencyKey: `${key}-1` }],
      ["chat.abort", { sessionKey: key, runId: `${key}-1` }],
      ["chat.send", { sessionKey: key, message: hanging, idempotencyKey: `${key}-2` }],
      ["sessions.abort", { key, runId: `${key}-2` }],
    ]);

    assert.deepEqual(chat?.payload, { ok: true, aborted: true, runIds: [`${key}-1`] });
    assert.equal(session?.payload?.["abortedRunId"], `${key}-2`);
  });
}
