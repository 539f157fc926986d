/** A state folder with many runs that have ended, made by the store itself; kept in the temporary folder for the next time. */
import { createHash } from "node:crypto";
import { existsSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createIds } from "../packages/gateway/src/kit/ids.ts";
import { authorityToStart, secretPrincipal } from "../packages/gateway/src/principal/principal.ts";
import { openStore } from "../packages/gateway/src/store/sqlite.ts";
import type { Claim, RunStore } from "../packages/gateway/src/store/store.ts";
import { root } from "./processes.ts";

const sessions = 1_000;
const model = "scripted/steps";
const authority = authorityToStart(secretPrincipal(["operator.read", "operator.write"]));

/** The home of a gateway with at least `count` runs, a third of them sub-agents' and a third what told their parents. */
export async function makeStoredRuns(count: number): Promise<string> {
  const home = join(tmpdir(), `portreeve-bench-${count}-runs-${schemaHash()}`);
  const done = join(home, "complete");
  if (existsSync(done)) return home;
  rmSync(home, { recursive: true, force: true });
  const stateDir = join(home, "portreeve/state");
  mkdirSync(stateDir, { recursive: true, mode: 0o700 });
  await using store = await openStore(stateDir, createIds());
  const inRound = Math.min(sessions, Math.ceil(count / 3));
  for (let made = 0, round = 0; made < count; made += 3 * inRound, round += 1) {
    const keys = Array.from({ length: inRound }, (_, index) => `agent:main:stored-${index}`);
    await Promise.all(keys.map((key) => admit(store.runs, key, round)));
    await endAll(store.runs);
    await Promise.all(keys.map((key) => spawn(store.runs, key, round)));
    await endAll(store.runs);
  }
  writeFileSync(done, "");
  return home;
}

/** Another schema is another database. */
function schemaHash(): string {
  const hash = createHash("sha256");
  for (const file of globSync(join(root, "packages/gateway/src/store/sql/migrations/*")).toSorted()) hash.update(readFileSync(file));
  return hash.digest("hex").slice(0, 12);
}

function admit(runs: RunStore, sessionKey: string, round: number): Promise<unknown> {
  const names = { sessionKey, agentId: "main", wireId: `${sessionKey}-${round}`, label: undefined, defaultModel: model };
  const run = {
    ...names,
    input: `message ${round}`,
    authority,
    startedBy: "bench",
    timeoutMs: undefined,
    paramsHash: "",
    queueMode: "followup" as const,
  };
  return runs.admit(run, Date.now());
}

function spawn(runs: RunStore, parentSessionKey: string, round: number): Promise<unknown> {
  const parent = { parentSessionKey, parentAgentId: "main", parentRunId: undefined, spawnedBy: "bench", authority, terms: {} };
  const child = { agentId: "main", task: `task ${round}`, label: undefined, model: undefined, defaultModel: model, timeoutMs: undefined };
  const limits = { maxSpawnDepth: 5, maxChildrenPerAgent: 100 };
  const key = { idempotencyKey: `${parentSessionKey}-child-${round}`, paramsHash: "", cleanup: "keep" as const };
  return runs.spawn({ ...parent, ...child, ...key, limits }, Date.now());
}

/** Every run that can go on says one thing and ends, until there is none. */
async function endAll(runs: RunStore): Promise<void> {
  const limits = { limit: 1_000, maxConcurrentChildren: 1_000, maxTakeovers: 3, takesSuspect: true, carries: () => false, letGo: [] };
  const claimer = { owner: "bench", leaseMs: 600_000, quote: () => "results", ...limits };
  for (;;) {
    const { claims } = await runs.claim(claimer, () => Date.now());
    if (claims.length === 0) return;
    await Promise.all(claims.map((claim) => end(runs, claim)));
  }
}

async function end(runs: RunStore, { run, epoch }: Claim): Promise<void> {
  const content = [{ type: "text" as const, text: "said" }];
  const usage = { input: 3, output: 2, totalTokens: 5 };
  const message = {
    role: "assistant" as const,
    content,
    timestamp: Date.now(),
    stopReason: "stop",
    provider: "bench",
    model: "zero",
    usage,
  };
  await runs.append(run.runId, epoch, [{ kind: "reply", content, model, reason: "stop", usage }], [message], Date.now());
  await runs.end(run.runId, epoch, { outcome: "succeeded", text: "said", error: undefined, stopReason: "stop" }, [], Date.now());
}
