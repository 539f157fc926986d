/** Budgets as a tree: reserved before a call over all above it, settled after it, released with the claim. */
import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { createIds } from "../../packages/gateway/src/kit/ids.ts";
import { type Budget, unlimited } from "../../packages/gateway/src/principal/lattice.ts";
import type { CallEstimate } from "../../packages/gateway/src/store/budgets.ts";
import type { JournalEntry } from "../../packages/gateway/src/store/journal.ts";
import { openStoreFile } from "../../packages/gateway/src/store/sqlite.ts";
import type { Claim, Store } from "../../packages/gateway/src/store/store.ts";
import { childOf, claimer, endedWell, runToAdmit } from "../support/stored-runs.ts";

const drivers: Readonly<Record<string, () => Promise<Store>>> = { sqlite: () => openStoreFile(":memory:", createIds()) };

const estimate = (over: Partial<CallEstimate> = {}): CallEstimate => ({
  input: 10,
  leastOutput: 5,
  mostOutput: 50,
  price: undefined,
  ...over,
});
const withBudget = (budget: Partial<Budget>) => ({
  scopes: ["operator.write"],
  limits: { ...unlimited, budget: { ...unlimited.budget, ...budget } },
});
const depths = { limits: { maxSpawnDepth: 5, maxChildrenPerAgent: 100 } };

function reply(tokens: number, costMicroUsd?: number): JournalEntry {
  const usage = { input: tokens, output: 0, totalTokens: tokens };
  const cost = costMicroUsd === undefined ? undefined : { input: costMicroUsd, output: 0, cacheRead: 0, cacheWrite: 0 };
  return { kind: "reply", content: [], model: "m", reason: "stop", usage, cost };
}

async function claimOne(store: Store, nowMs: number): Promise<Claim> {
  const {
    claims: [claim],
  } = await store.runs.claim(claimer, () => nowMs);
  return claim ?? assert.fail("no run can be claimed");
}

const at = ({ run, epoch }: Claim) => ({ runId: run.runId, epoch });

/** Claims a child of `parent` with that budget. */
async function spawn(store: Store, parent: Claim, budget: Partial<Budget>, key = "c"): Promise<Claim> {
  const outcome = await store.runs.spawn(childOf(parent, { authority: withBudget(budget), idempotencyKey: key, ...depths }), 3);
  assert.equal(outcome.kind, "accepted");
  return claimOne(store, 4);
}

async function startMain(store: Store): Promise<Claim> {
  await store.runs.admit(runToAdmit(), 1);
  return claimOne(store, 2);
}

