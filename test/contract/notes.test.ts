/** Messages that start no turn: what every store does with them. */
import assert from "node:assert/strict";
import test from "node:test";
import { createIds } from "../../packages/gateway/src/kit/ids.ts";
import { openStoreFile } from "../../packages/gateway/src/store/sqlite.ts";
import type { Admission, RunToAdmit } from "../../packages/gateway/src/store/admitting.ts";
import type { Claim, Store } from "../../packages/gateway/src/store/store.ts";
import { childOf, claimer, endedWell, runToAdmit } from "../support/stored-runs.ts";

const key = "agent:main:main";

function admit(store: Store, wireId: string, nowMs: number, over: Partial<RunToAdmit> = {}): Promise<Admission> {
  return store.runs.admit(runToAdmit({ wireId, input: `say ${wireId}`, ...over }), nowMs);
}

const note = (store: Store, wireId: string, nowMs: number, over: Partial<RunToAdmit> = {}) =>
  admit(store, wireId, nowMs, { queueMode: "notify", ...over });

async function claim(store: Store, nowMs: number): Promise<Claim | undefined> {
  return (await store.runs.claim(claimer, () => nowMs)).claims[0];
}

async function said(store: Store): Promise<readonly string[]> {
  const { messages } = await store.sessions.listMessages(key, { limit: 100, offset: 0 });
  return messages.flatMap(({ content }) => content.flatMap((block) => (block.type === "text" ? [block.text] : [])));
}

test("a note starts no turn; the next turn of its session reads it before what it is asked, once, and survives its worker", async () => {
  await using store = await openStoreFile(":memory:", createIds());
  const first = await note(store, "n1", 1);
  const again = await note(store, "n1", 2);
  await note(store, "n2", 3);

  const idle = await claim(store, 4);
  const before = await said(store);
  await admit(store, "k1", 5);
  const turn = await claim(store, 6);
  await store.runs.endLeases();
  await claim(store, 7);
  await admit(store, "k2", 8);

  assert.deepEqual(first.kind === "admitted" && [first.run.status, first.run.ending?.stopReason], ["succeeded", "noted"]);
  assert.equal(again.kind, "replayed");
  assert.deepEqual([idle, before], [undefined, []]);
  assert.equal(turn?.run.wireId, "k1");
  assert.deepEqual(await said(store), ["say n1", "say n2", "say k1"]);
});

test("a note for a session that works waits for the turn after, or for what wakes a parked run", async () => {
  await using store = await openStoreFile(":memory:", createIds());
  await admit(store, "k1", 1);
  const parent = (await claim(store, 2)) ?? assert.fail();
  await note(store, "n1", 3);
  const child = await store.runs.spawn(childOf(parent), 4);
  const parks = { kind: "tool-result", toolCallId: "y", name: "sessions_yield", text: "", isError: false, parks: true } as const;
  const reply = {
    kind: "reply",
    content: [{ type: "toolCall", id: "y", name: "sessions_yield", arguments: {} }],
    model: "m",
    reason: "tool-calls",
    usage: { input: 1, output: 1, totalTokens: 2 },
  } as const;
  await store.runs.append(parent.run.runId, parent.epoch, [reply, parks], [], 5);
  await store.runs.park(parent.run.runId, parent.epoch, 0, 6);
  const working = (await claim(store, 7)) ?? assert.fail();
  const before = await said(store);
  await store.runs.end(working.run.runId, working.epoch, endedWell, [], 8);

  const woken = await claim(store, 9);

  assert.equal(child.kind, "accepted");
  assert.deepEqual(before, ["say k1"]);
  assert.equal(woken?.run.wireId, "k1");
  assert.deepEqual(await said(store), ["say k1", "say n1", "result|0"]);
});

test("what a person noted is put to no run that may do more than that person; what an agent noted is data to all", async () => {
  await using store = await openStoreFile(":memory:", createIds());
  const owners = { scopes: ["operator.write"], owner: true, depth: 0 };
  await admit(store, "elsewhere", 0, { sessionKey: "agent:main:other" });
  const sender = (await claim(store, 1)) ?? assert.fail();
  await note(store, "stranger", 1, { startedBy: "device:b" });
  await note(store, "agent", 2, { startedBy: `run:${sender.run.runId}` });
  await admit(store, "owner", 3, { authority: owners });
  const turn = (await claim(store, 4)) ?? assert.fail();
  const forOwner = await said(store);
  await store.runs.end(turn.run.runId, turn.epoch, endedWell, [], 5);

  await admit(store, "ordinary", 6);
  await claim(store, 7);

  assert.deepEqual(forOwner, ["say agent", "say owner"]);
  assert.deepEqual((await said(store)).slice(2), ["say stranger", "say ordinary"]);
});

test("a note goes with its session, and only so many wait", async () => {
  await using store = await openStoreFile(":memory:", createIds());
  for (let count = 1; count <= 20; count += 1) await note(store, `n${count}`, count);
  const full = await note(store, "n21", 21);
  const known = await note(store, "n20", 22);
  const elsewhere = await note(store, "m1", 23, { sessionKey: "agent:main:other" });

  await store.sessions.delete(key, "device:a", 24);
  await admit(store, "k1", 25);
  await claim(store, 26);

  assert.deepEqual(full, { kind: "too-many-notes", unread: 20 });
  assert.deepEqual([known.kind, elsewhere.kind], ["replayed", "admitted"]);
  assert.deepEqual(await said(store), ["say k1"]);
});

test("a session that is emptied has no note left to read", async () => {
  await using store = await openStoreFile(":memory:", createIds());
  await note(store, "n1", 1);

  const reset = await store.sessions.reset(key, { meant: {}, by: "device:a" }, 2);
  await admit(store, "k1", 3);
  await claim(store, 4);

  assert.equal(reset.kind, "reset");
  assert.deepEqual(await said(store), ["say k1"]);
});

test("a message has its place in the history, and the next one the place after", async () => {
  await using store = await openStoreFile(":memory:", createIds());
  const place = (wireId?: string) => store.sessions.placeOf(key, wireId === undefined ? undefined : { text: `say ${wireId}`, sinceMs: 1 });
  await note(store, "n1", 1);
  const empty = await place();
  await admit(store, "k1", 2);
  await claim(store, 3);

  assert.deepEqual([empty, await place("n1"), await place("k1"), await place("k2"), await place()], [1, 1, 2, 3, 3]);
});
