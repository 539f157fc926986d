/** Jobs for tests of the store. */
import type { CronFireAsk, CronJobToWrite } from "../../packages/gateway/src/store/cron-store.ts";

export function jobToWrite(over: Partial<CronJobToWrite> = {}): CronJobToWrite {
  return {
    spec: {
      name: "look",
      schedule: { kind: "every", everyMs: 60_000 },
      sessionTarget: "isolated",
      wakeMode: "now",
      payload: { kind: "agentTurn", message: "look around" },
    },
    agentId: "main",
    targetKey: undefined,
    enabled: true,
    actsFor: "secret:local",
    authority: { scopes: ["operator.write"], owner: false, depth: 0 },
    nextRunAtMs: 100,
    ...over,
  };
}

export function fireAsk(jobId: string, over: Partial<CronFireAsk> = {}): CronFireAsk {
  return {
    jobId,
    dueAtMs: 100,
    nextRunAtMs: 200,
    seenUpdatedAtMs: undefined,
    problem: undefined,
    defaultModel: "scripted/scripted",
    thinking: undefined,
    maxConcurrentRuns: 8,
    ...over,
  };
}
