/** Spawning a child: decided here, written by one store method. No socket, no pairing row, never the parent's full authority. */
import { createHash } from "node:crypto";
import { agentOfSessionKey, mainSessionKey, type Params, ProtocolError, type Result, toSessionKey } from "@portreeve/protocol";
import { authorityOfChild, type Principal } from "../principal/principal.ts";
import type { ChildToSpawn, RunRecord, Store } from "../store/store.ts";
import { type SubagentLimits, toRefusal } from "./limits.ts";

export interface SpawnDeps {
  readonly store: Store;
  readonly limits: SubagentLimits & { readonly runTimeoutSeconds: number };
  readonly defaultAgentId: string;
  readonly isAgent: (agentId: string) => boolean;
  /** The model an agent uses when nothing else says so. */
  readonly modelOf: (agentId: string) => string;
  readonly problemWithModel: (id: string) => string | undefined;
  readonly now: () => number;
}

type SpawnParams = Params<"subagents.spawn">;

/** Starts a child of `principal`'s session. @throws ProtocolError for every refusal; then nothing was made. */
export async function spawn(
  deps: SpawnDeps,
  principal: Principal,
  params: SpawnParams,
): Promise<{ readonly receipt: Result<"subagents.spawn">; readonly run: RunRecord; readonly isNew: boolean }> {
  const child = await decideChild(deps, principal, params);
  const outcome = await deps.store.runs.spawn(child, deps.now());
  if (outcome.kind !== "accepted" && outcome.kind !== "replayed") throw toRefusal(outcome, deps.limits);
  return { receipt: toReceipt(outcome.run), run: outcome.run, isNew: outcome.kind === "accepted" };
}

async function decideChild(deps: SpawnDeps, principal: Principal, params: SpawnParams): Promise<ChildToSpawn> {
  const parentRun = principal.kind === "run" ? await deps.store.runs.find(principal.runId) : undefined;
  const parentSessionKey = findParentKey(deps, principal, params);
  const parentAgentId = agentOfSessionKey(parentSessionKey) ?? deps.defaultAgentId;
  const agentId = params.agentId ?? parentAgentId;
  if (!deps.isAgent(agentId) || !deps.isAgent(parentAgentId)) {
    throw new ProtocolError("UNKNOWN_AGENT_ID", `unknown agent id ${JSON.stringify(agentId)}`, {
      remedy: "use an agent of `agents.list`, or configure it under agents.entries",
    });
  }
  const inherited = parentRun !== undefined && agentId === parentAgentId ? parentRun.model : deps.modelOf(agentId);
  const problem = deps.problemWithModel(params.model ?? inherited);
  if (problem !== undefined) throw new ProtocolError("MODEL_UNUSABLE", problem, { details: { model: params.model ?? inherited } });

  const seconds = params.runTimeoutSeconds ?? deps.limits.runTimeoutSeconds;
  const { idempotencyKey, ...rest } = params;
  return {
    parentSessionKey,
    parentAgentId,
    parentRunId: principal.kind === "run" ? principal.runId : undefined,
    agentId,
    task: params.task,
    label: params.label,
    model: params.model,
    defaultModel: inherited,
    scopes: authorityOfChild(principal).scopes,
    spawnedBy: principal.id,
    timeoutMs: seconds === 0 ? undefined : seconds * 1_000,
    cleanup: params.cleanup ?? "keep",
    idempotencyKey,
    paramsHash: createHash("sha256").update(JSON.stringify(rest)).digest("hex"),
    limits: deps.limits,
  };
}

function findParentKey(deps: SpawnDeps, principal: Principal, params: SpawnParams): string {
  if (principal.kind !== "run")
    return params.sessionKey === undefined ? mainSessionKey(deps.defaultAgentId) : toSessionKey(params.sessionKey, deps.defaultAgentId);
  if (params.sessionKey !== undefined) throw new ProtocolError("NOT_ALLOWED", "not allowed: sessionKey (a run spawns for its own session)");
  return principal.sessionKey;
}

function toReceipt(run: RunRecord): Result<"subagents.spawn"> {
  return {
    status: "accepted",
    childSessionKey: run.sessionKey,
    runId: run.wireId,
    mode: "run",
    resolvedModel: run.model,
    context: "isolated",
    scopes: [...run.authority.scopes],
    depth: run.authority.depth,
    note: "The result comes to you as a message when the sub-agent is done. Do not poll; call sessions_yield to wait for it.",
  };
}
