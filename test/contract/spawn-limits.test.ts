/** Limits of a spawn: exact whoever races, true after they were changed, and a child never more than its parent. */
import assert from "node:assert/strict";
import { mkdtempDisposable } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import fc from "fast-check";
import { createIds } from "../../packages/gateway/src/kit/ids.ts";
import { type Bound, covers, coversLimits, type Limits, unlimited } from "../../packages/gateway/src/principal/lattice.ts";
import {
  authorityOf,
  authorityOfChild,
  authorityToStart,
  runPrincipal,
  secretPrincipal,
} from "../../packages/gateway/src/principal/principal.ts";
import { openStore, openStoreFile } from "../../packages/gateway/src/store/sqlite.ts";
import type { Claim, RunRecord, Store } from "../../packages/gateway/src/store/store.ts";
import { createToolsOf } from "../../packages/gateway/src/tools/agent-tools.ts";
import type { ToolPolicy } from "../../packages/gateway/src/tools/policy.ts";
import type { Tool } from "../../packages/gateway/src/tools/tool.ts";
import { childOf, claimer, endedWell, runToAdmit } from "../support/stored-runs.ts";

const openInMemory = (): Promise<Store> => openStoreFile(":memory:", createIds());

async function claimAll(store: Store, nowMs: number): Promise<readonly Claim[]> {
  return (await store.runs.claim({ ...claimer, limit: 1_000, leaseMs: 1_000_000, maxConcurrentChildren: 1_000 }, () => nowMs)).claims;
}

async function startMain(store: Store, key = "main"): Promise<Claim> {
  await store.runs.admit(runToAdmit({ sessionKey: `agent:main:${key}`, wireId: key }), 1);
  return (await claimAll(store, 2))[0] ?? assert.fail();
}

test("of 1,000 racing spawns exactly as many are accepted as the session may have children", async () => {
  await using store = await openInMemory();
  const parent = await startMain(store);
  const limits = { maxSpawnDepth: 5, maxChildrenPerAgent: 100 };

  const outcomes = await Promise.all(
    Array.from({ length: 1_000 }, (_, index) => store.runs.spawn(childOf(parent, { idempotencyKey: `c${index}`, limits }), 3)),
  );

  const refused = outcomes.flatMap((outcome) => (outcome.kind === "too-many" ? [outcome] : []));
  assert.equal(outcomes.filter(({ kind }) => kind === "accepted").length, 100);
  assert.deepEqual([refused.length, refused[0]?.active, refused[0]?.holders.length], [900, 100, 100]);
  assert.equal(await store.sessions.count(), 101);
});

test("beyond the gateway's slots children queue, and a child that ends frees its session's place and its slot at once", async () => {
  await using store = await openInMemory();
  const parent = await startMain(store);
  const limits = { maxSpawnDepth: 5, maxChildrenPerAgent: 3 };
  const spawn = (key: string) => store.runs.spawn(childOf(parent, { idempotencyKey: key, limits }), 3);
  for (const key of ["a", "b", "c"]) await spawn(key);
  const oneSlot = { ...claimer, maxConcurrentChildren: 1 };

  const [first, ...others] = (await store.runs.claim(oneSlot, () => 4)).claims;
  const full = await spawn("d");
  await store.runs.end(first?.run.runId ?? "", first?.epoch ?? 0, endedWell, [], 5);
  const [next, ...more] = (await store.runs.claim(oneSlot, () => 5)).claims;

  assert.deepEqual([others, more], [[], []]);
  assert.equal(full.kind, "too-many");
  assert.notEqual(next?.run.runId, first?.run.runId);
  assert.equal((await spawn("d")).kind, "accepted");
});

test("limits lowered below what is running stop nobody, and let nobody in until it fits", async () => {
  await using store = await openInMemory();
  const parent = await startMain(store);
  const spawn = (key: string, maxChildrenPerAgent: number, maxSpawnDepth = 5) =>
    store.runs.spawn(childOf(parent, { idempotencyKey: key, limits: { maxSpawnDepth, maxChildrenPerAgent } }), 3);
  for (const key of ["a", "b", "c"]) await spawn(key, 3);
  const children = await claimAll(store, 4);

  const lowered = await spawn("d", 2);
  for (const { run, epoch } of children.slice(0, 1)) await store.runs.end(run.runId, epoch, endedWell, [], 5);
  const stillFull = await spawn("d", 2);
  for (const { run, epoch } of children.slice(1, 2)) await store.runs.end(run.runId, epoch, endedWell, [], 6);

  assert.deepEqual([children.length, lowered.kind, stillFull.kind], [3, "too-many", "too-many"]);
  assert.equal((await spawn("d", 2)).kind, "accepted");
});

