/** What operators see of runs, and decide about their results: for every store driver. */
import assert from "node:assert/strict";
import test from "node:test";
import { createIds } from "../../packages/gateway/src/kit/ids.ts";
import type { RunDetails } from "../../packages/gateway/src/store/run-views.ts";
import { openStoreFile } from "../../packages/gateway/src/store/sqlite.ts";
import type { Claimer } from "../../packages/gateway/src/store/claimer.ts";
import type { Claim, Ending, Store } from "../../packages/gateway/src/store/store.ts";
import { claimer as ordinaryClaimer } from "../support/stored-runs.ts";

const drivers: Readonly<Record<string, () => Promise<Store>>> = { sqlite: () => openStoreFile(":memory:", createIds()) };

const main = "agent:main:main";
const claimer: Claimer = { ...ordinaryClaimer, quote: () => "results" };
const done: Ending = { outcome: "succeeded", text: "result", error: undefined, stopReason: "stop" };
const failed: Ending = { outcome: "failed", text: "", error: "no model", stopReason: "auth" };
const everything = { rootKey: undefined };

async function admit(store: Store, wireId: string, nowMs: number, sessionKey = main): Promise<void> {
  const authority = { scopes: ["operator.write"], owner: false, depth: 0 };
  const admission = await store.runs.admit(
    {
      sessionKey,
      agentId: "main",
      wireId,
      input: "hello",
      label: undefined,
      defaultModel: "scripted/scripted",
      authority,
      startedBy: "device:a",
      timeoutMs: undefined,
      paramsHash: "h",
      queueMode: "followup",
    },
    nowMs,
  );
  assert.equal(admission.kind, "admitted");
}

async function spawn(store: Store, parent: Claim, label: string, cleanup: "keep" | "delete" = "keep"): Promise<string> {
  const outcome = await store.runs.spawn(
    {
      parentSessionKey: parent.run.sessionKey,
      parentAgentId: "main",
      parentRunId: parent.run.runId,
      agentId: "main",
      task: "look",
      label,
      model: undefined,
      defaultModel: "scripted/scripted",
      authority: { scopes: ["operator.write"] },
      terms: {},
      spawnedBy: `run:${parent.run.runId}`,
      timeoutMs: undefined,
      cleanup,
      idempotencyKey: label,
      paramsHash: "h",
      limits: { maxSpawnDepth: 5, maxChildrenPerAgent: 5 },
    },
    3,
  );
  return outcome.kind === "accepted" ? outcome.run.runId : assert.fail(outcome.kind);
}

async function claim(store: Store, nowMs: number): Promise<readonly Claim[]> {
  return (await store.runs.claim(claimer, () => nowMs)).claims;
}

async function claimOne(store: Store, nowMs: number): Promise<Claim> {
  const [only, ...rest] = await claim(store, nowMs);
  assert.equal(rest.length, 0);
  return only ?? assert.fail("nothing can be claimed");
}

async function get(store: Store, id: string): Promise<RunDetails> {
  return (await store.runViews.find(id, everything)) ?? assert.fail(`no run ${id}`);
}

/** A child that has ended, whose parent was cancelled before it read the result. */
async function blockedChild(store: Store, cleanup: "keep" | "delete" = "keep"): Promise<string> {
  await admit(store, "k1", 1);
  const parent = await claimOne(store, 2);
  const childId = await spawn(store, parent, "c1", cleanup);
  const child = await claimOne(store, 4);
  await store.runs.end(child.run.runId, child.epoch, done, [], 5);
  await store.runs.cancel({ sessionKey: main }, new Map(), 6);
  return childId;
}

