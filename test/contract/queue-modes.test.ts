/** What every store does with messages for a busy session, and with runs that cannot be continued. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { createIds } from "../../packages/gateway/src/kit/ids.ts";
import { openStoreFile } from "../../packages/gateway/src/store/sqlite.ts";
import { childOf, claimer as ordinaryClaimer, endedWell as done, runToAdmit } from "../support/stored-runs.ts";
import { unlimited } from "../../packages/gateway/src/principal/lattice.ts";
import type { ChildToSpawn } from "../../packages/gateway/src/store/spawning.ts";
import type { Claimer } from "../../packages/gateway/src/store/claimer.ts";
import type { RunToAdmit } from "../../packages/gateway/src/store/admitting.ts";
import type { Claim, Store } from "../../packages/gateway/src/store/store.ts";

const claimer: Claimer = { ...ordinaryClaimer, maxConcurrentChildren: 2, quote: () => "results" };
const key = "agent:main:main";
const weak = { scopes: [], owner: false, depth: 0 };
const ownersOwn = { scopes: ["operator.write"], owner: true, depth: 0 };

function message(wireId: string, queueMode: RunToAdmit["queueMode"], over: Partial<RunToAdmit> = {}): RunToAdmit {
  return runToAdmit({ wireId, input: `say ${wireId}`, queueMode, ...over });
}

/** One that an operator asks for, unless a run is named. */
function child(over: Partial<ChildToSpawn>): ChildToSpawn {
  const limits = { maxSpawnDepth: 2, maxChildrenPerAgent: 100 };
  return { ...childOf({ run: { sessionKey: key, runId: "" } }), parentRunId: undefined, spawnedBy: "device:a", limits, ...over };
}

async function claimAll(store: Store, nowMs: number, over: Partial<Claimer> = {}): Promise<readonly Claim[]> {
  return (await store.runs.claim({ ...claimer, ...over }, () => nowMs)).claims;
}

async function working(store: Store, over: Partial<RunToAdmit> = {}): Promise<Claim> {
  await store.runs.admit(message("first", "steer", over), 1);
  const [claim] = await claimAll(store, 2);
  assert.ok(claim !== undefined);
  return claim;
}

async function texts(store: Store): Promise<readonly string[]> {
  const { messages } = await store.sessions.listMessages(key, { limit: 100, offset: 0 });
  return messages.flatMap(({ content }) => content.flatMap((block) => (block.type === "text" ? [block.text] : [])));
}

function absorb(store: Store, { run, epoch }: Claim, nowMs: number) {
  return store.runs.absorb({ runId: run.runId, sessionKey: run.sessionKey, epoch }, nowMs);
}

test("a steering message is taken into the run that works: in its journal, in the transcript once, and its own run ends", async () => {
  await using store = await openStoreFile(":memory:", createIds());
  const claim = await working(store);
  await store.runs.admit(message("more", "steer"), 3);

  const taken = await absorb(store, claim, 4);
  const again = await absorb(store, claim, 5);

  assert.equal(taken.kind, "absorbed");
  assert.deepEqual(taken.kind === "absorbed" && taken.runs.map((run) => [run.wireId, run.status, run.ending?.stopReason]), [
    ["more", "succeeded", "steered"],
  ]);
  assert.equal(again.kind, "nothing");
  assert.deepEqual(await texts(store), ["say first", "say more"]);
  assert.deepEqual(await claimAll(store, 6), []);
});

test("a steering message that no run took in gets a turn of its own", async () => {
  await using store = await openStoreFile(":memory:", createIds());
  const claim = await working(store);
  await store.runs.admit(message("more", "steer"), 3);
  await store.runs.end(claim.run.runId, claim.epoch, done, [], 4);

  const [next] = await claimAll(store, 5);

  assert.equal(next?.run.wireId, "more");
});

test("a worker that lost its claim takes nothing in", async () => {
  await using store = await openStoreFile(":memory:", createIds());
  const claim = await working(store);
  await claimAll(store, 2 + claimer.leaseMs, { owner: "w2" });
  await store.runs.admit(message("more", "steer"), 3_000);

  assert.equal((await absorb(store, claim, 3_001)).kind, "lost");
});

