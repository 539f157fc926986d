/** The usage ledger: every call is charged once, with its journal entry, and stays charged. */
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import test from "node:test";
import { createIds } from "../../packages/gateway/src/kit/ids.ts";
import type { JournalEntry } from "../../packages/gateway/src/store/journal.ts";
import { openStoreFile } from "../../packages/gateway/src/store/sqlite.ts";
import type { Claim, Store } from "../../packages/gateway/src/store/store.ts";
import type { Cost, UsageSum } from "../../packages/gateway/src/store/usage.ts";
import { claimer } from "../support/stored-runs.ts";

const drivers: Readonly<Record<string, () => Promise<Store>>> = { sqlite: () => openStoreFile(":memory:", createIds()) };
const quarterMs = 900_000;
const all = { fromMs: 0, toMs: Number.MAX_SAFE_INTEGER, offsetMs: 0 };

async function claimNew(store: Store, sessionKey: string, wireId: string, nowMs: number): Promise<Claim> {
  const authority = { scopes: ["operator.write"], owner: false, depth: 0 };
  const asked = { sessionKey, agentId: "main", wireId, input: "hello", label: undefined, defaultModel: "fake/test", authority };
  await store.runs.admit({ ...asked, startedBy: "device:a", timeoutMs: undefined, paramsHash: "h", queueMode: "followup" }, nowMs);
  const [claim] = (await store.runs.claim({ ...claimer, limit: 1 }, () => nowMs)).claims;
  assert.ok(claim);
  return claim;
}

function reply(input: number, cost: Cost | undefined, cacheRead = 0): Extract<JournalEntry, { kind: "reply" }> {
  const usage = { input, output: 1, cacheRead, cacheWrite: 0, totalTokens: input + 1 + cacheRead };
  return { kind: "reply", content: [], model: "fake/test", reason: "stop", usage, cost };
}

const failure: JournalEntry = {
  kind: "model-error",
  errorKind: "incomplete",
  message: "cut",
  retryable: true,
  retryAtMs: 0,
  partial: "",
  usage: { input: 5, output: 0, totalTokens: 5 },
  cost: { input: 50, output: 0, cacheRead: 0, cacheWrite: 0 },
};

const add = (sums: readonly UsageSum[], of: (sum: UsageSum) => number): number => sums.reduce((total, sum) => total + of(sum), 0);
const microOf = ({ input, output, cacheRead, cacheWrite }: Cost): number => input + output + cacheRead + cacheWrite;

