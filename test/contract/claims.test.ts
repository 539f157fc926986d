/** What every store does with many messages for one session: they wait there, and keep nobody else waiting. */
import assert from "node:assert/strict";
import test from "node:test";
import { createIds } from "../../packages/gateway/src/kit/ids.ts";
import { openStoreFile } from "../../packages/gateway/src/store/sqlite.ts";
import type { Claimer } from "../../packages/gateway/src/store/claimer.ts";
import type { Admission, RunToAdmit } from "../../packages/gateway/src/store/admitting.ts";
import type { Claim, Store } from "../../packages/gateway/src/store/store.ts";
import { fireAsk, jobToWrite } from "../support/stored-jobs.ts";
import { childOf, claimer, endedWell, runToAdmit } from "../support/stored-runs.ts";

const key = "agent:main:main";
const mostWaiting = 200;

const namesOf = (claims: readonly Claim[]) => claims.map(({ run }) => run.wireId);

function countKinds(admissions: readonly Admission[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { kind } of admissions) counts[kind] = (counts[kind] ?? 0) + 1;
  return counts;
}

async function claimAll(store: Store, nowMs: number, over: Partial<Claimer> = {}): Promise<readonly Claim[]> {
  return (await store.runs.claim({ ...claimer, ...over }, () => nowMs)).claims;
}

async function working(store: Store, sessionKey: string): Promise<Claim> {
  await store.runs.admit(runToAdmit({ wireId: "first", sessionKey }), 1);
  const [claim] = await claimAll(store, 2);
  assert.ok(claim !== undefined);
  return claim;
}

/** As many messages for the session at once. */
function send(store: Store, count: number, sessionKey: string, over: Partial<RunToAdmit> = {}): Promise<readonly Admission[]> {
  const named = Array.from({ length: count }, (_, index) => runToAdmit({ wireId: `m${index}`, sessionKey, ...over }));
  return Promise.all(named.map((run) => store.runs.admit(run, 3)));
}

for (const queueMode of ["steer", "followup", "collect"] as const) {
  test(`messages that wait in busy sessions keep no other session from its turn: ${queueMode}`, async () => {
    await using store = await openStoreFile(":memory:", createIds());
    for (const room of ["a", "b", "c", "d", "e", "f"]) {
      await working(store, `agent:main:${room}`);
      await send(store, mostWaiting, `agent:main:${room}`, { queueMode });
    }
    await store.runs.admit(runToAdmit({ wireId: "other", sessionKey: "agent:main:other" }), 4);

    assert.deepEqual(namesOf(await claimAll(store, 5)), ["other"]);
  });
}

test("messages that wait in a busy child's session keep no other child from its turn", async () => {
  await using store = await openStoreFile(":memory:", createIds());
  const parent = await working(store, key);
  await store.runs.spawn(childOf(parent, { idempotencyKey: "busy" }), 3);
  const [busy] = await claimAll(store, 4);
  await send(store, mostWaiting, busy?.run.sessionKey ?? "");
  await store.runs.spawn(childOf(parent, { idempotencyKey: "idle" }), 4);
  const [idle] = await claimAll(store, 5);
  await store.runs.end(idle?.run.runId ?? "", idle?.epoch ?? 0, endedWell, [], 6);

  await store.runs.admit(runToAdmit({ wireId: "again", sessionKey: idle?.run.sessionKey ?? "" }), 7);
  await store.runs.spawn(childOf(parent, { idempotencyKey: "new" }), 8);
  const next = await claimAll(store, 9);

  assert.deepEqual(
    next.map(({ run }) => [run.trigger, run.sessionKey === idle?.run.sessionKey]),
    [
      ["message", true],
      ["spawn", false],
    ],
  );
});

test("messages of one session are claimed one after the other, the oldest first", async () => {
  await using store = await openStoreFile(":memory:", createIds());
  await send(store, 3, key);

  const order: string[] = [];
  for (let nowMs = 10; nowMs < 20; nowMs += 1) {
    const claims = await claimAll(store, nowMs);
    order.push(namesOf(claims).join("+"));
    for (const { run, epoch } of claims) await store.runs.end(run.runId, epoch, endedWell, [], nowMs);
  }

  assert.deepEqual(order.slice(0, 4), ["m0", "m1", "m2", ""]);
});