test("a message steers no run that may do more than its sender", async () => {
  await using store = await openStoreFile(":memory:", createIds());
  const claim = await working(store, { authority: ownersOwn });
  await store.runs.admit(message("stranger", "steer", { startedBy: "device:b" }), 3);
  await store.runs.admit(message("reader", "steer", { authority: { ...ownersOwn, scopes: ["operator.read"] } }), 3);

  const before = await absorb(store, claim, 4);
  await store.runs.admit(message("owner", "steer", { authority: ownersOwn }), 5);
  const after = await absorb(store, claim, 6);

  assert.equal(before.kind, "nothing");
  assert.deepEqual(after.kind === "absorbed" && after.runs.map((run) => run.wireId), ["owner"]);
});

test("a parked run wakes for a steering message and keeps its id; one that it may not take in runs beside it", async () => {
  await using store = await openStoreFile(":memory:", createIds());
  const claim = await working(store);
  await store.runs.spawn(child({ parentRunId: claim.run.runId, spawnedBy: `run:${claim.run.runId}` }), 3);
  await store.runs.park(claim.run.runId, claim.epoch, 0, 4);
  await claimAll(store, 5);
  await store.runs.admit(message("reader", "steer", { authority: weak }), 6);
  const beside = await claimAll(store, 7);
  for (const { run, epoch } of beside) await store.runs.end(run.runId, epoch, done, [], 8);
  await store.runs.admit(message("more", "steer"), 9);

  const [woken, ...others] = await claimAll(store, 10);

  assert.deepEqual(
    beside.map(({ run }) => run.wireId),
    ["reader"],
  );
  assert.deepEqual([woken?.run.runId, others.length], [claim.run.runId, 0]);
  assert.deepEqual(
    woken?.absorbed.map((run) => run.wireId),
    ["more"],
  );
  assert.equal(woken?.journal.at(-1)?.kind, "steered");
});

test("collected messages are one turn, in their order; what was queued otherwise is not in it", async () => {
  await using store = await openStoreFile(":memory:", createIds());
  const claim = await working(store);
  await store.runs.admit(message("a", "collect"), 3);
  await store.runs.admit(message("b", "followup"), 4);
  await store.runs.admit(message("c", "collect"), 5);
  await store.runs.end(claim.run.runId, claim.epoch, done, [], 6);

  const [turn] = await claimAll(store, 7);
  assert.ok(turn !== undefined);
  await store.runs.end(turn.run.runId, turn.epoch, done, [], 8);
  const [last] = await claimAll(store, 9);

  assert.deepEqual([turn.run.wireId, turn.absorbed.map((run) => [run.wireId, run.ending?.stopReason])], ["a", [["c", "collected"]]]);
  assert.equal(last?.run.wireId, "b");
  assert.deepEqual(await texts(store), ["say first", "say a", "say c", "say b"]);
});

test("an interrupting message cancels what runs and waits, keeps the partial text, and may be repeated", async () => {
  await using store = await openStoreFile(":memory:", createIds());
  const claim = await working(store);
  await store.runs.admit(message("queued", "followup"), 3);
  const partials = new Map([[claim.run.runId, { epoch: claim.epoch, text: "half an ans" }]]);

  const first = await store.runs.admit(message("now", "interrupt"), 4, partials);
  const again = await store.runs.admit(message("now", "interrupt"), 5);
  const [next, ...others] = await claimAll(store, 6);

  assert.deepEqual(first.kind === "admitted" && first.interrupted.map((run) => [run.wireId, run.status]), [
    ["first", "cancelled"],
    ["queued", "cancelled"],
  ]);
  assert.equal(again.kind, "replayed");
  assert.deepEqual([next?.run.wireId, others.length], ["now", 0]);
  assert.deepEqual(await texts(store), ["say first", "half an ans", "say now"]);
});

test("a cancel that comes just after a whole reply keeps it once, also when the reply was found not to be what was asked for", async () => {
  for (const after of [[], [{ kind: "repair", message: "not JSON" }]] as const) {
    await using store = await openStoreFile(":memory:", createIds());
    const claim = await working(store);
    const reply = { kind: "reply", content: [], model: "m", reason: "stop", usage: { input: 1, output: 1, totalTokens: 2 } } as const;
    await store.runs.append(claim.run.runId, claim.epoch, [reply, ...after], [], 3);

    await store.runs.cancel({ sessionKey: key }, new Map([[claim.run.runId, { epoch: claim.epoch, text: "the whole reply" }]]), 4);

    assert.deepEqual(await texts(store), ["say first"]);
  }
});