for (const [driver, open] of Object.entries(drivers)) {
  test(`${driver}: a call is charged with its entry, a failed one too when the provider counted, and not at all when the claim is lost`, async () => {
    await using store = await open();
    const { run, epoch } = await claimNew(store, "agent:main:main", "k", 1);
    const { usage: _usage, cost: _cost, ...silent } = failure;

    await store.runs.append(run.runId, epoch, [failure, silent, reply(7, { input: 70, output: 3, cacheRead: 0, cacheWrite: 0 })], [], 2);
    const lost = await store.runs.append(run.runId, epoch - 1, [reply(1_000, undefined)], [], 3);
    const found = await store.runs.find(run.runId);
    const sums = await store.usage.list(all);

    assert.equal(lost, "lost");
    assert.deepEqual(found?.usage, { input: 12, output: 1, totalTokens: 13 });
    assert.equal(found?.costMicroUsd, 123);
    assert.deepEqual(
      sums.map(({ calls, input, output, unpricedCalls, cost }) => [calls, input, output, unpricedCalls, microOf(cost)]),
      [[2, 12, 1, 0, 123]],
    );
  });

  test(`${driver}: a call is charged to the model that answered, whichever the run began with`, async () => {
    await using store = await open();
    const { run, epoch } = await claimNew(store, "agent:main:main", "k", 1);

    await store.runs.append(run.runId, epoch, [{ ...reply(7, undefined), model: "fake/other" }, failure], [], 2);
    const sums = await store.usage.list(all);

    assert.deepEqual(
      sums.map(({ model, input }) => [model, input]),
      [
        ["fake/other", 7],
        ["fake/test", 5],
      ],
    );
  });

  test(`${driver}: one call without a price makes the run's cost unknown, and the ledger says how many`, async () => {
    await using store = await open();
    const { run, epoch } = await claimNew(store, "agent:main:main", "k", 1);

    await store.runs.append(run.runId, epoch, [failure, reply(7, undefined, 3)], [], 2);
    const found = await store.runs.find(run.runId);
    const [sum] = await store.usage.list(all);

    assert.equal(found?.costMicroUsd, undefined);
    assert.deepEqual(found?.usage, { input: 12, output: 1, cacheRead: 3, cacheWrite: 0, totalTokens: 16 });
    assert.deepEqual([sum?.calls, sum?.unpricedCalls, sum?.cacheRead, sum && microOf(sum.cost)], [2, 1, 3, 50]);
  });

  test(`${driver}: a deleted session stays in the ledger, and its key's next session is another line`, async () => {
    await using store = await open();
    for (const [wireId, nowMs] of [
      ["k1", 1],
      ["k2", 10],
    ] as const) {
      const { run, epoch } = await claimNew(store, "agent:main:gone", wireId, nowMs);
      await store.runs.append(run.runId, epoch, [reply(7, undefined)], [], nowMs);
      await store.runs.end(run.runId, epoch, { outcome: "succeeded", text: "", error: undefined, stopReason: "stop" }, [], nowMs);
      assert.equal(await store.sessions.delete("agent:main:gone", "device:a", nowMs), "deleted");
    }

    const sums = await store.usage.list({ ...all, sessionKey: "agent:main:gone" });

    assert.deepEqual([sums.length, new Set(sums.map(({ sessionId }) => sessionId)).size, add(sums, ({ input }) => input)], [2, 2, 14]);
  });

  test(`${driver}: whatever is called when, every sum equals the sum of its calls, at any offset`, async () => {
    const seed = Number(process.env["PORTREEVE_SEED"] ?? randomInt(2 ** 31));
    const random = createRandom(seed);
    await using store = await open();
    const calls: { atMs: number; sessionKey: string; input: number; cost: Cost | undefined }[] = [];
    let nowMs = 20_000 * 86_400_000;
    for (let index = 0; index < 60; index += 1) {
      const sessionKey = `agent:main:s${random(4)}`;
      const { run, epoch } = await claimNew(store, sessionKey, `k${index}`, nowMs);
      for (let count = random(4); count >= 0; count -= 1) {
        nowMs += random(5 * quarterMs);
        const input = random(1_000) + 1;
        const cost = random(3) === 0 ? undefined : { input: random(500), output: random(9), cacheRead: 0, cacheWrite: random(2) };
        calls.push({ atMs: nowMs, sessionKey, input, cost });
        await store.runs.append(run.runId, epoch, [reply(input, cost)], [], nowMs);
      }
      const ending = { outcome: "succeeded", text: "", error: undefined, stopReason: "stop" } as const;
      const ended = await store.runs.end(run.runId, epoch, ending, [], nowMs);
      if (random(5) === 0) await store.sessions.delete(sessionKey, "device:a", nowMs);
      assert.equal(ended.kind, "ended");
    }

    const offsetMs = (random(104) - 48) * quarterMs;
    const sums = await store.usage.list({ ...all, offsetMs });

    const dayOf = (atMs: number): number => Math.floor((atMs + offsetMs) / 86_400_000);
    const expected = Map.groupBy(calls, ({ atMs, sessionKey }) => `${dayOf(atMs)} ${sessionKey}`);
    const found = Map.groupBy(sums, ({ day, sessionKey }) => `${day} ${sessionKey}`);
    assert.deepEqual([...found.keys()].toSorted(), [...expected.keys()].toSorted(), `seed ${seed}`);
    for (const [key, some] of expected) {
      const those = found.get(key) ?? [];
      assert.deepEqual(
        [
          add(those, (sum) => sum.calls),
          add(those, (sum) => sum.input),
          add(those, (sum) => sum.unpricedCalls),
          add(those, (sum) => microOf(sum.cost)),
        ],
        [
          some.length,
          some.reduce((total, { input }) => total + input, 0),
          some.filter(({ cost }) => cost === undefined).length,
          some.reduce((total, { cost }) => total + (cost === undefined ? 0 : microOf(cost)), 0),
        ],
        `seed ${seed}, ${key}`,
      );
    }
  });
}

/** Numbers from 0 up to a bound, the same ones for the same seed. */
function createRandom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}