test("a person's message waits for no child's slot behind what a child sent to the same session", async () => {
  await using store = await openStoreFile(":memory:", createIds());
  await store.runs.admit(runToAdmit({ wireId: "child's", authority: { scopes: ["operator.write"], owner: false, depth: 1 } }), 3);
  await store.runs.admit(runToAdmit({ wireId: "person's" }), 4);

  assert.deepEqual(namesOf(await claimAll(store, 5, { maxConcurrentChildren: 0 })), ["person's"]);
});

test("only so many messages wait in a session, however they race; what was known before is known still", async () => {
  await using store = await openStoreFile(":memory:", createIds());
  const busy = await working(store, key);

  const sent = await send(store, mostWaiting + 5, key, { queueMode: "steer" });
  const again = await send(store, mostWaiting + 5, key, { queueMode: "steer" });
  const elsewhere = await store.runs.admit(runToAdmit({ sessionKey: "agent:main:other" }), 4);
  await store.runs.absorb({ ...busy.run, epoch: busy.epoch }, 5);
  const afterwards = await store.runs.admit(runToAdmit({ wireId: "later", queueMode: "steer" }), 6);

  assert.deepEqual(countKinds(sent), { admitted: mostWaiting, "too-many-waiting": 5 });
  assert.deepEqual(sent.at(-1), { kind: "too-many-waiting", waiting: mostWaiting });
  assert.deepEqual(countKinds(again), { replayed: mostWaiting, "too-many-waiting": 5 });
  assert.deepEqual([elsewhere.kind, afterwards.kind], ["admitted", "admitted"]);
});

test("what interrupts, notes, jobs and results of children come in however many messages wait", async () => {
  await using store = await openStoreFile(":memory:", createIds());
  const parent = await working(store, key);
  await store.runs.spawn(childOf(parent), 2);
  await store.runs.end(parent.run.runId, parent.epoch, endedWell, [], 2);
  const [child] = await claimAll(store, 3);
  await store.runs.admit(runToAdmit({ wireId: "busy" }), 3);
  await claimAll(store, 3);
  await send(store, mostWaiting, key);
  const job = await store.cron.add(jobToWrite({ targetKey: key }), "secret:local", 4);
  assert.ok(job !== "too-many");

  const fired = await store.cron.fire(fireAsk(job.jobId), 100);
  const noted = await store.runs.admit(runToAdmit({ wireId: "note", queueMode: "notify" }), 101);
  await store.runs.end(child?.run.runId ?? "", child?.epoch ?? 0, endedWell, [], 102);
  const announced = (await store.runs.counts()).byStatus["queued"];
  const interrupting = await store.runs.admit(runToAdmit({ wireId: "stop", queueMode: "interrupt" }), 103);

  assert.deepEqual([fired.kind, noted.kind, announced, interrupting.kind], ["admitted", "admitted", mostWaiting + 2, "admitted"]);
});

test("an announcement with nothing left to read ends when its turn comes, and asks no model", async () => {
  await using store = await openStoreFile(":memory:", createIds());
  const parent = await working(store, key);
  await store.runs.spawn(childOf(parent), 3);
  const [child] = await claimAll(store, 4);
  assert.ok(child !== undefined);
  await store.runs.end(child.run.runId, child.epoch, endedWell, [], 5);
  await store.runs.cancel({ sessionKey: key }, new Map(), 6);
  await store.runViews.retryDelivery(child.run.runId, "device:z", 7);

  await store.runs.cancel({ startedBy: "device:a", by: "gateway" }, new Map(), 8);
  const { claims, givenUp } = await store.runs.claim(claimer, () => 9);
  const { messages } = await store.sessions.view(key);

  assert.deepEqual(claims, []);
  assert.deepEqual(
    givenUp.map(({ trigger, status, ending }) => [trigger, status, ending?.stopReason]),
    [["announce", "succeeded", "nothing_to_read"]],
  );
  assert.deepEqual(
    messages.map(({ content }) => content),
    [[{ type: "text", text: "hello" }]],
  );
});
