/** What every store driver must hold of compactions: only the model's view of a transcript changes. */
import assert from "node:assert/strict";
import test from "node:test";
import { createIds } from "../../packages/gateway/src/kit/ids.ts";
import type { JournalEntry } from "../../packages/gateway/src/store/journal.ts";
import { openStoreFile } from "../../packages/gateway/src/store/sqlite.ts";
import type { Claim, Store, TranscriptMessage } from "../../packages/gateway/src/store/store.ts";
import { childOf, claimer, endedWell, runToAdmit } from "../support/stored-runs.ts";

const drivers: Readonly<Record<string, () => Promise<Store>>> = { sqlite: () => openStoreFile(":memory:", createIds()) };
const key = "agent:main:main";
const usage = { input: 40, output: 4, totalTokens: 44 };

type Compacted = Extract<JournalEntry, { kind: "compacted" }>;
const compacted = (throughSeq: number, over: Partial<Compacted> = {}): Compacted => ({
  kind: "compacted",
  throughSeq,
  summary: `up to ${throughSeq}`,
  enough: true,
  usage,
  ...over,
});

/** A run in a session of six messages; the run's own one is the first. */
async function openConversation(store: Store): Promise<Claim> {
  const authority = { scopes: ["operator.write"], owner: false, depth: 0 };
  const asked = { sessionKey: key, agentId: "main", wireId: "k", input: "one", label: undefined, defaultModel: "fake/test", authority };
  await store.runs.admit({ ...asked, startedBy: "device:a", timeoutMs: undefined, paramsHash: "h", queueMode: "followup" }, 1);
  const [claim] = (await store.runs.claim({ ...claimer, limit: 1 }, () => 2)).claims;
  assert.ok(claim);
  const messages = ["two", "three", "four", "five", "six"].map((text): TranscriptMessage => ({
    role: "assistant",
    content: [{ type: "text", text }],
    timestamp: 3,
  }));
  await store.runs.append(claim.run.runId, claim.epoch, [], messages, 3);
  return claim;
}

const seqs = async (store: Store): Promise<readonly number[]> =>
  (await store.sessions.view(key)).messages.map(({ __openclaw }) => __openclaw.seq);

