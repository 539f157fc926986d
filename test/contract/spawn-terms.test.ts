/** What a spawn was asked for is stored with the child and its session, and nothing that comes later widens it. */
import assert from "node:assert/strict";
import test from "node:test";
import { createIds } from "../../packages/gateway/src/kit/ids.ts";
import { type Limits, unlimited } from "../../packages/gateway/src/principal/lattice.ts";
import { openStoreFile } from "../../packages/gateway/src/store/sqlite.ts";
import type { Claimer } from "../../packages/gateway/src/store/claimer.ts";
import type { Claim, Store } from "../../packages/gateway/src/store/store.ts";
import { childOf, claimer, endedWell, runToAdmit } from "../support/stored-runs.ts";

const drivers: Readonly<Record<string, () => Promise<Store>>> = { sqlite: () => openStoreFile(":memory:", createIds()) };

const scopes = ["operator.write"];
const limitedTo = (limits: Partial<Limits>) => ({ scopes, limits: { ...unlimited, ...limits } });

async function claimOne(store: Store, nowMs: number, over: Partial<Claimer> = {}): Promise<Claim> {
  const [claim, ...rest] = (await store.runs.claim({ ...claimer, ...over }, () => nowMs)).claims;
  assert.deepEqual(rest, []);
  return claim ?? assert.fail("no run can be claimed");
}

for (const [driver, open] of Object.entries(drivers)) {
  test(`${driver}: a later run in a child's session has its tools, policies and thinking, and a time of its own`, async () => {
    await using store = await open();
    await store.runs.admit(runToAdmit(), 1);
    const parent = await claimOne(store, 2);
    const authority = { ...limitedTo({ tools: ["ls"], deadline: 50 }), policyOf: ["main", "other"] };
    await store.runs.spawn(childOf(parent, { authority, terms: { thinking: "high", taskName: "look" } }), 3);
    const child = await claimOne(store, 4);
    await store.runs.end(child.run.runId, child.epoch, endedWell, [], 5);

    await store.runs.admit(runToAdmit({ sessionKey: child.run.sessionKey, wireId: "later", startedBy: "device:b" }), 6);
    const { run } = await claimOne(store, 7);

    assert.deepEqual([child.run.authority.limits?.tools, child.run.authority.policyOf], [["ls"], ["main", "other"]]);
    assert.deepEqual(child.run.terms, { thinking: "high", taskName: "look" });
    assert.deepEqual(run.authority.limits, { ...unlimited, tools: ["ls"] });
    assert.deepEqual([run.authority.policyOf, run.terms], [["main", "other"], { thinking: "high" }]);
    assert.deepEqual([child.run.deadlineAtMs, run.deadlineAtMs], [50, undefined]);
  });

  test(`${driver}: what is spawned for a session without a run is within that session's tools and policies, and so is what comes later in it`, async () => {
    await using store = await open();
    await store.runs.admit(runToAdmit(), 1);
    const parent = await claimOne(store, 2);
    await store.runs.spawn(childOf(parent, { authority: { ...limitedTo({ tools: ["ls", "read"] }), policyOf: ["other"] } }), 3);
    const { run } = await claimOne(store, 4);
    const asked = {
      parentRunId: undefined,
      spawnedBy: "device:a",
      authority: { ...limitedTo({ tools: ["ls", "grep"] }), policyOf: ["main"] },
    };

    await store.runs.spawn(childOf({ run }, asked), 5);
    const child = await claimOne(store, 6);
    await store.runs.end(child.run.runId, child.epoch, endedWell, [], 7);
    await store.runs.admit(runToAdmit({ sessionKey: child.run.sessionKey, wireId: "later" }), 8);
    const later = (await store.runs.claim(claimer, () => 9)).claims.find((one) => one.run.wireId === "later");

    for (const one of [child, later])
      assert.deepEqual([one?.run.authority.limits?.tools, one?.run.authority.policyOf], [["ls"], ["main", "other"]]);
  });

  for (const [what, timeoutMs, startMs, deadlineAtMs] of [
    ["its own time ends first", 10, 20, 30],
    ["its parent's ends first", 100, 20, 50],
    ["it has no time of its own", undefined, 20, 50],
  ] as const) {
    test(`${driver}: a child ends no later than its parent must: ${what}`, async () => {
      await using store = await open();
      await store.runs.admit(runToAdmit(), 1);
      const parent = await claimOne(store, 2);
      await store.runs.spawn(childOf(parent, { authority: limitedTo({ deadline: 50 }), timeoutMs }), 3);

      const child = await claimOne(store, startMs);

      assert.equal(child.run.deadlineAtMs, deadlineAtMs);
    });
  }

  test(`${driver}: a child that never got its turn ends at its parent's deadline`, async () => {
    await using store = await open();
    await store.runs.admit(runToAdmit(), 1);
    const parent = await claimOne(store, 2);
    await store.runs.spawn(childOf(parent, { authority: limitedTo({ deadline: 50 }) }), 3);

    assert.equal(await store.runs.nextDeadline(), 50);
    const { ended } = await store.runs.expire(() => 50);

    assert.deepEqual(
      ended.map((run) => run.status),
      ["timed_out"],
    );
  });

  test(`${driver}: of two running children one has the name, and who has it is said`, async () => {
    await using store = await open();
    await store.runs.admit(runToAdmit(), 1);
    const parent = await claimOne(store, 2);
    const named = (key: string) => childOf(parent, { idempotencyKey: key, label: key, terms: { taskName: "look" } });

    const outcomes = await Promise.all([store.runs.spawn(named("a"), 3), store.runs.spawn(named("b"), 3)]);
    const first = await claimOne(store, 4);
    await store.runs.end(first.run.runId, first.epoch, endedWell, [], 5);

    assert.deepEqual(outcomes[1], { kind: "name-taken", holder: "a" });
    assert.equal((await store.runs.spawn(named("b"), 6)).kind, "accepted");
  });

  test(`${driver}: the run that announces a limited run's children is limited as that one was, but for its deadline`, async () => {
    await using store = await open();
    await store.runs.admit(runToAdmit({ authority: { owner: false, depth: 0, ...limitedTo({ tools: ["ls"], deadline: 50 }) } }), 1);
    const parent = await claimOne(store, 2);
    await store.runs.spawn(childOf(parent, { authority: limitedTo({ tools: [] }) }), 3);
    await store.runs.end(parent.run.runId, parent.epoch, endedWell, [], 4);
    const child = await claimOne(store, 5);
    await store.runs.end(child.run.runId, child.epoch, endedWell, [], 6);

    const announced = await claimOne(store, 7);

    assert.deepEqual([announced.run.trigger, announced.run.authority.limits], ["announce", { ...unlimited, tools: ["ls"] }]);
  });
}
