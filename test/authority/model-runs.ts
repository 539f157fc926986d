/** Runs by the rules alone: who may start, spawn and stop them, and what goes with whom. */
import { methods } from "@portreeve/protocol";
import {
  authorityOfChild,
  authorityToStart,
  permits,
  type Principal,
  type RunAuthority,
  runPrincipal,
} from "../../packages/gateway/src/principal/principal.ts";
import type { StartedRun, World } from "./world.ts";

/** Of sub-agents: low, so that plays reach it. */
export const maxDepth = 2;

interface Run {
  readonly runId: string;
  readonly sessionKey: string;
  readonly parent: Pick<Run, "runId" | "sessionKey"> | undefined;
  /** The principal, no run, that it goes back to. */
  readonly starter: string;
  state: "queued" | "running" | "cancelled";
}

export interface ModelRuns extends Pick<World, "start" | "spawn" | "abort"> {
  /** Answers how many runs that cancels. */
  cancelOf(starter: string): number;
}

export function createModelRuns(): ModelRuns {
  const runs: Run[] = [];
  const cancel = (some: readonly Run[]): number => {
    const open = some.filter(({ state }) => state !== "cancelled");
    for (const run of open) run.state = "cancelled";
    return open.length;
  };
  const begin = (authority: RunAuthority, run: Omit<Run, "runId" | "state" | "sessionKey"> & { sessionKey?: string | undefined }) => {
    const made = runs.length + 1;
    const added: Run = { ...run, runId: `run_${made}`, sessionKey: run.sessionKey ?? `session ${made}`, state: "queued" };
    runs.push(added);
    claim(runs);
    const { runId, sessionKey } = added;
    return { authority, principal: runPrincipal({ runId, sessionKey, rootSessionKey: "root", authority }) } satisfies StartedRun;
  };
  return {
    start(by, inSessionOf) {
      if (!may(by, "agent")) return undefined;
      const authority = authorityToStart(by);
      const depth = Math.max(authority.depth, inSessionOf?.depth ?? 0);
      const run = { parent: undefined, starter: by.id, sessionKey: inSessionOf?.sessionKey };
      return begin({ ...authority, depth, owner: authority.owner && depth === 0 }, run);
    },
    spawn(by) {
      const authority = authorityOfChild(by);
      const parent = runs.find(({ runId }) => runId === by.runId);
      const isAccepted = may(by, "subagents.spawn") && parent?.state === "running" && authority.depth <= maxDepth;
      return isAccepted ? begin(authority, { parent, starter: parent.starter }) : undefined;
    },
    abort: (by, { sessionKey }) => (may(by, "chat.abort") ? cancel(below(runs, sessionKey)) : undefined),
    cancelOf: (starter) => cancel(runs.filter((run) => run.starter === starter)),
  };
}

/** The oldest of a session runs; those that came later wait for it, and spawn nothing. */
function claim(runs: readonly Run[]): void {
  for (const run of runs) {
    const isFree = !runs.some(({ sessionKey, state }) => sessionKey === run.sessionKey && state === "running");
    if (run.state === "queued" && isFree) run.state = "running";
  }
}

/** Everything in the session, what was spawned in it, and everything in the sessions of that. */
function below(runs: readonly Run[], sessionKey: string): readonly Run[] {
  const all = new Set(runs.filter((run) => run.sessionKey === sessionKey));
  for (let before = -1; before !== all.size;) {
    before = all.size;
    const sessions = new Set([...all].map((run) => run.sessionKey));
    for (const run of runs) if (sessions.has(run.sessionKey) || sessions.has(run.parent?.sessionKey ?? "")) all.add(run);
  }
  return [...all];
}

function may(principal: Principal, name: "agent" | "subagents.spawn" | "chat.abort"): boolean {
  return permits(principal, name, methods[name], {}).kind === "permitted";
}