for (const [driver, open] of Object.entries(drivers)) {
  test(`${driver}: runs are listed newest first, page after page, each exactly once`, async () => {
    await using store = await open();
    // Two of the same time: the order must not depend on it.
    for (const [index, atMs] of [1, 2, 2, 3].entries()) await admit(store, `k${index}`, atMs);

    const seen: string[] = [];
    for (let after: { createdAtMs: number; runId: string } | undefined, left = 9; left > 0; left -= 1) {
      const [view] = await store.runViews.list({ ...everything, limit: 1, after });
      if (view === undefined) break;
      seen.push(view.run.wireId);
      after = view.run;
    }

    assert.deepEqual(seen, ["k3", "k2", "k1", "k0"]);
  });

  test(`${driver}: a run of another tree is neither listed nor found, by whatever id`, async () => {
    await using store = await open();
    await admit(store, "k1", 1);
    await admit(store, "k2", 2, "agent:main:other");
    const other = await get(store, "k2");

    const listed = await store.runViews.list({ rootKey: main, limit: 9 });
    const found = await Promise.all([other.run.runId, "k2"].map((id) => store.runViews.find(id, { rootKey: main })));

    assert.deepEqual(
      listed.map(({ run }) => run.wireId),
      ["k1"],
    );
    assert.deepEqual(found, [undefined, undefined]);
  });

  test(`${driver}: what a run waits for is named: the session's run, a slot, its open children`, async () => {
    await using store = await open();
    await admit(store, "k1", 1);
    await admit(store, "k2", 1);
    const parent = await claimOne(store, 2);
    const childId = await spawn(store, parent, "c1");
    const before = [await get(store, "k1"), await get(store, "k2"), await get(store, childId)];
    await store.runs.park(parent.run.runId, parent.epoch, 0, 4);

    assert.deepEqual(
      before.map(({ waitsFor }) => waitsFor),
      [undefined, { kind: "session", runId: parent.run.runId }, { kind: "slot" }],
    );
    assert.deepEqual((await get(store, "k1")).waitsFor, { kind: "children", runIds: [childId] });
    assert.deepEqual((await get(store, "k1")).children, { total: 1, open: 1 });
  });

  test(`${driver}: a run is told with its causes, attempts and the ways its result took`, async () => {
    await using store = await open();
    await admit(store, "k1", 1);
    const parent = await claimOne(store, 2);
    const childId = await spawn(store, parent, "c1");
    const child = await claimOne(store, 4);
    const error = { kind: "model-error", errorKind: "overloaded", message: "busy", retryable: true, retryAtMs: 5, partial: "" } as const;
    await store.runs.append(child.run.runId, child.epoch, [error], [], 5);
    await store.runs.end(child.run.runId, child.epoch, done, [], 6);

    const told = await get(store, childId);

    assert.deepEqual(
      told.ancestors.map(({ run }) => run.wireId),
      ["k1"],
    );
    assert.deepEqual(told.attempts, {
      claims: 1,
      modelCalls: 1,
      toolCalls: 0,
      failures: [{ atMs: 5, errorKind: "overloaded", message: "busy" }],
    });
    assert.deepEqual([told.delivery.status, told.delivery.readBy], ["pending", parent.run.runId]);
    assert.deepEqual(
      told.deliveries.map(({ generation, state, toSessionKey }) => [generation, state, toSessionKey]),
      [[1, "unread", main]],
    );
  });

  test(`${driver}: a tree holds every descendant, parents first, and says when it was cut`, async () => {
    await using store = await open();
    await admit(store, "k1", 1);
    const parent = await claimOne(store, 2);
    await spawn(store, parent, "c1");
    const child = await claimOne(store, 4);
    await spawn(store, child, "g1");

    const whole = await store.runViews.listTree(parent.run.runId, 9);
    const cut = await store.runViews.listTree(parent.run.runId, 2);

    assert.deepEqual([whole.runs.map(({ run }) => run.label ?? run.wireId), whole.isCut], [["k1", "c1", "g1"], false]);
    assert.deepEqual([cut.runs.map(({ run }) => run.label ?? run.wireId), cut.isCut], [["k1", "c1"], true]);
  });

  test(`${driver}: what was delegated is found by run or session however deep, and nothing above or beside it`, async () => {
    await using store = await open();
    await admit(store, "k1", 1);
    const parent = await claimOne(store, 2);
    const childId = await spawn(store, parent, "c1");
    const child = await claimOne(store, 4);
    const grandchildId = await spawn(store, child, "g1");
    await admit(store, "k2", 5, child.run.sessionKey);
    const message = await get(store, "k2");
    await admit(store, "k3", 6, "agent:main:other");
    const other = await get(store, "k3");
    const ids = [childId, grandchildId, child.run.sessionKey, message.run.runId, parent.run.runId, main, other.run.runId, "nothing"];

    const fromTop = await Promise.all(ids.map((id) => store.runViews.findBelow(main, id)));
    const fromChild = await Promise.all(ids.map((id) => store.runViews.findBelow(child.run.sessionKey, id)));

    assert.deepEqual(
      fromTop.map((view) => view?.run.label ?? view?.run.wireId),
      ["c1", "g1", "k2", "k2", undefined, undefined, undefined, undefined],
    );
    assert.deepEqual(
      fromChild.map((view) => view?.run.label),
      [undefined, "g1", undefined, undefined, undefined, undefined, undefined, undefined],
    );
  });

  test(`${driver}: a run that is at work is listed before those that have ended, however many came after it`, async () => {
    await using store = await open();
    await admit(store, "k1", 1);
    const parent = await claimOne(store, 2);
    for (const label of ["c1", "c2", "c3"]) await spawn(store, parent, label);
    const claims = await claim(store, 4);
    for (const { run, epoch } of claims.filter((one) => one.run.label !== "c1")) await store.runs.end(run.runId, epoch, done, [], 5);

    const listed = await Promise.all((["children", "all"] as const).map((depth) => store.runViews.listBelow(main, { depth, limit: 2 })));

    assert.deepEqual(
      listed.map((views) => views.map(({ run }) => run.label)),
      Array<unknown>(2).fill(["c3", "c1"]),
    );
  });

  test(`${driver}: what is cancelled below a session is all below it, also below what has ended, and nothing in it or beside it`, async () => {
    await using store = await open();
    await admit(store, "k1", 1);
    await admit(store, "k2", 1, "agent:main:other");
    const [parent = assert.fail(), other = assert.fail()] = await claim(store, 2);
    await spawn(store, parent, "c1");
    const child = await claimOne(store, 4);
    await spawn(store, child, "g1");
    await spawn(store, other, "o1");
    await store.runs.end(child.run.runId, child.epoch, done, [], 5);
    await spawn(store, parent, "c2");

    const cancelled = await store.runs.cancel({ belowSessionKey: main }, new Map(), 6);
    const again = await store.runs.cancel({ belowSessionKey: main }, new Map(), 7);

    assert.deepEqual([cancelled.map(({ label }) => label), again], [["c2", "g1"], []]);
    // The parent goes on, and is told; what has ended is not woken by what was stopped below it.
    assert.equal((await store.runs.openChildren(parent.run.runId)).unread, 2);
    assert.equal((await store.runs.openChildren(other.run.runId)).open, 1);
    assert.deepEqual(
      (await claim(store, 8)).map(({ run }) => run.label),
      ["o1"],
    );
  });

  test(`${driver}: a result that was left unread is delivered again in a turn of its own, exactly once`, async () => {
    await using store = await open();
    const childId = await blockedChild(store);
    const undelivered = await store.runViews.list({ ...everything, limit: 9, undelivered: true });

    const before = await get(store, childId);
    const outcomes = await Promise.all([1, 2].map(() => store.runViews.retryDelivery(childId, "device:a", 7)));
    const announce = await claimOne(store, 8);
    await store.runs.end(announce.run.runId, announce.epoch, done, [], 9);
    const after = await get(store, childId);

    assert.deepEqual(
      undelivered.map(({ run }) => run.runId),
      [childId],
    );
    assert.equal(before.delivery.status, "blocked");
    assert.deepEqual(
      outcomes.map(({ kind }) => kind),
      ["done", "settled"],
    );
    assert.deepEqual(
      announce.consumed.map(({ text }) => text),
      ["result"],
    );
    assert.deepEqual(
      after.deliveries.map(({ generation, state, readBy, closedBy }) => [generation, state, readBy, closedBy]),
      [
        [1, "superseded", undefined, "device:a"],
        [2, "read", announce.run.runId, undefined],
      ],
    );
    assert.equal(after.delivery.status, "delivered");
    assert.deepEqual(await claim(store, 10), []);
  });

  test(`${driver}: a result whose turn failed can be delivered again, one that is under way or has counted can not`, async () => {
    await using store = await open();
    await admit(store, "k1", 1);
    const parent = await claimOne(store, 2);
    const childId = await spawn(store, parent, "c1");
    const child = await claimOne(store, 3);
    await store.runs.park(parent.run.runId, parent.epoch, 0, 4);
    await store.runs.end(child.run.runId, child.epoch, done, [], 5);

    const pending = await store.runViews.retryDelivery(childId, "device:a", 6);
    const woken = await claimOne(store, 7);
    const reading = await store.runViews.retryDelivery(childId, "device:a", 8);
    await store.runs.end(woken.run.runId, woken.epoch, failed, [], 9);
    const unconfirmed = await get(store, childId);
    const again = await store.runViews.retryDelivery(childId, "device:a", 10);
    const announce = await claimOne(store, 11);

    assert.deepEqual(pending, { kind: "settled", status: "pending", readBy: parent.run.runId });
    assert.deepEqual(reading, { kind: "settled", status: "delivered", readBy: parent.run.runId });
    assert.equal(unconfirmed.delivery.status, "unconfirmed");
    assert.equal(again.kind === "done" && again.generation, 2);
    assert.notEqual(announce.run.runId, parent.run.runId);
    assert.equal(announce.consumed.length, 1);
  });

  test(`${driver}: a dismissed result is never read, and both decisions are audited`, async () => {
    await using store = await open();
    const childId = await blockedChild(store);
    await store.runViews.retryDelivery(childId, "device:a", 7);
    const announce = await claimOne(store, 8);
    await store.runs.end(announce.run.runId, announce.epoch, failed, [], 9);

    const dismissed = await store.runViews.dismissDelivery(childId, "device:b", 10);
    const late = await store.runViews.retryDelivery(childId, "device:a", 11);
    await store.runs.ensureDelivery(12);

    assert.deepEqual([dismissed.kind, late.kind], ["done", "settled"]);
    assert.equal((await get(store, childId)).delivery.status, "dismissed");
    assert.deepEqual(await claim(store, 13), []);
    assert.deepEqual(
      (await store.audit.list(9, { subject: childId })).map(({ kind, actor }) => [kind, actor]),
      [
        ["run.spawned", `run:${(await get(store, "k1")).run.runId}`],
        ["result.redelivered", "device:a"],
        ["result.dismissed", "device:b"],
      ],
    );
  });

  test(`${driver}: what a cancelled announcement was to read stays unread and visible, and the session goes on`, async () => {
    await using store = await open();
    await admit(store, "k1", 1);
    const parent = await claimOne(store, 2);
    const childId = await spawn(store, parent, "c1");
    const child = await claimOne(store, 3);
    await store.runs.end(child.run.runId, child.epoch, done, [], 4);
    await store.runs.end(parent.run.runId, parent.epoch, done, [], 5);
    const waiting = await get(store, childId);
    await store.runs.cancel({ sessionKey: main }, new Map(), 6);
    await admit(store, "k2", 7);
    const next = await claimOne(store, 8);

    const ended = await store.runs.end(next.run.runId, next.epoch, done, [], 9);

    assert.equal(waiting.delivery.status, "pending");
    assert.equal(ended.kind, "ended");
    assert.equal((await get(store, childId)).delivery.status, "blocked");
    assert.deepEqual(await claim(store, 10), []);
  });

  test(`${driver}: the session of a result that reached nobody is neither archived nor deleted until somebody has decided`, async () => {
    for (const cleanup of ["keep", "delete"] as const) {
      await using store = await open();
      const childId = await blockedChild(store, cleanup);
      const { sessionKey } = (await get(store, childId)).run;
      const leaving = async (nowMs: number): Promise<unknown> => [
        await store.sessions.listToCleanUp(),
        await store.sessions.archiveChildren(nowMs - 1, nowMs),
      ];

      const blocked = await leaving(10);
      await store.runViews.retryDelivery(childId, "device:a", 11);
      const pending = await leaving(12);
      const announce = await claimOne(store, 13);
      await store.runs.end(announce.run.runId, announce.epoch, failed, [], 14);
      const unconfirmed = await leaving(15);
      await store.runViews.dismissDelivery(childId, "device:a", 16);
      const dismissed = await leaving(17);

      assert.deepEqual([blocked, pending, unconfirmed], Array<unknown>(3).fill([[], []]));
      assert.deepEqual(dismissed, [cleanup === "delete" ? [sessionKey] : [], [sessionKey]]);
    }
  });

  test(`${driver}: a cancel by the run's own id leaves another caller's run of the same name alone`, async () => {
    await using store = await open();
    await admit(store, "k1", 1);
    const first = await get(store, "k1");
    await admit(store, "k2", 2);

    const cancelled = await store.runs.cancel({ sessionKey: main, runId: first.run.runId }, new Map(), 3);

    assert.deepEqual(
      cancelled.map(({ wireId }) => wireId),
      ["k1"],
    );
  });
}
