/** What every store does with runs whose worker died. */
import assert from "node:assert/strict";
import test from "node:test";
import { createIds } from "../../packages/gateway/src/kit/ids.ts";
import { openStoreFile } from "../../packages/gateway/src/store/sqlite.ts";
import type { Claimer } from "../../packages/gateway/src/store/claimer.ts";
import type { Claim, Claimed, Store } from "../../packages/gateway/src/store/store.ts";
import { childOf, claimer, runToAdmit } from "../support/stored-runs.ts";

/** Admits a run for each of these names, in a session of its own. */
async function admitAll(store: Store, names: readonly string[], nowMs: number): Promise<void> {
  for (const [index, name] of names.entries())
    await store.runs.admit(runToAdmit({ wireId: name, sessionKey: `agent:main:${name}` }), nowMs + index);
}

/** Claims `times` times, each after the worker before it has died. */
async function claimAfterDeaths(store: Store, times: number, fromMs: number): Promise<readonly Claimed[]> {
  const claimed: Claimed[] = [];
  for (let time = 0; time < times; time += 1) {
    await store.runs.endLeases();
    claimed.push(await store.runs.claim(claimer, () => fromMs + time));
  }
  return claimed;
}

const countsOf = (claimed: readonly Claimed[]) => claimed.map(({ claims, givenUp }) => [claims.length, givenUp.length]);

const namesOf = ({ claims }: Claimed) => claims.map(({ run, isSuspect }) => (isSuspect ? `${run.wireId}?` : run.wireId));

async function getOn(store: Store, { run, epoch }: Claim, nowMs: number): Promise<void> {
  await store.runs.append(run.runId, epoch, [{ kind: "tool-intent", toolCallId: "x", name: "ls", args: {} }], [], nowMs);
}

test("a run whose workers die again and again at the same step is given up; one that got on is not", async () => {
  await using store = await openStoreFile(":memory:", createIds());
  await admitAll(store, ["a"], 1);
  const [first] = (await store.runs.claim(claimer, () => 2)).claims;
  assert.ok(first !== undefined);

  const early = await claimAfterDeaths(store, 2, 10);
  const heir = early.at(-1)?.claims[0];
  assert.ok(heir !== undefined);
  await getOn(store, heir, 20);
  const late = await claimAfterDeaths(store, 3, 30);

  assert.deepEqual(countsOf(early), [
    [1, 0],
    [1, 0],
  ]);
  assert.deepEqual(countsOf(late), [
    [1, 0],
    [1, 0],
    [0, 1],
  ]);
  assert.equal((await store.runs.find(first.run.runId))?.status, "interrupted");
});

test("a lease that was given back is no death", async () => {
  await using store = await openStoreFile(":memory:", createIds());
  await admitAll(store, ["a"], 1);
  await store.runs.claim(claimer, () => 2);

  const claims: number[] = [];
  for (let time = 0; time < 5; time += 1) {
    await store.runs.release(claimer.owner);
    claims.push((await store.runs.claim(claimer, () => 10 + time)).claims.length);
  }

  assert.deepEqual(claims, [1, 1, 1, 1, 1]);
});

test("what a worker could not write it gives back with its next claim: no death is counted, and nobody has it sooner", async () => {
  await using store = await openStoreFile(":memory:", createIds());
  await admitAll(store, ["a"], 1);

  const claimed: Claimed[] = [];
  let letGo: Claimer["letGo"] = [];
  for (let nowMs = 0; nowMs < 100_000; nowMs += 10_000) {
    const claims = await store.runs.claim({ ...claimer, letGo }, () => nowMs);
    const [{ run, epoch }] = claims.claims as [Claim];
    claimed.push(claims);
    letGo = [{ runId: run.runId, epoch, notBeforeMs: nowMs + 5_000 }];
    claimed.push(await store.runs.claim({ ...claimer, letGo }, () => nowMs + 1), await store.runs.claim(claimer, () => nowMs + 4_999));
  }

  assert.deepEqual(
    claimed.map(namesOf),
    Array(10)
      .fill([["a"], [], []])
      .flat(),
  );
});

test("a worker gives back nothing that another one took, and nothing beyond its deadline or before its lease", async () => {
  await using store = await openStoreFile(":memory:", createIds());
  await admitAll(store, ["taken"], 1);
  await store.runs.admit(runToAdmit({ wireId: "due", sessionKey: "agent:main:due", timeoutMs: 3_000 }), 2);
  const own = await store.runs.claim(claimer, () => 10);
  const letGo = own.claims.map(({ run, epoch }) => ({ runId: run.runId, epoch, notBeforeMs: 1_000_000 }));
  const early = own.claims.map(({ run, epoch }) => ({ runId: run.runId, epoch, notBeforeMs: 20 }));

  const sooner = await store.runs.claim({ ...claimer, letGo: early.slice(1) }, () => 20);
  await store.runs.claim({ ...claimer, owner: "w2", limit: 1 }, () => 2_000);
  await store.runs.claim({ ...claimer, letGo }, () => 2_000);
  const later = await store.runs.claim({ ...claimer, owner: "w3" }, () => 3_010);

  assert.deepEqual([sooner, later].map(namesOf), [[], ["taken?", "due"]]);
});

