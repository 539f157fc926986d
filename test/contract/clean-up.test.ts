/** When children's sessions go, or are archived: for every store driver. */
import assert from "node:assert/strict";
import test from "node:test";
import { createIds } from "../../packages/gateway/src/kit/ids.ts";
import { openStoreFile } from "../../packages/gateway/src/store/sqlite.ts";
import type { Claim, Store } from "../../packages/gateway/src/store/store.ts";
import { childOf, claimer, endedWell, runToAdmit } from "../support/stored-runs.ts";

const drivers: Readonly<Record<string, () => Promise<Store>>> = { sqlite: () => openStoreFile(":memory:", createIds()) };

async function claimOne(store: Store, nowMs: number): Promise<Claim> {
  const [only, ...rest] = (await store.runs.claim(claimer, () => nowMs)).claims;
  assert.equal(rest.length, 0);
  return only ?? assert.fail("nothing can be claimed");
}

async function spawn(store: Store, parent: Claim, over: Parameters<typeof childOf>[1], nowMs: number): Promise<Claim> {
  const limits = { maxSpawnDepth: 3, maxChildrenPerAgent: 3 };
  assert.equal((await store.runs.spawn(childOf(parent, { limits, ...over }), nowMs)).kind, "accepted");
  return claimOne(store, nowMs + 1);
}

async function end(store: Store, { run, epoch }: Claim, nowMs: number): Promise<void> {
  assert.equal((await store.runs.end(run.runId, epoch, endedWell, [], nowMs)).kind, "ended");
}

/** What would go, and what is archived, at that time. */
async function leaving(store: Store, nowMs: number): Promise<readonly (readonly string[])[]> {
  return [await store.sessions.listToCleanUp(), await store.sessions.archiveChildren(nowMs - 1, nowMs)];
}

for (const [driver, open] of Object.entries(drivers)) {
  for (const cleanup of ["delete", "keep"] as const) {
    test(`${driver}: a session (${cleanup}) stays until all below it has ended and been read, however deep`, async () => {
      await using store = await open();
      await store.runs.admit(runToAdmit(), 1);
      const parent = await claimOne(store, 2);
      const child = await spawn(store, parent, { cleanup }, 3);
      const { sessionKey } = child.run;
      const middle = await spawn(store, child, { expectsCompletion: false }, 5);
      const leaf = await spawn(store, middle, {}, 7);
      await end(store, middle, 9);
      await end(store, child, 10);
      await store.runs.park(parent.run.runId, parent.epoch, 0, 11);
      await end(store, await claimOne(store, 12), 13);

      const open_ = await leaving(store, 20);
      await end(store, leaf, 21);
      const announced = await leaving(store, 30);
      const reader = await claimOne(store, 31);
      await store.runs.cancel({ sessionKey: reader.run.sessionKey, runId: reader.run.runId }, new Map(), 32);
      const read = await leaving(store, 40);

      assert.deepEqual([open_, announced], Array<unknown>(2).fill([[], []]));
      assert.deepEqual(read[0], cleanup === "delete" ? [sessionKey] : []);
      assert.ok(read[1]?.includes(sessionKey));
    });

    test(`${driver}: a session (${cleanup}) stays while a result below it has reached nobody`, async () => {
      await using store = await open();
      await store.runs.admit(runToAdmit(), 1);
      const parent = await claimOne(store, 2);
      const child = await spawn(store, parent, { cleanup }, 3);
      const leaf = await spawn(store, child, {}, 5);
      await end(store, child, 7);
      await end(store, leaf, 8);
      const [reader] = (await store.runs.claim(claimer, () => 9)).claims;
      assert.equal(reader?.run.sessionKey, child.run.sessionKey);
      await store.runs.end(reader.run.runId, reader.epoch, { ...endedWell, outcome: "failed" }, [], 10);
      await store.runs.park(parent.run.runId, parent.epoch, 0, 11);
      await end(store, await claimOne(store, 12), 13);

      const unconfirmed = await leaving(store, 20);
      await store.runViews.dismissDelivery(leaf.run.runId, "device:a", 21);
      const dismissed = await leaving(store, 30);

      assert.deepEqual(unconfirmed, [[], []]);
      assert.deepEqual(dismissed[0], cleanup === "delete" ? [child.run.sessionKey] : []);
      assert.ok(dismissed[1]?.includes(child.run.sessionKey));
    });
  }
}