test("a depth lowered while children live lets them end and spawn nothing deeper", async () => {
  await using store = await openInMemory();
  const parent = await startMain(store);
  await store.runs.spawn(childOf(parent, { limits: { maxSpawnDepth: 5, maxChildrenPerAgent: 5 } }), 3);
  const [child] = await claimAll(store, 4);
  const claim = child ?? assert.fail();

  const deeper = await store.runs.spawn(childOf(claim, { limits: { maxSpawnDepth: 1, maxChildrenPerAgent: 5 } }), 5);

  assert.deepEqual(deeper, { kind: "too-deep", depth: 1 });
  assert.equal((await store.runs.end(claim.run.runId, claim.epoch, endedWell, [], 6)).kind, "ended");
});

const names = ["read", "ls", "grep", "sessions_spawn"];
const tools = names.map((name) => ({ name, ownerOnly: false, notForLeaves: name === "sessions_spawn" }) as Tool);
const agentIds = ["main", "other", "third"];
const someNames = fc.subarray(names);
const policy: fc.Arbitrary<ToolPolicy> = fc.record({ allow: fc.option(someNames, { nil: undefined }), deny: someNames });
const policies = fc.record({ main: policy, other: policy, third: policy });
const bound: fc.Arbitrary<Bound> = fc.oneof(fc.constant<Bound>("unlimited"), fc.integer({ min: 1, max: 1_000 }));
const ask: fc.Arbitrary<Partial<Limits>> = fc.record(
  {
    tools: fc.oneof(fc.constant<Limits["tools"]>("all"), someNames),
    sandbox: fc.constantFrom("unconfined" as const, "confined" as const),
    budget: fc.record({ tokens: bound, usd: bound, turns: bound, wallMs: bound }),
    deadline: bound,
  },
  { requiredKeys: [] },
);
const step = fc.record({
  parent: fc.nat(10),
  agent: fc.constantFrom(...agentIds),
  ask,
  how: fc.constantFrom("spawn", "spawn", "spawn", "resume", "restart"),
});

test("a child is never more than its parent, through agents, resumes, restarts and changes of policy", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 12 }), policies, policies, async (steps, before, after) => {
      await using folder = await mkdtempDisposable(join(tmpdir(), "portreeve-limits-"));
      const ids = createIds();
      let store = await openStore(folder.path, ids);
      const runs: { run: RunRecord; above: RunRecord | undefined }[] = [{ run: (await startMain(store)).run, above: undefined }];
      for (const [index, { parent, agent, ask: asked, how }] of steps.entries()) {
        const above = runs[parent % runs.length]?.run ?? assert.fail();
        if (how === "restart") {
          await store[Symbol.asyncDispose]();
          store = await openStore(folder.path, ids);
        } else if (how === "resume") {
          const parentOf = runs.find(({ run }) => run.runId === above.runId)?.above;
          if (parentOf === undefined) continue;
          const authority = authorityToStart(secretPrincipal(["operator.admin"]));
          const resumed = await store.runs.admit(
            runToAdmit({ sessionKey: above.sessionKey, wireId: `r${index}`, authority, startedBy: "device:other" }),
            9,
          );
          if (resumed.kind === "admitted") assertToolsBelow(resumed.run, parentOf, [before, after]);
        } else {
          const authority = authorityOfChild(runPrincipal(above), asked, [above.agentId, agent]);
          const claim: Claim = { run: above, epoch: 0, journal: [], consumed: [], absorbed: [], isSuspect: false };
          const outcome = await store.runs.spawn(
            childOf(claim, {
              parentRunId: undefined,
              agentId: agent,
              authority,
              idempotencyKey: `s${index}`,
              limits: { maxSpawnDepth: 20, maxChildrenPerAgent: 100 },
            }),
            9,
          );
          const child = outcome.kind === "accepted" ? outcome.run : assert.fail(outcome.kind);
          runs.push({ run: child, above });
        }
      }
      for (const { run, above } of runs) {
        const stored = (await store.runs.find(run.runId)) ?? assert.fail();
        if (above === undefined) continue;
        assert.ok(covers(authorityOf(runPrincipal(above)), authorityOf(runPrincipal(stored))));
        assert.ok(coversLimits(above.authority.limits ?? unlimited, stored.authority.limits ?? unlimited));
        assertToolsBelow(stored, above, [before, after]);
      }
      await store[Symbol.asyncDispose]();
    }),
    { numRuns: 25 },
  );
});

/** Under the policy as it was, and as it is after a change. */
function assertToolsBelow(child: RunRecord, parent: RunRecord, configured: readonly Readonly<Record<string, ToolPolicy>>[]): void {
  for (const now of configured) {
    const agents = Object.fromEntries(Object.entries(now).map(([id, one]) => [id, { tools: one }]));
    const toolsOf = createToolsOf({ tools, agents, maxSpawnDepth: 20, source: "test" });
    const held = toolsOf(parent.authority, parent.agentId).map(({ name }) => name);
    for (const { name } of toolsOf(child.authority, child.agentId)) assert.ok(held.includes(name), `${name} beyond ${held.join(", ")}`);
  }
}
