/** What every store driver must hold about exec approvals. */
import assert from "node:assert/strict";
import test from "node:test";
import { toAsk } from "../../packages/gateway/src/approvals/approval-ask.ts";
import { createIds } from "../../packages/gateway/src/kit/ids.ts";
import type { NewApproval } from "../../packages/gateway/src/store/approvals.ts";
import type { Actor } from "../../packages/gateway/src/store/device-management.ts";
import { openStoreFile } from "../../packages/gateway/src/store/sqlite.ts";
import type { Store } from "../../packages/gateway/src/store/store.ts";
import { pairingAsk } from "../support/pairing-ask.ts";

const drivers: Readonly<Record<string, () => Promise<Store>>> = { sqlite: () => openStoreFile(":memory:", createIds()) };

const owner = { id: "secret:local", scopes: ["operator.admin"], deviceId: undefined, ownDeviceOnly: false, maySee: () => true };
const device: Actor = { id: "device:d1", scopes: ["operator.approvals"], deviceId: "d1", ownDeviceOnly: false };

/** A store with the approved node `n1`, which runs programs. */
async function withNode(open: () => Promise<Store>): Promise<Store> {
  const store = await open();
  const facts = { clientId: "node-host", clientMode: "node", platform: "linux", version: "1", caps: [], permissions: {} };
  const absent = { displayName: undefined, deviceFamily: undefined, modelIdentifier: undefined };
  await store.devices.approveSilently(pairingAsk({ deviceId: "n1", role: "node", scopes: [] }), 1);
  const declared = await store.nodes.declare({ nodeId: "n1", commands: ["system.run"], ...facts, ...absent }, 1);
  assert.ok(declared.kind === "pending");
  await store.nodes.approve(declared.request.requestId, { ...owner, needs: () => [] }, 1);
  return store;
}

function newApproval(over: Partial<NewApproval> = {}): NewApproval {
  const { shown, binding, nodeId } = toAsk({ command: "make test" });
  return { id: "a1", requester: "device:asks", reviewers: [], shown, binding, nodeId, expiresAtMs: 100, ...over };
}

