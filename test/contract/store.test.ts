/** What every store driver must hold. SQLite in memory is the driver there is. */
import assert from "node:assert/strict";
import test from "node:test";
import { createIds } from "../../packages/gateway/src/kit/ids.ts";
import { openStoreFile } from "../../packages/gateway/src/store/sqlite.ts";
import type { Actor } from "../../packages/gateway/src/store/device-management.ts";
import type { ChildToSpawn } from "../../packages/gateway/src/store/spawning.ts";
import type { Claimer } from "../../packages/gateway/src/store/claimer.ts";
import type { Claim, Store } from "../../packages/gateway/src/store/store.ts";
import { pairingAsk } from "../support/pairing-ask.ts";
import { childOf as child, claimer, endedWell as done, runToAdmit as run } from "../support/stored-runs.ts";

const drivers: Readonly<Record<string, () => Promise<Store>>> = { sqlite: () => openStoreFile(":memory:", createIds()) };

function actor(scopes: readonly string[], over: Partial<Actor> = {}): Actor {
  return { id: "secret:local", scopes, deviceId: undefined, ownDeviceOnly: false, ...over };
}

async function claimOne(store: Store, nowMs: number, over: Partial<Claimer> = {}): Promise<Claim> {
  const [claim, ...rest] = (await store.runs.claim({ ...claimer, ...over }, () => nowMs)).claims;
  assert.ok(claim !== undefined, "a run can be claimed");
  assert.equal(rest.length, 0);
  return claim;
}

/** A parent that has spawned `count` children and parked. */
async function parkedParent(store: Store, count: number): Promise<Claim> {
  await store.runs.admit(run(), 1);
  const parent = await claimOne(store, 2);
  for (let index = 0; index < count; index += 1) {
    assert.equal((await store.runs.spawn(child(parent, { idempotencyKey: `c${index}` }), 3)).kind, "accepted");
  }
  assert.equal(await store.runs.park(parent.run.runId, parent.epoch, 0, 4), "parked");
  return parent;
}