for (const [driver, open] of Object.entries(drivers)) {
  test(`${driver}: a run without a budget above it is free`, async () => {
    await using store = await open();
    const main = await startMain(store);

    assert.deepEqual(await store.budgets.reserve(at(main), estimate()), { kind: "unlimited" });
    assert.equal(await store.budgets.left(main.run.runId), undefined);
  });

  test(`${driver}: a call is reserved over all budgets above it, and settled with what it used`, async () => {
    await using store = await open();
    const upper = await spawn(store, await startMain(store), { tokens: 100 }, "a");
    const lower = await spawn(store, upper, { tokens: 90, turns: 2 }, "b");

    const reserved = await store.budgets.reserve(at(lower), estimate());
    const during = [await store.budgets.left(upper.run.runId), await store.budgets.left(lower.run.runId)];
    await store.runs.append(lower.run.runId, lower.epoch, [reply(20)], [], 5);
    const after = [await store.budgets.left(upper.run.runId), await store.budgets.left(lower.run.runId)];

    assert.deepEqual(reserved, { kind: "reserved", maxOutput: 50, isAll: false });
    assert.deepEqual(during, [{ tokens: 40 }, { tokens: 30, turns: 1 }]);
    assert.deepEqual(after, [{ tokens: 80 }, { tokens: 70, turns: 1 }]);
  });

  test(`${driver}: the reply that ends a run is spent like any other`, async () => {
    await using store = await open();
    const upper = await spawn(store, await startMain(store), { tokens: 100, turns: 3 }, "a");
    const lower = await spawn(store, upper, {}, "b");
    await store.budgets.reserve(at(lower), estimate());

    await store.runs.end(lower.run.runId, lower.epoch, endedWell, [], 5, [reply(20)]);

    assert.deepEqual(await store.budgets.left(upper.run.runId), { tokens: 80, turns: 2 });
  });

  test(`${driver}: runs of one agent share its day, whatever tree they are in; another day and another agent are others`, async () => {
    await using store = await open();
    const day = { id: "day:main:2026-01-01", most: { tokens: 100 } };
    const first = await startMain(store);
    const limited = await spawn(store, first, { tokens: 90 }, "a");

    const one = await store.budgets.reserve(at(first), estimate(), day);
    const two = await store.budgets.reserve(at(limited), estimate(), day);
    await store.runs.end(limited.run.runId, limited.epoch, endedWell, [], 5, [reply(30)]);
    await store.runs.append(first.run.runId, first.epoch, [reply(60)], [], 5);
    const spent = await store.budgets.reserve(at(first), estimate(), day);
    const others = [];
    for (const id of ["day:main:2026-01-02", "day:other:2026-01-01"])
      others.push((await store.budgets.reserve(at(first), estimate(), { ...day, id })).kind);

    assert.deepEqual(one, { kind: "reserved", maxOutput: 50, isAll: false });
    // What the other call holds is not there to be had.
    assert.deepEqual(two, { kind: "reserved", maxOutput: 30, isAll: true });
    assert.deepEqual(spent, { kind: "exceeded", dimension: "tokens", needed: 15, left: { tokens: 10 }, isDay: true });
    assert.deepEqual(others, ["reserved", "reserved"]);
  });

  test(`${driver}: a day's bound counts as it is configured now; a tree that has less is what is named; a crash holds nothing back`, async () => {
    await using store = await open();
    const day = { id: "day:main:2026-01-01", most: { turns: 2 } };
    const main = await startMain(store);
    await store.budgets.reserve(at(main), estimate(), day);
    await store.runs.append(main.run.runId, main.epoch, [reply(1)], [], 5);

    const lowered = await store.budgets.reserve(at(main), estimate(), { ...day, most: { turns: 1 } });
    const raised = await store.budgets.reserve(at(main), estimate(), day);
    await store.runs.endLeases();
    const again = await claimOne(store, 6);
    const afterCrash = await store.budgets.reserve(at(again), estimate(), day);
    await store.runs.append(again.run.runId, again.epoch, [reply(1)], [], 7);
    const child = await spawn(store, again, { tokens: 5 }, "poor");
    const poor = await store.budgets.reserve(at(child), estimate(), { ...day, most: { tokens: 1_000 } });

    assert.deepEqual([lowered.kind, raised.kind, afterCrash.kind], ["exceeded", "reserved", "reserved"]);
    assert.deepEqual(poor, { kind: "exceeded", dimension: "tokens", needed: 15, left: { tokens: 5 }, isDay: false });
  });

  test(`${driver}: what does not fit is not reserved, and what is left is named`, async () => {
    await using store = await open();
    const main = await startMain(store);
    const short = await spawn(store, main, { tokens: 14, turns: 1 }, "a");
    const idle = await spawn(store, main, { tokens: 100, turns: 0 }, "b");

    const tokens = await store.budgets.reserve(at(short), estimate());
    const turns = await store.budgets.reserve(at(idle), estimate());

    assert.deepEqual(tokens, { kind: "exceeded", dimension: "tokens", needed: 15, left: { tokens: 14, turns: 1 }, isDay: false });
    assert.deepEqual(turns, { kind: "exceeded", dimension: "turns", needed: 1, left: { tokens: 100, turns: 0 }, isDay: false });
    assert.deepEqual(await store.budgets.left(short.run.runId), { tokens: 14, turns: 1 });
  });

  test(`${driver}: money is counted by the price, bounds the reply, and is refused without one`, async () => {
    await using store = await open();
    const child = await spawn(store, await startMain(store), { usd: 0.003 });
    const price = { input: 100, output: 50 };

    const unpriced = await store.budgets.reserve(at(child), estimate());
    const first = await store.budgets.reserve(at(child), estimate({ price }));
    await store.runs.append(child.run.runId, child.epoch, [reply(9, 2_000)], [], 5);
    const second = await store.budgets.reserve(at(child), estimate({ price }));

    assert.equal(unpriced.kind, "exceeded");
    assert.deepEqual(first, { kind: "reserved", maxOutput: 40, isAll: true });
    assert.deepEqual(second, { kind: "exceeded", dimension: "usd", needed: 0.00125, left: { usd: 0.001 }, isDay: false });
  });

  test(`${driver}: a child gets what its parent has left, and nothing when that is nothing`, async () => {
    await using store = await open();
    const parent = await spawn(store, await startMain(store), { tokens: 100, turns: 2 }, "a");
    await store.budgets.reserve(at(parent), estimate());
    await store.runs.append(parent.run.runId, parent.epoch, [reply(30)], [], 5);

    const child = await spawn(store, parent, { tokens: 1_000 }, "b");
    await store.budgets.reserve(at(child), estimate());
    const late = await store.runs.spawn(childOf(parent, { authority: withBudget({}), idempotencyKey: "c", ...depths }), 6);

    assert.deepEqual(child.run.authority.limits?.budget, { ...unlimited.budget, tokens: 70, turns: 1 });
    assert.deepEqual(late, { kind: "budget-spent", dimension: "turns" });
  });

  for (const [how, interrupt] of [
    ["a new claim", (store: Store) => store.runs.claim({ ...claimer, owner: "w2" }, () => 100_000)],
    ["a start", (store: Store) => store.runs.endLeases()],
    ["a cancel", (store: Store, { run }: Claim) => store.runs.cancel({ sessionKey: run.sessionKey }, new Map(), 6)],
    ["an end", (store: Store, { run, epoch }: Claim) => store.runs.end(run.runId, epoch, endedWell, [], 6)],
  ] as const) {
    test(`${driver}: a reservation goes with ${how}, in every budget above`, async () => {
      await using store = await open();
      const upper = await spawn(store, await startMain(store), { tokens: 100 }, "a");
      const lower = await spawn(store, upper, {}, "b");
      await store.budgets.reserve(at(lower), estimate());

      await interrupt(store, lower);

      assert.deepEqual(await store.budgets.left(upper.run.runId), { tokens: 100 });
    });
  }

  test(`${driver}: a worker whose run was taken over reserves nothing`, async () => {
    await using store = await open();
    const child = await spawn(store, await startMain(store), { tokens: 100 });
    await store.runs.claim({ ...claimer, owner: "w2" }, () => 100_000);

    assert.deepEqual(await store.budgets.reserve(at(child), estimate()), { kind: "lost" });
  });

  test(`${driver}: a call of no run holds and spends of its agent's day, or gives back what it held`, async () => {
    await using store = await open();
    const main = await startMain(store);
    const day = { id: "day:main:1970-01-01", most: { tokens: 100, turns: 2 } };
    const compacted = {
      kind: "compacted",
      throughSeq: 1,
      summary: "s",
      enough: true,
      usage: { input: 20, output: 5, totalTokens: 25 },
    } as const;
    const view = await store.sessions.view(main.run.sessionKey);

    const held = await store.budgets.reserveOfDay("compaction:1", estimate(), day);
    const during = await store.budgets.reserve(at(main), estimate(), day);
    await store.budgets.release("compaction:1");
    const given = await store.budgets.reserveOfDay("compaction:2", estimate(), day);
    await store.sessions.compact(
      main.run.sessionKey,
      { entry: compacted, model: "m", session: view.session, sawThroughSeq: undefined, reservation: "compaction:2" },
      5,
    );
    const after = await store.budgets.reserveOfDay("compaction:3", estimate({ leastOutput: 60 }), day);

    assert.deepEqual(held, { kind: "reserved", maxOutput: 50, isAll: false });
    assert.deepEqual(during, { kind: "reserved", maxOutput: 30, isAll: true });
    assert.deepEqual(given, { kind: "reserved", maxOutput: 50, isAll: true });
    assert.deepEqual(after, { kind: "exceeded", dimension: "turns", needed: 1, left: { tokens: 35, turns: 0 }, isDay: true });
  });

  test(`${driver}: the parent reads what its child left, and results that nobody waits for are read on the asker's budget`, async () => {
    await using store = await open();
    const parent = await spawn(store, await startMain(store), { tokens: 100 }, "a");
    const child = await spawn(store, parent, { tokens: 50 }, "b");
    await store.budgets.reserve(at(child), estimate());
    await store.runs.append(child.run.runId, child.epoch, [reply(20)], [], 5);
    await store.runs.end(parent.run.runId, parent.epoch, endedWell, [], 6);
    await store.runs.end(child.run.runId, child.epoch, endedWell, [], 7);

    const reading =
      (await store.runs.claim(claimer, () => 8)).claims.find(({ run }) => run.sessionKey === parent.run.sessionKey) ?? assert.fail();

    assert.deepEqual(
      reading.consumed.map((one) => one.budgetLeft),
      [{ tokens: 30 }],
    );
    assert.deepEqual(await store.budgets.left(reading.run.runId), { tokens: 80 });
  });

  test(`${driver}: calls under way never hold more than any budget above them has, whatever the order`, async () => {
    const step = fc.record({ child: fc.nat(3), use: fc.nat(60), what: fc.constantFrom("reserve", "settle", "claim") });
    const caps = fc.record({
      root: fc.nat(300),
      lower: fc.array(fc.option(fc.nat(300), { nil: undefined }), { minLength: 4, maxLength: 4 }),
    });
    await fc.assert(
      fc.asyncProperty(caps, fc.array(step, { maxLength: 30 }), async ({ root, lower }, steps) => {
        await using store = await open();
        const upper = await spawn(store, await startMain(store), { tokens: root + 1 }, "root");
        const children: Claim[] = [];
        for (const [index, tokens] of lower.entries()) {
          children.push(await spawn(store, upper, tokens === undefined ? {} : { tokens: tokens + 1 }, `c${index}`));
        }
        let spent = 0;
        for (const { child, use, what } of steps) {
          const claim = children[child] ?? assert.fail();
          const before = (await store.budgets.left(upper.run.runId))?.tokens ?? assert.fail();
          if (what === "reserve") await store.budgets.reserve(at(claim), estimate());
          if (what === "settle" && (await store.budgets.reserve(at(claim), estimate())).kind === "reserved") {
            const tokens = Math.min(use, 60);
            await store.runs.append(claim.run.runId, claim.epoch, [reply(tokens)], [], 9);
            spent += tokens;
          }
          const after = (await store.budgets.left(upper.run.runId))?.tokens ?? assert.fail();
          assert.ok(after >= 0 && (what !== "reserve" || after <= before + 60));
          // One reply longer than its reservation is all that can lie above the cap.
          assert.ok(spent <= root + 1 + 60, `${spent} of ${root + 1}`);
        }
        await store.runs.endLeases();
        assert.equal((await store.budgets.left(upper.run.runId))?.tokens, Math.max(0, root + 1 - spent));
      }),
      { numRuns: 15 },
    );
  });
}