for (const [driver, open] of Object.entries(drivers)) {
  test(`${driver}: nothing is decided after its time, and what has expired is told once`, async () => {
    await using store = await open();
    await store.approvals.request(newApproval(), 1);
    await store.approvals.request(newApproval({ id: "a2", expiresAtMs: 200 }), 1);

    const late = await store.approvals.decide({ id: "a1", decision: "deny" }, owner, 100);
    const [first, second] = [await store.approvals.expire(100), await store.approvals.expire(100)];

    assert.deepEqual([late.kind, (await store.approvals.listPending(100)).map(({ id }) => id)], ["unknown", ["a2"]]);
    assert.deepEqual([first.expired.map(({ id }) => id), first.nextAtMs, second.expired], [["a1"], 200, []]);
    assert.equal((await store.approvals.decide({ id: "a2", decision: "deny" }, owner, 199)).kind, "decided");
  });

  test(`${driver}: a device that was removed or narrowed since decides nothing`, async () => {
    await using store = await open();
    const maySee = (): boolean => true;
    await store.approvals.request(newApproval(), 1);
    await store.devices.approveSilently(pairingAsk({ scopes: ["operator.read"] }), 1);
    const narrow = await store.approvals.decide({ id: "a1", decision: "deny" }, { ...device, maySee }, 2);
    await store.devices.remove("d1", owner, 3);
    const gone = await store.approvals.decide({ id: "a1", decision: "deny" }, { ...device, maySee }, 4);

    assert.deepEqual([narrow.kind, gone.kind], ["denied", "denied"]);
  });

  test(`${driver}: a beginning decides only where it is asked for, and only what it alone can mean`, async () => {
    await using store = await open();
    for (const id of ["Abcd-one", "abcd-two", "xyz", "xyz-long", "a_c", "hidden-1", "hidden-2", "old-1", "old-2"])
      await store.approvals.request(newApproval({ id }), 1);
    await store.approvals.cancel("old-1", 2);
    const maySee = ({ id }: { readonly id: string }): boolean => id !== "hidden-2";
    const decide = async (id: string, matchPrefix?: boolean) => {
      const outcome = await store.approvals.decide({ id, decision: "deny", matchPrefix }, { ...owner, maySee }, 3);
      return outcome.kind === "decided" ? outcome.approval.id : outcome.kind === "ambiguous" ? outcome.ids : outcome.kind;
    };

    assert.deepEqual([await decide("abcd-o"), await decide("abcd-o", false), await decide("bcd", true)], Array(3).fill("unknown"));
    assert.deepEqual(await decide("abcd", true), ["Abcd-one", "abcd-two"]);
    assert.deepEqual(
      [await decide("abcd-O", true), await decide("xyz", true), await decide("hidden", true)],
      ["Abcd-one", "xyz", "hidden-1"],
    );
    assert.deepEqual([await decide("hidden-2", true), await decide("a%", true), await decide("a_", true)], ["unknown", "unknown", "a_c"]);
    assert.deepEqual(
      [await decide("abcd", true), await decide("old", true)],
      [
        ["Abcd-one", "abcd-two"],
        ["old-1", "old-2"],
      ],
    );
    assert.deepEqual(
      (await store.audit.list(20)).flatMap(({ kind, subject }) => (kind === "approval.decided" ? [subject] : [])).toSorted(),
      ["Abcd-one", "a_c", "hidden-1", "xyz"],
    );
  });

  test(`${driver}: the first decision holds, by somebody else who sees it, and the same again changes nothing`, async () => {
    await using store = await open();
    await store.approvals.request(newApproval(), 1);
    const decide = (decision: string, by: Partial<Actor & { maySee: () => boolean }> = {}) =>
      store.approvals.decide({ id: "a1", decision }, { ...owner, ...by }, 2);

    const kinds = [
      await decide("allow-once", { maySee: () => false }),
      await decide("allow-once", { id: "device:asks" }),
      await decide("perhaps"),
      ...(await Promise.all([decide("deny"), decide("allow-once"), decide("deny")])),
    ].map(({ kind }) => kind);

    assert.deepEqual(kinds, ["unknown", "own-request", "not-offered", "decided", "already-decided", "repeated"]);
    assert.equal((await store.approvals.find("a1"))?.decision, "deny");
    assert.equal((await store.audit.list(10)).filter(({ kind }) => kind === "approval.decided").length, 1);
  });

  test(`${driver}: an approval is used once, in its time, for its effect, by whoever asked and only when it was allowed`, async () => {
    await using store = await withNode(open);
    const { binding } = newApproval();
    for (const [id, decision] of [
      ["a1", "allow-once"],
      ["denied", "deny"],
    ] as const) {
      await store.approvals.request(newApproval({ id }), 1);
      await store.approvals.decide({ id, decision }, owner, 2);
    }
    await store.approvals.request(newApproval({ id: "waits" }), 1);
    let keys = 0;
    const use = (approval: object, nowMs = 3) => {
      keys += 1;
      const ask = { principal: "device:asks", key: `k${keys}`, fingerprint: "f", nodeId: "n1", command: "system.run" };
      return store.nodeWork.beginInvocation({ ...ask, approval: { id: "a1", requester: "device:asks", binding, ...approval } }, nowMs);
    };

    const outcomes = [];
    for (const other of [{ binding: "x" }, { requester: "device:d2" }, { id: "denied" }, { id: "waits" }, { id: "nothing" }])
      outcomes.push(await use(other));
    outcomes.push(await use({}, 100), await use({}), await use({}));

    assert.deepEqual(outcomes, [...Array(6).fill("approval-unusable"), "begun", "approval-unusable"]);
  });

  test(`${driver}: what a device that is gone had asked for, or was allowed, stands no longer`, async () => {
    await using store = await open();
    await store.devices.approveSilently(pairingAsk(), 1);
    for (const id of ["waits", "allowed"]) await store.approvals.request(newApproval({ id, requester: "device:d1" }), 1);
    await store.approvals.decide({ id: "allowed", decision: "allow-once" }, owner, 2);

    await store.devices.remove("d1", owner, 3);

    const states = [await store.approvals.find("waits"), await store.approvals.find("allowed")].map((one) => one?.state);
    assert.deepEqual(states, ["cancelled", "cancelled"]);
  });

  test(`${driver}: an id stands for one request, as long as it is remembered`, async () => {
    await using store = await open();
    await store.approvals.request(newApproval(), 1);
    await store.approvals.decide({ id: "a1", decision: "allow-once" }, owner, 2);

    assert.equal(await store.approvals.request(newApproval({ expiresAtMs: 200 }), 3), "id-taken");
    const weekMs = 7 * 86_400_000;
    assert.equal(await store.approvals.request(newApproval({ expiresAtMs: weekMs * 2 }), weekMs + 3), "waits");
    assert.equal((await store.approvals.find("a1"))?.state, "pending");
  });
}