for (const [driver, open] of Object.entries(drivers)) {
  test(`${driver}: the same key and parameters find the first run, other parameters are a mismatch`, async () => {
    await using store = await open();

    const first = await store.runs.admit(run(), 1);
    const again = await store.runs.admit(run(), 2);
    const other = await store.runs.admit(run({ paramsHash: "other" }), 3);
    const elsewhere = await store.runs.admit(run({ startedBy: "device:b" }), 4);

    assert.equal(first.kind, "admitted");
    assert.equal(again.kind === "replayed" && again.run.runId, first.kind === "admitted" && first.run.runId);
    assert.equal(other.kind, "mismatch");
    assert.equal(elsewhere.kind, "admitted");
  });

  test(`${driver}: what a run gives its session is written with it, and not by one that is refused or was admitted before`, async () => {
    await using store = await open();
    const ask = (over: object) => store.runs.admit(run({ label: "run", session: { label: "first", model: "a/b" }, ...over }), 1);
    const seen = [];

    for (const over of [
      {},
      { paramsHash: "other", session: { label: "other" } },
      { session: { label: "again" } },
      { wireId: "k2", session: {} },
    ]) {
      const { kind } = await ask(over);
      const session = await store.sessions.find("agent:main:main");
      seen.push([kind, session?.label, session?.model]);
    }
    const later = await ask({ wireId: "k3", session: { label: "later", model: "c/d" } });
    const after = await store.sessions.find("agent:main:main");

    assert.deepEqual(
      seen,
      ["admitted", "mismatch", "replayed", "admitted"].map((kind) => [kind, "first", "a/b"]),
    );
    assert.deepEqual([after?.label, after?.model, later.kind === "admitted" && later.run.model], ["later", "c/d", "c/d"]);
  });

  test(`${driver}: a session has one running run, and the next one is claimed when it has ended`, async () => {
    await using store = await open();
    await store.runs.admit(run({ wireId: "k1" }), 1);
    await store.runs.admit(run({ wireId: "k2" }), 2);

    const first = await claimOne(store, 3);
    const meanwhile = (await store.runs.claim(claimer, () => 4)).claims;
    await store.runs.end(first.run.runId, first.epoch, done, [], 5);
    const second = await claimOne(store, 6);

    assert.deepEqual([first.run.wireId, meanwhile.length, second.run.wireId], ["k1", 0, "k2"]);
  });

  test(`${driver}: a worker whose lease was taken over can write nothing`, async () => {
    await using store = await open();
    await store.runs.admit(run(), 1);
    const zombie = await claimOne(store, 2);

    const heir = await claimOne(store, 2 + claimer.leaseMs, { owner: "w2" });
    const { runId } = zombie.run;

    assert.equal(heir.epoch, zombie.epoch + 1);
    assert.equal(
      await store.runs.append(runId, zombie.epoch, [{ kind: "tool-intent", toolCallId: "x", name: "ls", args: {} }], [], 9),
      "lost",
    );
    assert.equal(await store.runs.park(runId, zombie.epoch, 0, 9), "lost");
    assert.equal((await store.runs.end(runId, zombie.epoch, done, [], 9)).kind, "lost");
    assert.equal((await store.runs.end(runId, heir.epoch, done, [], 9)).kind, "ended");
    assert.equal((await store.runs.end(runId, heir.epoch, done, [], 9)).kind, "lost");
  });

  test(`${driver}: whoever held a run when all leases were ended can write nothing, also before it is claimed again`, async () => {
    await using store = await open();
    await store.runs.admit(run(), 1);
    const { run: held, epoch } = await claimOne(store, 2);

    await store.runs.endLeases();

    const intent = { kind: "tool-intent", toolCallId: "x", name: "ls", args: {} } as const;
    assert.equal(await store.runs.append(held.runId, epoch, [intent], [], 3), "lost");
    assert.equal((await store.runs.end(held.runId, epoch, done, [], 3)).kind, "lost");
    assert.ok((await claimOne(store, 3)).epoch > epoch);
  });

  test(`${driver}: a claim after a crash continues the journal and says nothing twice`, async () => {
    await using store = await open();
    await store.runs.admit(run(), 1);
    await claimOne(store, 2);

    await store.runs.endLeases();
    const again = await claimOne(store, 3);

    assert.deepEqual(again.journal, [{ kind: "input", text: "hello" }]);
    assert.equal((await store.sessions.listMessages("agent:main:main", { limit: 10, offset: 0 })).total, 1);
  });

  test(`${driver}: a spawn is one child however often it is asked for`, async () => {
    await using store = await open();
    await store.runs.admit(run(), 1);
    const parent = await claimOne(store, 2);

    const outcomes = await Promise.all(Array.from({ length: 5 }, () => store.runs.spawn(child(parent), 3)));

    assert.deepEqual(outcomes.map((outcome) => outcome.kind).sort(), ["accepted", "replayed", "replayed", "replayed", "replayed"]);
    assert.equal((await store.runs.counts()).children.accepted, 1);
  });

  test(`${driver}: limits are exact when spawns race, and a refused spawn leaves nothing`, async () => {
    await using store = await open();
    await store.runs.admit(run(), 1);
    const parent = await claimOne(store, 2);
    const sessionsBefore = await store.sessions.count();

    const outcomes = await Promise.all(
      Array.from({ length: 50 }, (_, index) => store.runs.spawn(child(parent, { idempotencyKey: `c${index}` }), 3)),
    );

    assert.equal(outcomes.filter((outcome) => outcome.kind === "accepted").length, 3);
    assert.equal(outcomes.filter((outcome) => outcome.kind === "too-many").length, 47);
    assert.equal((await store.sessions.count()) - sessionsBefore, 3);
  });

  test(`${driver}: depth counts from the parent's row, and a run that has ended spawns nothing`, async () => {
    await using store = await open();
    await store.runs.admit(run(), 1);
    const top = await claimOne(store, 2);
    await store.runs.spawn(child(top), 3);
    const middle = await claimOne(store, 4);
    await store.runs.spawn(child(middle), 5);
    const bottom = await claimOne(store, 6);

    const deeper = await store.runs.spawn(child(bottom), 7);
    await store.runs.end(bottom.run.runId, bottom.epoch, done, [], 8);
    const late = await store.runs.spawn(child(bottom, { limits: { maxSpawnDepth: 5, maxChildrenPerAgent: 5 } }), 9);

    assert.deepEqual(
      [top, middle, bottom].map((claim) => claim.run.authority.depth),
      [0, 1, 2],
    );
    assert.deepEqual(deeper, { kind: "too-deep", depth: 2 });
    assert.equal(late.kind, "parent-ended");
  });

  test(`${driver}: a parked parent wakes with every result there is, each exactly once`, async () => {
    await using store = await open();
    const parent = await parkedParent(store, 2);
    const children = (await store.runs.claim(claimer, () => 5)).claims;
    for (const one of children) await store.runs.end(one.run.runId, one.epoch, done, [], 6);

    const woken = await claimOne(store, 7);
    await store.runs.append(woken.run.runId, woken.epoch, [], [], 8);
    const counts = await store.runs.counts();

    assert.equal(woken.run.runId, parent.run.runId);
    assert.deepEqual(
      woken.consumed.map((completion) => completion.text),
      ["result", "result"],
    );
    assert.deepEqual(counts.children, { accepted: 2, completed: 2, announced: 2, undelivered: 0 });
    assert.equal((await store.runs.claim(claimer, () => 9)).claims.length, 0);
  });

  test(`${driver}: a child that ended before the park is seen by the park`, async () => {
    await using store = await open();
    await store.runs.admit(run(), 1);
    const parent = await claimOne(store, 2);
    await store.runs.spawn(child(parent), 3);
    const one = await claimOne(store, 4);
    await store.runs.end(one.run.runId, one.epoch, done, [], 5);

    const parked = await store.runs.park(parent.run.runId, parent.epoch, 0, 6);
    const woken = await claimOne(store, 7);

    assert.equal(parked, "unread");
    assert.equal(woken.consumed.length, 1);
  });

  test(`${driver}: results that no run waits for come in one announce run, named by the oldest`, async () => {
    await using store = await open();
    await store.runs.admit(run(), 1);
    const parent = await claimOne(store, 2);
    for (const key of ["c1", "c2"]) await store.runs.spawn(child(parent, { idempotencyKey: key }), 3);
    await store.runs.end(parent.run.runId, parent.epoch, done, [], 4);
    const children = (await store.runs.claim(claimer, () => 5)).claims;
    for (const one of children) await store.runs.end(one.run.runId, one.epoch, done, [], 6);

    const announce = await claimOne(store, 7);

    assert.equal(announce.run.wireId, `announce:v1:${children[0]?.run.sessionKey}:${children[0]?.run.wireId}`);
    assert.equal(announce.consumed.length, 2);
    assert.equal(announce.run.authority.owner, false);
    assert.equal(announce.run.sessionKey, parent.run.sessionKey);
  });

  test(`${driver}: results left unread when the parent ends are announced after it`, async () => {
    await using store = await open();
    await store.runs.admit(run(), 1);
    const parent = await claimOne(store, 2);
    await store.runs.spawn(child(parent), 3);
    const one = await claimOne(store, 4);
    await store.runs.end(one.run.runId, one.epoch, done, [], 5);

    assert.equal((await store.runs.claim(claimer, () => 6)).claims.length, 0);
    await store.runs.end(parent.run.runId, parent.epoch, done, [], 7);

    assert.equal((await claimOne(store, 8)).run.trigger, "announce");
  });

  test(`${driver}: a cancel reaches every descendant, fences their workers and announces nothing`, async () => {
    await using store = await open();
    const parent = await parkedParent(store, 2);
    const [first] = (await store.runs.claim(claimer, () => 5)).claims;
    assert.ok(first !== undefined);
    await store.runs.spawn(child(first), 6);

    const cancelled = await store.runs.cancel(
      { sessionKey: parent.run.sessionKey },
      new Map([[first.run.runId, { epoch: first.epoch, text: "half" }]]),
      7,
    );
    const late = await store.runs.end(first.run.runId, first.epoch, done, [], 8);
    const messages = await store.sessions.listMessages(first.run.sessionKey, { limit: 10, offset: 0 });

    assert.equal(cancelled.length, 4);
    assert.equal(late.kind, "lost");
    assert.deepEqual(messages.messages.at(-1)?.content, [{ type: "text", text: "half" }]);
    assert.equal((await store.runs.claim(claimer, () => 9)).claims.length, 0);
    await store.runs.ensureDelivery(10);
    assert.equal((await store.runs.claim(claimer, () => 11)).claims.length, 0);
  });

  test(`${driver}: a cancelled child still wakes the parent that goes on`, async () => {
    await using store = await open();
    await parkedParent(store, 1);
    const one = await claimOne(store, 5);

    await store.runs.cancel({ sessionKey: one.run.sessionKey }, new Map(), 6);

    assert.deepEqual(
      (await claimOne(store, 7)).consumed.map((completion) => completion.outcome),
      ["cancelled"],
    );
  });

  test(`${driver}: a stopped announce run's results are told to nobody, and later results are`, async () => {
    await using store = await open();
    const operatorChild = (key: string): ChildToSpawn => ({
      ...child(leader),
      parentRunId: undefined,
      spawnedBy: "device:a",
      idempotencyKey: key,
    });
    await store.runs.admit(run(), 1);
    const leader = await claimOne(store, 2);
    const first = await store.runs.spawn(operatorChild("c1"), 3);
    const second = await store.runs.spawn(operatorChild("c2"), 3);
    const { claims } = await store.runs.claim(claimer, () => 4);
    const endOf = async (spawned: typeof first, nowMs: number) => {
      const claim = claims.find((one) => spawned.kind === "accepted" && one.run.runId === spawned.run.runId);
      assert.ok(claim !== undefined);
      assert.equal((await store.runs.end(claim.run.runId, claim.epoch, done, [], nowMs)).kind, "ended");
      return claim.run;
    };
    const { wireId } = await endOf(first, 5);
    const announce = `announce:v1:${first.kind === "accepted" ? first.run.sessionKey : ""}:${wireId}`;

    const stopped = await store.runs.cancel({ sessionKey: leader.run.sessionKey, wireId: announce, askedBy: "device:d1" }, new Map(), 6);
    await store.runs.ensureDelivery(7);
    await endOf(second, 8);
    await store.runs.end(leader.run.runId, leader.epoch, done, [], 9);
    const told = await claimOne(store, 10);

    assert.deepEqual(
      stopped.map((one) => one.wireId),
      [announce],
    );
    assert.equal(told.run.trigger, "announce");
    assert.equal(told.consumed.length, 1);
    assert.notEqual(told.run.wireId, announce);
  });

  test(`${driver}: stopping a session stops what was spawned for it without a run, and starts nothing`, async () => {
    await using store = await open();
    const parentSessionKey = "agent:main:quiet";
    const quiet = {
      ...child({ run: { sessionKey: parentSessionKey, runId: "" } } as Claim),
      parentRunId: undefined,
      spawnedBy: "device:a",
    };
    await store.runs.spawn(quiet, 1);

    const stopped = await store.runs.cancel({ sessionKey: parentSessionKey }, new Map(), 2);

    assert.equal(stopped.length, 1);
    assert.equal((await store.runs.claim(claimer, () => 3)).claims.length, 0);
    assert.equal(await store.sessions.delete(parentSessionKey, "device:a", 4), "deleted");
  });

  test(`${driver}: a deadline counts from the first turn, ends what waits and names what runs`, async () => {
    await using store = await open();
    await store.runs.admit(run({ timeoutMs: 100 }), 1);
    const parent = await claimOne(store, 50);
    await store.runs.spawn(child(parent, { timeoutMs: 10 }), 51);
    await claimOne(store, 60);
    await store.runs.park(parent.run.runId, parent.epoch, 0, 61);

    const early = await store.runs.expire(() => 69);
    const childDue = await store.runs.expire(() => 70);
    const parentDue = await store.runs.expire(() => 150);

    assert.deepEqual([early.ended.length, early.running.length], [0, 0]);
    assert.deepEqual([childDue.ended.length, childDue.running.length], [0, 1]);
    assert.deepEqual(
      parentDue.ended.map((one) => one.status),
      ["timed_out"],
    );
  });

  test(`${driver}: concurrent children are bounded, and those that wait for their own hold no slot`, async () => {
    await using store = await open();
    const parent = await parkedParent(store, 2);
    const one = { maxConcurrentChildren: 1 };

    const first = await claimOne(store, 5, one);
    const none = (await store.runs.claim({ ...claimer, ...one }, () => 6)).claims;
    await store.runs.spawn(child(first), 7);
    await store.runs.park(first.run.runId, first.epoch, 0, 8);
    const second = await claimOne(store, 9, one);

    assert.equal(none.length, 0);
    assert.notEqual(second.run.runId, parent.run.runId);
    assert.notEqual(second.run.runId, first.run.runId);
  });

  test(`${driver}: a finished child's session is archived when it was quiet for long enough, others are not`, async () => {
    await using store = await open();
    await store.runs.admit(run(), 1);
    const parent = await claimOne(store, 2);
    for (const key of ["quiet", "busy"]) await store.runs.spawn(child(parent, { idempotencyKey: key, label: key }), 3);
    await store.runs.end(parent.run.runId, parent.epoch, done, [], 4);
    const quiet = (await store.runs.claim(claimer, () => 5)).claims.find((claim) => claim.run.label === "quiet");
    assert.ok(quiet !== undefined);
    await store.runs.end(quiet.run.runId, quiet.epoch, done, [], 10);
    const unread = await store.sessions.archiveChildren(10, 19);
    await store.runs.claim(claimer, () => 19);

    const early = await store.sessions.archiveChildren(9, 20);
    const due = await store.sessions.archiveChildren(10, 20);
    const again = await store.sessions.archiveChildren(10, 30);

    assert.deepEqual([unread, early, due, again], [[], [], [quiet.run.sessionKey], []]);
    assert.equal((await store.sessions.find(quiet.run.sessionKey))?.archivedAtMs, 20);
  });

  test(`${driver}: around a session are all below it, whoever's they are, and those above it as long as they are of its agent`, async () => {
    await using store = await open();
    await store.runs.admit(run(), 1);
    const limits = { maxSpawnDepth: 9, maxChildrenPerAgent: 9 };
    const chain = [await claimOne(store, 2)];
    for (const [index, agentId] of ["main", "other", "other", "main"].entries()) {
      const parent = chain[index] ?? assert.fail();
      await store.runs.spawn(child(parent, { agentId, idempotencyKey: `c${index}`, limits }), 3);
      chain.push(await claimOne(store, 4));
    }
    const beside = await store.runs.spawn(child(chain[0] ?? assert.fail(), { idempotencyKey: "beside", limits }), 5);
    const keys = chain.map((one) => one.run.sessionKey);
    await store.sessions.patch(
      "agent:main:adopted",
      { agentId: "main", by: "x", lineage: { parentKey: keys[4] ?? "", depth: 5, role: "leaf" } },
      6,
    );
    const all = [...keys, "agent:main:adopted", beside.kind === "accepted" ? beside.run.sessionKey : assert.fail()];

    const seen = [];
    for (const around of all) {
      const { sessions } = await store.sessions.list({ limit: 10, offset: 0, view: { around }, archived: false });
      const found = await Promise.all(all.map((key) => store.sessions.find(key, { around })));
      assert.deepEqual(
        sessions.map(({ key }) => all.indexOf(key)).toSorted((a, b) => a - b),
        found.flatMap((one, index) => (one === undefined ? [] : [index])),
      );
      seen.push(found.map((one) => (one === undefined ? "-" : "x")).join(""));
    }

    assert.deepEqual(seen, ["xxxxxxx", "xxxxxx-", "--xxxx-", "--xxxx-", "----xx-", "----xx-", "x-----x"]);
  });

  test(`${driver}: a session of another tree is not there`, async () => {
    await using store = await open();
    await store.runs.admit(run(), 1);
    await store.runs.admit(run({ sessionKey: "agent:main:other", wireId: "k2" }), 1);

    const seen = await store.sessions.list({ limit: 10, offset: 0, view: { rootKey: "agent:main:main" }, archived: false });

    assert.deepEqual(
      seen.sessions.map((session) => session.key),
      ["agent:main:main"],
    );
    assert.equal(await store.sessions.find("agent:main:other", { rootKey: "agent:main:main" }), undefined);
  });

  test(`${driver}: search takes its text literally`, async () => {
    await using store = await open();
    await store.sessions.patch("agent:main:a", { agentId: "main", label: "100% sure", by: "t" }, 1);
    await store.sessions.patch("agent:main:b", { agentId: "main", label: "100 sure", by: "t" }, 1);

    const found = await store.sessions.list({ limit: 10, offset: 0, search: "0% s", archived: false });

    assert.deepEqual(
      found.sessions.map((session) => session.key),
      ["agent:main:a"],
    );
  });

  test(`${driver}: a result to be told to nobody is told to nobody, also behind one that has a run waiting to read it`, async () => {
    await using store = await open();
    await store.runs.admit(run(), 1);
    const parent = await claimOne(store, 2);
    for (const key of ["a", "b"]) await store.runs.spawn(child(parent, { idempotencyKey: key }), 3);
    await store.runs.end(parent.run.runId, parent.epoch, done, [], 4);
    const [told, skipped] = (await store.runs.claim(claimer, () => 5)).claims;
    assert.ok(told !== undefined && skipped !== undefined);
    await store.runs.end(told.run.runId, told.epoch, done, [], 6);
    await store.runs.end(skipped.run.runId, skipped.epoch, { ...done, text: "", silence: "ANNOUNCE_SKIP" }, [], 7);

    const announce = await claimOne(store, 8);

    assert.deepEqual(
      announce.consumed.map((one) => one.childRunId),
      [told.run.wireId],
    );
    await store.runs.end(announce.run.runId, announce.epoch, done, [], 9);
    assert.deepEqual((await store.runs.claim(claimer, () => 10)).claims, []);
  });

  test(`${driver}: a page of sessions says how many there are in all, also the last page and one behind it`, async () => {
    await using store = await open();
    for (const [at, key] of ["a", "b", "c"].entries())
      await store.sessions.patch(`agent:main:${key}`, { agentId: "main", label: key, by: "device:a" }, at);
    await store.sessions.patch("agent:other:d", { agentId: "other", archived: true, by: "device:a" }, 4);
    const page = async (filter: object) => {
      const { sessions, total } = await store.sessions.list({ limit: 2, offset: 0, archived: false, ...filter });
      return [sessions.map(({ key }) => key.split(":")[2]).join(""), total];
    };

    assert.deepEqual(await page({}), ["cb", 3]);
    assert.deepEqual(await page({ offset: 2 }), ["a", 3]);
    assert.deepEqual(await page({ offset: 3 }), ["", 3]);
    assert.deepEqual(await page({ archived: "all" }), ["dc", 4]);
    assert.deepEqual(await page({ archived: true }), ["d", 1]);
    assert.deepEqual(await page({ label: "a" }), ["a", 1]);
    assert.deepEqual(await page({ label: "b" }), ["b", 1]);
    assert.deepEqual(await page({ updatedSinceMs: 1, search: "main", agentId: "main" }), ["cb", 2]);
    assert.deepEqual(await page({ view: { key: "agent:main:c" }, agentId: "other" }), ["", 0]);
  });

  test(`${driver}: what is meant for one session changes no other of its key, and makes none`, async () => {
    await using store = await open();
    const key = "agent:main:a";
    const patch = (label: string, sessionId: string) =>
      store.sessions.patch(key, { agentId: "main", label, meant: { sessionId }, by: "t" }, 1);

    const early = await patch("early", "s");
    await store.sessions.patch(key, { agentId: "main", label: "made", by: "t" }, 1);
    const other = await patch("other", "s");
    const right = await patch("right", (await store.sessions.find(key))?.sessionId ?? "");

    assert.deepEqual([early.kind, other.kind, right.kind], ["other", "other", "patched"]);
    assert.equal((await store.sessions.find(key))?.label, "right");
  });

  test(`${driver}: lineage is written once`, async () => {
    await using store = await open();
    const lineage = { parentKey: "agent:main:main", depth: 1, role: "leaf" as const };

    const first = await store.sessions.patch("agent:main:subagent:x", { agentId: "main", lineage, by: "t" }, 1);
    const second = await store.sessions.patch(
      "agent:main:subagent:x",
      { agentId: "main", lineage: { ...lineage, parentKey: "agent:main:evil" }, by: "t" },
      2,
    );

    assert.equal(first.kind, "patched");
    assert.equal(second.kind, "lineage-fixed");
    assert.equal((await store.sessions.find("agent:main:subagent:x"))?.parentKey, "agent:main:main");
  });

  test(`${driver}: whoever stands deep and acts in a session further up stays as deep`, async () => {
    await using store = await open();
    const deep = { scopes: ["operator.write"], owner: true, depth: 1 };

    await store.runs.admit(run({ authority: deep }), 1);
    const parent = await claimOne(store, 2);
    const spawned = await store.runs.spawn(child(parent), 3);
    const [below] = (await store.runs.claim(claimer, () => 4)).claims;
    const beyond = below === undefined ? undefined : await store.runs.spawn(child(below, { parentSessionKey: "agent:main:main" }), 5);

    assert.deepEqual(parent.run.authority, { ...deep, owner: false });
    assert.equal(spawned.kind === "accepted" && spawned.run.authority.depth, 2);
    assert.deepEqual(beyond, { kind: "too-deep", depth: 2 });
  });

  test(`${driver}: only a device that nobody decided about is approved silently`, async () => {
    await using store = await open();

    const first = await store.devices.approveSilently(pairingAsk(), 1);
    const again = await store.devices.approveSilently(pairingAsk({ scopes: ["operator.admin"] }), 2);
    const { device } = await store.devices.find("d1").then((state) => (state.kind === "paired" ? state : assert.fail("not paired")));

    assert.equal(first.kind, "approved");
    assert.equal(again.kind, "not-new");
    assert.deepEqual(
      device.grants.map((grant) => grant.scopes),
      [["operator.read"]],
    );
  });

  test(`${driver}: a rejected key is never approved silently again, and approving it by hand forgets the refusal`, async () => {
    await using store = await open();
    const asked = await store.devices.requestPairing(pairingAsk(), 1);
    assert.equal(asked.kind, "pending");
    await store.devices.reject(asked.kind === "pending" ? asked.request.requestId : "", actor(["operator.admin"]), 2);

    const known = await store.devices.find("d1", pairingAsk().publicKey);
    const silent = await store.devices.approveSilently(pairingAsk(), 3);
    const second = await store.devices.requestPairing(pairingAsk(), 4);
    const approved = await store.devices.approve(second.kind === "pending" ? second.request.requestId : "", actor(["operator.admin"]), 5);
    const state = await store.devices.find("d1");

    assert.equal(known.kind === "unknown" && known.refused, true);
    assert.equal(silent.kind, "not-new");
    assert.equal(approved.kind, "approved");
    assert.equal(state.kind === "paired" && state.refused, false);
  });

  test(`${driver}: a narrower ask keeps the pending request, a wider one replaces it with the union`, async () => {
    await using store = await open();
    const first = await store.devices.requestPairing(pairingAsk({ scopes: ["operator.write"] }), 1);
    const narrower = await store.devices.requestPairing(pairingAsk({ scopes: ["operator.read"] }), 2);
    const wider = await store.devices.requestPairing(pairingAsk({ scopes: ["operator.pairing"] }), 3);
    assert.ok(first.kind === "pending" && narrower.kind === "pending" && wider.kind === "pending");

    assert.deepEqual([narrower.created, narrower.request.requestId], [false, first.request.requestId]);
    assert.deepEqual(
      [wider.created, wider.superseded, wider.request.scopes],
      [true, first.request.requestId, ["operator.pairing", "operator.write"]],
    );
    assert.equal((await store.devices.list(4)).pending.length, 1);
  });

  test(`${driver}: an approval needs every scope it grants and is answered the same twice`, async () => {
    await using store = await open();
    const asked = await store.devices.requestPairing(pairingAsk({ scopes: ["operator.admin"] }), 1);
    const requestId = asked.kind === "pending" ? asked.request.requestId : "";

    const denied = await store.devices.approve(requestId, actor(["operator.pairing", "operator.write"]), 2);
    const approved = await store.devices.approve(requestId, actor(["operator.admin"]), 3);
    const again = await store.devices.approve(requestId, actor(["operator.admin"]), 4);

    assert.deepEqual(denied, { kind: "exceeds-approver", scope: "operator.admin" });
    assert.equal(approved.kind, "approved");
    assert.deepEqual(again, approved);
  });

  test(`${driver}: a node is approved by admin alone, and is given no scopes of an operator`, async () => {
    await using store = await open();
    const asked = await store.devices.requestPairing(pairingAsk({ role: "node", scopes: ["operator.read"] }), 1);
    const requestId = asked.kind === "pending" ? asked.request.requestId : "";

    const denied = await store.devices.approve(requestId, actor(["operator.pairing", "operator.write"]), 2);
    const approved = await store.devices.approve(requestId, actor(["operator.admin"]), 3);

    assert.deepEqual(denied, { kind: "exceeds-approver", scope: "operator.admin" });
    assert.deepEqual(approved.kind === "approved" && approved.device.grants.map(({ role, scopes }) => [role, scopes]), [["node", []]]);
  });

  test(`${driver}: another key under the id of a device or a request takes over none of its scopes`, async () => {
    await using store = await open();
    const owner = actor(["operator.admin"]);
    const other = { publicKey: "o".repeat(43), scopes: ["operator.read"] };
    await store.devices.approveSilently(pairingAsk({ scopes: ["operator.write"] }), 1);
    await store.devices.requestPairing(pairingAsk({ scopes: ["operator.admin"], reason: "scope-upgrade" }), 2);

    const asked = await store.devices.requestPairing(pairingAsk(other), 3);
    const approved = await store.devices.approve(asked.kind === "pending" ? asked.request.requestId : "", owner, 4);

    assert.deepEqual(asked.kind === "pending" && asked.request.scopes, ["operator.read"]);
    assert.deepEqual(approved.kind === "approved" && approved.device.grants.map(({ scopes }) => scopes), [["operator.read"]]);
  });

  test(`${driver}: an expired request can be neither approved nor rejected`, async () => {
    await using store = await open();
    const asked = await store.devices.requestPairing(pairingAsk(), 0);
    const requestId = asked.kind === "pending" ? asked.request.requestId : "";

    assert.equal((await store.devices.approve(requestId, actor(["operator.admin"]), 300_000)).kind, "unknown");
    assert.equal((await store.devices.reject(requestId, actor(["operator.admin"]), 300_000)).kind, "unknown");
  });

  test(`${driver}: pending requests are bounded for a peer and the oldest are kept`, async () => {
    await using store = await open();
    const outcomes = [];
    for (let index = 0; index < 20; index += 1) {
      outcomes.push(
        (
          await store.devices.requestPairing(
            pairingAsk({ deviceId: `d${index}`, publicKey: String(index).padEnd(43, "x"), remoteIp: "203.0.113.9" }),
            1,
          )
        ).kind,
      );
    }
    const elsewhere = await store.devices.requestPairing(
      pairingAsk({ deviceId: "e", publicKey: "e".repeat(43), remoteIp: "203.0.113.10" }),
      1,
    );

    assert.deepEqual([outcomes.filter((kind) => kind === "pending").length, outcomes.at(-1)], [16, "dropped"]);
    assert.equal(elsewhere.kind, "pending");
  });

  test(`${driver}: every grant is in the audit chain`, async () => {
    await using store = await open();
    await store.devices.approveSilently(pairingAsk(), 1);
    await store.runs.admit(run({ authority: { scopes: ["operator.write"], owner: true, depth: 0 } }), 2);
    const parent = await claimOne(store, 3);
    await store.runs.spawn(child(parent), 4);

    const rows = await store.audit.list(10);

    assert.deepEqual(
      rows.map((row) => row.kind),
      ["device.paired", "run.started-as-owner", "run.spawned"],
    );
    assert.equal(await store.audit.findBreak(), undefined);
  });

  test(`${driver}: failed attempts are kept for a bounded number of peers, the newest ones`, async () => {
    await using store = await open();
    const rule = { maxFailures: 3, windowMs: 60_000, lockMs: 300_000 };
    const fail = (index: number) => store.attempts.fail({ kind: "shared-secret", peer: `p${index}` }, rule, index);

    await Promise.all(Array.from({ length: 4_100 }, (_, index) => fail(index)));

    assert.equal(await store.attempts.count(), 4_096);
    assert.deepEqual(
      [await fail(4_099), await fail(0)].map((outcome) => outcome.kind === "counted" && outcome.failures),
      [2, 1],
    );
  });

  test(`${driver}: a stop of a session stops every run in its children's sessions, so that none waits for what was cancelled`, async () => {
    await using store = await open();
    await store.runs.admit(run(), 1);
    const parent = await claimOne(store, 2);
    const spawned = await store.runs.spawn(child(parent), 3);
    assert.ok(spawned.kind === "accepted");
    const { sessionKey } = spawned.run;
    await store.runs.admit(run({ sessionKey, wireId: "visitor", startedBy: "device:b" }), 4);
    await store.runs.cancel({ sessionKey, runId: spawned.run.runId }, new Map(), 5);
    const visitor = (await store.runs.claim(claimer, () => 6)).claims.find((claim) => claim.run.wireId === "visitor");
    assert.ok(visitor !== undefined);
    await store.runs.spawn(child(visitor, { idempotencyKey: "c2" }), 7);
    assert.equal(await store.runs.park(visitor.run.runId, visitor.epoch, 0, 8), "parked");

    await store.runs.cancel({ sessionKey: parent.run.sessionKey }, new Map(), 9);

    assert.equal((await store.runs.find(visitor.run.runId))?.status, "cancelled");
  });

  test(`${driver}: what a worker that lost its claim had streamed is not kept`, async () => {
    await using store = await open();
    await store.runs.admit(run(), 1);
    const zombie = await claimOne(store, 2);
    await claimOne(store, 2 + claimer.leaseMs, { owner: "w2" });

    const [cancelled] = await store.runs.cancel(
      { sessionKey: zombie.run.sessionKey },
      new Map([[zombie.run.runId, { epoch: zombie.epoch, text: "stale" }]]),
      2_000,
    );

    assert.equal(cancelled?.ending?.text, "");
  });
}