test("a run whose journal cannot be read is given up by name; every other one goes on", async () => {
  const folder = mkdtempSync(join(tmpdir(), "portreeve-test-"));
  try {
    const file = join(folder, "portreeve.db");
    await using store = await openStoreFile(file, createIds());
    const claim = await working(store);
    await store.runs.admit(message("other", "followup", { sessionKey: "agent:main:other" }), 3);
    using raw = new DatabaseSync(file);
    raw.exec("update journal set entry = '{not json'");
    await store.runs.endLeases();

    const { claims, givenUp } = await store.runs.claim(claimer, () => 4);

    assert.deepEqual(
      claims.map(({ run }) => run.wireId),
      ["other"],
    );
    assert.deepEqual(
      givenUp.map((run) => [run.runId, run.status]),
      [[claim.run.runId, "interrupted"]],
    );
    assert.match(givenUp[0]?.ending?.error ?? "", /entry 1 of the journal of run_\w+ cannot be read/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("a slot for children goes to the conversation that has the fewest", async () => {
  await using store = await openStoreFile(":memory:", createIds());
  const spawnFor = async (root: string, count: number, atMs: number): Promise<void> => {
    for (let index = 0; index < count; index += 1)
      await store.runs.spawn(
        child({ parentSessionKey: `agent:main:${root}`, task: root, idempotencyKey: `${root}${index}` }),
        atMs + index,
      );
  };
  await spawnFor("greedy", 10, 1);
  await spawnFor("modest", 2, 50);

  const first = await claimAll(store, 100, { maxConcurrentChildren: 4 });

  assert.deepEqual(
    first.map(({ run }) => run.input),
    ["greedy", "modest", "greedy", "modest"],
  );
});

test("results, scopes, terms and messages that cannot be read are named or permit nothing, and hold up nobody", async () => {
  const folder = mkdtempSync(join(tmpdir(), "portreeve-test-"));
  try {
    const file = join(folder, "portreeve.db");
    await using store = await openStoreFile(file, createIds());
    const { run, epoch } = await working(store);
    await store.runs.spawn(child({ parentRunId: run.runId, spawnedBy: `run:${run.runId}` }), 3);
    await store.runs.park(run.runId, epoch, 0, 4);
    const [below] = await claimAll(store, 5);
    assert.ok(below !== undefined);
    await store.runs.end(below.run.runId, below.epoch, done, [], 6);
    using raw = new DatabaseSync(file);
    raw.exec("update inbox set completion = '{'; update runs set scopes = '{', terms = '{'; update messages set body = '{'");

    const [woken] = await claimAll(store, 7);
    const { messages } = await store.sessions.listMessages(key, { limit: 10, offset: 0 });
    const listed = await store.sessions.find(key);

    assert.equal(woken?.run.runId, run.runId);
    assert.match(woken?.consumed[0]?.text ?? "", /^The result inbox_\w+ cannot be read\.$/);
    assert.deepEqual([woken?.run.authority.scopes, woken?.run.authority.limits?.tools], [[], []]);
    assert.match(JSON.stringify(messages[0]?.content), /message msg_\w+ cannot be read/);
    assert.deepEqual(listed?.newestRun?.scopes, []);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("what a run asks for by a message ends no later than the run itself, however it came by its deadline", async () => {
  await using store = await openStoreFile(":memory:", createIds());
  const sender = await working(store, { timeoutMs: 100 });
  const limited = { scopes: ["operator.write"], owner: false, depth: 0, limits: { ...unlimited, deadline: 50 } };
  const startedBy = `run:${sender.run.runId}`;
  const other = { sessionKey: "agent:main:other", startedBy };

  const admissions = [
    await store.runs.admit(message("a", "followup", other), 3),
    await store.runs.admit(message("b", "followup", { ...other, authority: limited }), 3),
    await store.runs.admit(message("c", "followup", { sessionKey: "agent:main:other" }), 3),
  ];

  assert.equal(sender.run.deadlineAtMs, 102);
  assert.deepEqual(
    admissions.map((one) => one.kind === "admitted" && one.run.deadlineAtMs),
    [102, 50, undefined],
  );
});