for (const [driver, open] of Object.entries(drivers)) {
  test(`${driver}: the newest summary stands for what came before it, and the history keeps every message`, async () => {
    await using store = await open();
    const { run, epoch } = await openConversation(store);

    const before = await store.sessions.view(key);
    await store.runs.append(run.runId, epoch, [compacted(2), compacted(4, { pinnedSeq: 1 })], [], 4);
    const after = await store.sessions.view(key);
    const { messages, total } = await store.sessions.listMessages(key, { limit: 10, offset: 0 });

    assert.deepEqual([before.summary, before.messages.length], [undefined, 6]);
    assert.deepEqual(after.summary, { text: "up to 4", throughSeq: 4 });
    assert.deepEqual([after.pinned?.__openclaw.seq, await seqs(store)], [1, [5, 6]]);
    assert.deepEqual([messages.length, total], [6, 6]);
  });

  test(`${driver}: a message that no person, job or spawn asked for says what wrote it`, async () => {
    await using store = await open();
    const parent = await openConversation(store);
    const sender = { sessionKey: key, startedBy: `run:${parent.run.runId}` };
    const child = await store.runs.spawn(childOf(parent), 3);
    for (const [wireId, queueMode, over] of [
      ["steer", "steer", sender],
      ["person", "steer", {}],
      ["next", "followup", sender],
      ["note", "notify", sender],
    ] as const) {
      await store.runs.admit(runToAdmit({ wireId, input: wireId, queueMode, ...over }), 4);
    }
    await store.runs.absorb({ ...parent.run, epoch: parent.epoch }, 5);
    await store.runs.end(parent.run.runId, parent.epoch, endedWell, [], 6);
    for (let round = 0; round < 3; round += 1) {
      const { claims } = await store.runs.claim(claimer, () => 7 + round);
      for (const { run, epoch } of claims) await store.runs.end(run.runId, epoch, endedWell, [], 7 + round);
    }
    const originsIn = async (of: string) =>
      (await store.sessions.view(of)).messages
        .filter(({ role }) => role === "user")
        .map(({ origin, content: [block] }) => [block?.type === "text" ? block.text : "", origin]);

    assert.ok(child.kind === "accepted");
    assert.deepEqual(await originsIn(child.run.sessionKey), [["look", undefined]]);
    assert.deepEqual(await originsIn(key), [
      ["one", undefined],
      ["steer", "agent"],
      ["person", undefined],
      ["note", "agent"],
      ["next", "agent"],
      ["result|0", "results"],
    ]);
  });

  test(`${driver}: a compaction of a lost claim changes and charges nothing`, async () => {
    await using store = await open();
    const { run, epoch } = await openConversation(store);

    const outcome = await store.runs.append(run.runId, epoch - 1, [compacted(4)], [], 4);

    assert.equal(outcome, "lost");
    assert.equal((await store.sessions.view(key)).summary, undefined);
    assert.deepEqual(await store.usage.list({ fromMs: 0, toMs: 1_000_000, offsetMs: 0 }), []);
  });

  test(`${driver}: by hand, the first of two stands, and both calls are charged`, async () => {
    await using store = await open();
    await openConversation(store);
    const { session } = await store.sessions.view(key);
    const ask = { model: "fake/test", session, sawThroughSeq: undefined };

    const first = await store.sessions.compact(key, { entry: compacted(4), ...ask }, 5);
    const second = await store.sessions.compact(key, { entry: compacted(3), ...ask }, 6);
    const missing = await store.sessions.compact("agent:main:none", { entry: compacted(3), ...ask, session: undefined }, 7);
    const [sum] = await store.usage.list({ fromMs: 0, toMs: 1_000_000, offsetMs: 0 });

    assert.deepEqual([first, second, missing], ["kept", "overtaken", "missing"]);
    assert.equal((await store.sessions.view(key)).summary?.throughSeq, 4);
    assert.deepEqual([sum?.calls, sum?.input], [2, 80]);
  });

  test(`${driver}: by hand, what was made of a conversation is kept in no other one, and is charged to it`, async () => {
    await using store = await open();
    const { run, epoch } = await openConversation(store);
    await store.runs.end(run.runId, epoch, { outcome: "succeeded", text: "", error: undefined, stopReason: "stop" }, [], 5);
    const { session } = await store.sessions.view(key);
    const made = { entry: compacted(4), model: "fake/test", session, sawThroughSeq: undefined };

    await store.sessions.reset(key, { by: "device:a" }, 6);
    const afterReset = await store.sessions.compact(key, made, 7);
    await store.sessions.delete(key, "device:a", 8);
    const afterDelete = await store.sessions.compact(key, made, 9);
    const rows = await store.usage.list({ fromMs: 0, toMs: 1_000_000, offsetMs: 0 });

    assert.deepEqual([afterReset, afterDelete], ["overtaken", "missing"]);
    assert.deepEqual(
      rows.map((row) => [row.sessionId, row.calls]),
      [[session?.sessionId, 2]],
    );
  });

  test(`${driver}: a failed compaction is charged when it was counted, and a deleted session leaves no summary`, async () => {
    await using store = await open();
    const { run, epoch } = await openConversation(store);
    const failed: JournalEntry = { kind: "compaction-failed", errorKind: "incomplete", message: "empty", usage };

    await store.runs.append(run.runId, epoch, [failed, compacted(4)], [], 4);
    await store.runs.end(run.runId, epoch, { outcome: "succeeded", text: "", error: undefined, stopReason: "stop" }, [], 5);
    await store.sessions.delete(key, "device:a", 6);
    const view = await store.sessions.view(key);

    assert.deepEqual((await store.runs.find(run.runId))?.usage, { input: 80, output: 8, totalTokens: 88 });
    assert.deepEqual(view, { session: undefined, summary: undefined, pinned: undefined, messages: [] });
  });
}
