/** What a device started ends with its authority: when it is removed or revoked, before the answer, and for good. */
import assert from "node:assert/strict";
import test from "node:test";
import { script, spawnStep, type Step } from "./support/script.ts";
import { startGateway, type TestGateway } from "./support/start-gateway.ts";
import { connectWire, createWireKey, type WireKey } from "./support/wire-client.ts";

/** A run with a child that never ends, which has a child like it. */
const family = script("go", { call: [spawnStep("child", ...childSteps())] }, { awaitChildren: true }, { say: "{{children}}" });
/** A run that leaves its child behind. */
const leavesChild = script("go", { call: [spawnStep("orphan", { hang: true })] }, { say: "gone" });

function childSteps(): readonly Step[] {
  return [{ call: [spawnStep("grandchild", { hang: true })] }, { awaitChildren: true }, { say: "never" }];
}

async function pairAndStart(gw: TestGateway, message: string): Promise<WireKey> {
  const key = createWireKey();
  await using wire = await connectWire(gw.url, { key, token: gw.token, scopes: ["operator.write"] });
  const answer = await wire.request("agent", { message, idempotencyKey: key.id, sessionKey: `agent:main:${key.id.slice(0, 8)}` });
  assert.equal(answer.payload?.["status"], "accepted");
  return key;
}

/** Resolves once so many runs were started in all. */
async function started(gw: TestGateway, count: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const look = async (): Promise<void> => {
    const { byStatus } = await gw.gateway.store.runs.counts();
    if (Object.entries(byStatus).reduce((sum, [status, n]) => sum + (status === "queued" ? 0 : n), 0) >= count) resolve();
  };
  using _ = gw.gateway.bus.subscribe("agent", () => void look());
  await look();
  await promise;
}

const statuses = async (gw: TestGateway) => (await gw.gateway.store.runs.counts()).byStatus;
const operator = (gw: TestGateway) => gw.callerWith("operator.admin");

for (const [what, end] of Object.entries({
  "is removed": (gw: TestGateway, deviceId: string) => operator(gw).call("device.pair.remove", { deviceId }),
  "has its operator role revoked": (gw: TestGateway, deviceId: string) =>
    operator(gw).call("device.token.revoke", { deviceId, role: "operator" }),
})) {
  test(`when a device ${what}, its runs and all below them are cancelled before the answer, and nobody else's`, async () => {
    await using gw = await startGateway();
    const theirs = await pairAndStart(gw, script("stay", { hang: true }));
    const key = await pairAndStart(gw, family);
    await started(gw, 4);

    const answer = await end(gw, key.id);
    const after = await statuses(gw);
    const audited = (await gw.gateway.store.audit.list(10)).find(({ kind }) => kind === "runs.cancelled");
    await gw.restart();
    const wait = await operator(gw).call("agent.wait", { runId: theirs.id, timeoutMs: 1 });

    assert.equal(answer.cancelledRuns, 3);
    assert.deepEqual(after, { running: 1, cancelled: 3 });
    assert.deepEqual([audited?.subject, audited?.facts], [`device:${key.id}`, { runs: 3 }]);
    assert.equal(wait.status, "timeout");
    assert.equal((await statuses(gw))["cancelled"], 3);
  });
}

test("a child that outlived its run goes with the device too, and no run is made to tell of it", async () => {
  await using gw = await startGateway();
  const key = await pairAndStart(gw, leavesChild);
  await operator(gw).call("agent.wait", { runId: key.id });
  await started(gw, 2);

  const { cancelledRuns } = await operator(gw).call("device.pair.remove", { deviceId: key.id });
  await gw.restart();

  assert.equal(cancelledRuns, 1);
  assert.deepEqual(await statuses(gw), { succeeded: 1, cancelled: 1 });
});

test("a new token cancels nothing", async () => {
  await using gw = await startGateway();
  const key = await pairAndStart(gw, family);
  await started(gw, 3);

  await operator(gw).call("device.token.rotate", { deviceId: key.id, role: "operator" });

  assert.equal((await statuses(gw))["cancelled"], undefined);
});

test("a gateway that stopped between the removal and its answer cancels at the start", async () => {
  await using gw = await startGateway();
  const key = await pairAndStart(gw, family);
  await started(gw, 3);
  const by = { id: "owner", scopes: ["operator.admin"], deviceId: undefined, ownDeviceOnly: false };
  assert.equal((await gw.gateway.store.devices.remove(key.id, by, Date.now())).kind, "removed");

  await gw.restart();

  assert.deepEqual(await statuses(gw), { cancelled: 3 });
});