test("what workers died with twice in a row goes first and one at a time, whoever began its step last before the others; the next when that one got on", async () => {
  await using store = await openStoreFile(":memory:", createIds());
  await admitAll(store, ["a", "b", "c"], 1);
  const first = await store.runs.claim(claimer, () => 10);
  for (const claim of first.claims.filter(({ run }) => run.wireId === "b")) await getOn(store, claim, 11);
  const again = await claimAfterDeaths(store, 1, 20);
  await store.runs.endLeases();
  await admitAll(store, ["new"], 30);

  const third = await store.runs.claim(claimer, () => 40);
  const beside = await store.runs.claim({ ...claimer, takesSuspect: false }, () => 41);
  for (const claim of third.claims) await getOn(store, claim, 42);
  const fourth = await store.runs.claim(claimer, () => 43);

  assert.deepEqual(again.map(namesOf), [["a", "b", "c"]]);
  assert.deepEqual([third, beside, fourth].map(namesOf), [["b?", "new"], [], ["c?"]]);
});

test("a run that its worker dies of is given up, and no other that was carried at the same time", async () => {
  await using store = await openStoreFile(":memory:", createIds());
  await admitAll(store, ["a", "b", "deadly", "c", "d"], 1);
  const lives: string[][] = [];
  const givenUp: string[] = [];

  for (let nowMs = 10; givenUp.length === 0 && lives.length < 20; nowMs += 10) {
    const claimed = await store.runs.claim(claimer, () => nowMs);
    lives.push(namesOf(claimed));
    givenUp.push(...claimed.givenUp.map(({ wireId }) => wireId));
    if (claimed.claims.some(({ run }) => run.wireId === "deadly")) await store.runs.endLeases();
    else for (const claim of claimed.claims) await getOn(store, claim, nowMs + 1);
  }

  assert.deepEqual(givenUp, ["deadly"]);
  const all = ["a", "b", "deadly", "c", "d"];
  assert.deepEqual(lives, [all, all, ["d?"], ["c?"], ["deadly?"], ["b?", "c", "d"]]);
});

test("a worker takes over nothing that it carries itself, however late it is, and keeps it for another lease", async () => {
  await using store = await openStoreFile(":memory:", createIds());
  await admitAll(store, ["a"], 1);
  const [own] = (await store.runs.claim(claimer, () => 10)).claims;
  const carries: Claimer["carries"] = (runId, epoch) => runId === own?.run.runId && epoch === own.epoch;

  const late = await store.runs.claim({ ...claimer, carries }, () => 1_000_000);
  const other = await store.runs.claim({ ...claimer, owner: "w2" }, () => 1_000_000 + claimer.leaseMs - 1);
  const append = await store.runs.append(own?.run.runId ?? "", own?.epoch ?? 0, [], [], 1_000_000);

  assert.deepEqual([late, other].map(namesOf), [[], []]);
  assert.equal(append, "ok");
});

test("what a worker carries it has no longer when another one took it, and what it carries no more is anybody's", async () => {
  await using store = await openStoreFile(":memory:", createIds());
  await admitAll(store, ["taken", "dropped"], 1);
  const [taken] = (await store.runs.claim(claimer, () => 10)).claims;
  const carries: Claimer["carries"] = (runId, epoch) => runId === taken?.run.runId && epoch === taken.epoch;

  const other = await store.runs.claim({ ...claimer, owner: "w2", limit: 1 }, () => 2_000);
  const own = await store.runs.claim({ ...claimer, carries }, () => 2_001);
  const late = await store.runs.claim({ ...claimer, owner: "w2", carries }, () => 3_000);

  assert.deepEqual([other, own, late].map(namesOf), [["taken"], ["dropped"], ["taken?"]]);
});

test("a child that its worker carries has its slot, however late the worker is", async () => {
  await using store = await openStoreFile(":memory:", createIds());
  await admitAll(store, ["parent"], 1);
  const [parent] = (await store.runs.claim(claimer, () => 2)).claims;
  assert.ok(parent !== undefined);
  for (const idempotencyKey of ["c1", "c2"]) await store.runs.spawn(childOf(parent, { idempotencyKey }), 3);
  const one = { ...claimer, carries: () => true, maxConcurrentChildren: 1 };
  const first = await store.runs.claim(one, () => 4);

  const late = await store.runs.claim(one, () => 1_000_000);

  assert.deepEqual(
    [first, late].map(({ claims }) => claims.length),
    [1, 0],
  );
});

test("whoever slept as the clock was set back takes nothing from the worker that lives by it", async () => {
  await using store = await openStoreFile(":memory:", createIds());
  await admitAll(store, ["a"], 1);
  const alive = await store.runs.claim(claimer, () => 10);

  let nowMs = 1_000_000;
  const asked = store.runs.claim({ ...claimer, owner: "sleeper" }, () => nowMs);
  nowMs = 11;
  const woken = await asked;

  assert.deepEqual([alive, woken].map(namesOf), [["a"], []]);
});

test("whoever slept as the clock was set back ends nothing before its deadline", async () => {
  await using store = await openStoreFile(":memory:", createIds());
  await store.runs.admit(runToAdmit({ timeoutMs: 100 }), 1);
  await store.runs.claim(claimer, () => 10);

  let nowMs = 1_000_000;
  const asked = store.runs.expire(() => nowMs);
  nowMs = 11;
  const early = await asked;
  const due = await store.runs.expire(() => 110);

  assert.deepEqual([early.running.length, due.running.length], [0, 1]);
});
