/** Runs for tests of the store: one that a device starts, and a child of a claimed one. */
import type { ChildToSpawn } from "../../packages/gateway/src/store/spawning.ts";
import type { Claimer } from "../../packages/gateway/src/store/claimer.ts";
import type { RunToAdmit } from "../../packages/gateway/src/store/admitting.ts";
import type { Ending, RunRecord } from "../../packages/gateway/src/store/store.ts";

export const claimer: Claimer = {
  owner: "w1",
  leaseMs: 1_000,
  limit: 50,
  maxConcurrentChildren: 50,
  quote: (all, open) => `${all.map((one) => one.text).join("+")}|${open}`,
  maxTakeovers: 2,
  takesSuspect: true,
  carries: () => false,
  letGo: [],
};

export const endedWell: Ending = { outcome: "succeeded", text: "result", error: undefined, stopReason: "stop" };

export function runToAdmit(over: Partial<RunToAdmit> = {}): RunToAdmit {
  return {
    sessionKey: "agent:main:main",
    agentId: "main",
    wireId: "k1",
    input: "hello",
    label: undefined,
    defaultModel: "scripted/scripted",
    authority: { scopes: ["operator.write"], owner: false, depth: 0 },
    startedBy: "device:a",
    timeoutMs: undefined,
    paramsHash: "h",
    queueMode: "followup",
    ...over,
  };
}

export function childOf(parent: { readonly run: Pick<RunRecord, "sessionKey" | "runId"> }, over: Partial<ChildToSpawn> = {}): ChildToSpawn {
  return {
    parentSessionKey: parent.run.sessionKey,
    parentAgentId: "main",
    parentRunId: parent.run.runId,
    agentId: "main",
    task: "look",
    label: undefined,
    model: undefined,
    defaultModel: "scripted/scripted",
    authority: { scopes: ["operator.write"] },
    terms: {},
    spawnedBy: `run:${parent.run.runId}`,
    timeoutMs: undefined,
    cleanup: "keep",
    idempotencyKey: "c1",
    paramsHash: "h",
    limits: { maxSpawnDepth: 2, maxChildrenPerAgent: 3 },
    ...over,
  };
}
