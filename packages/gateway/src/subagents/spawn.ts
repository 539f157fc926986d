/** Spawning a child: decided here, written by one store method. No socket, no pairing row, never the parent's full authority. */
import { createHash } from "node:crypto";
import {
  agentOfSessionKey,
  attachmentFolder,
  mainSessionKey,
  type Params,
  ProtocolError,
  type Result,
  type ThinkingLevel,
} from "@portreeve/protocol";
import { type Limits, unlimited } from "../principal/lattice.ts";
import { type Attachment, decideAttachments } from "../kit/attachments.ts";
import { parseSchema } from "../kit/json-schema.ts";
import { markTask } from "../models/fork-text.ts";
import { authorityOfChild, type Principal, runPrincipal, type RunAuthority, withinSession } from "../principal/principal.ts";
import type { ChildToSpawn, RunTerms, SpawnOutcome } from "../store/spawning.ts";
import type { RunRecord, SessionRecord, Store } from "../store/store.ts";
import { assertWithinReach } from "./ask.ts";
import type { AttachmentFiles } from "./attachment-files.ts";
import { type SubagentLimits, toRefusal } from "./limits.ts";

export interface SpawnDeps {
  readonly store: Store;
  readonly limits: SubagentLimits;
  readonly attachments: AttachmentFiles;
  readonly defaultAgentId: string;
  readonly isAgent: (agentId: string) => boolean;
  /** The canonical key of what a caller wrote. @throws ProtocolError when it is none, or of no agent that there is. */
  readonly toKey: (raw: string) => string;
  /** The model an agent uses when nothing else says so. */
  readonly modelOf: (agentId: string) => string;
  /** Whether the cost of its calls is known. */
  readonly isPriced: (model: string) => boolean;
  readonly problemWithModel: (id: string) => string | undefined;
  readonly problemWithThinking: (id: string, level: ThinkingLevel) => Promise<string | undefined>;
  /** Names of the tools that a run of that authority and agent has. */
  readonly toolNamesOf: (authority: RunAuthority, agentId: string) => readonly string[];
  /** Writes the child and all that goes with it, or nothing. */
  readonly spawnRun: (child: ChildToSpawn) => Promise<SpawnOutcome>;
}

type SpawnParams = Params<"subagents.spawn">;
type Receipt = Result<"subagents.spawn">;

/** Starts a child of `principal`'s session. @throws ProtocolError for every refusal; then nothing was made. */
export async function spawn(
  deps: SpawnDeps,
  principal: Principal,
  params: SpawnParams,
): Promise<{ readonly receipt: Receipt; readonly run: RunRecord; readonly isNew: boolean }> {
  const attachments = decideAttachments(params.attachments, deps.limits.attachments);
  const parentSessionKey = findParentKey(deps, principal, params);
  const paramsHash = hashParams(params, attachments);
  const outcome = await decideAndMake(deps, principal, params, { attachments, parentSessionKey, paramsHash }).catch(
    async (error: unknown) => {
      // A child that was made before is answered as it was, whatever would be refused by now.
      const asked = { startedBy: principal.id, askedIn: parentSessionKey, key: params.idempotencyKey, paramsHash };
      const replay = error instanceof ProtocolError ? await deps.store.runs.findReplay(asked) : undefined;
      if (replay === undefined) throw error;
      return replay;
    },
  );
  if (outcome.kind !== "accepted" && outcome.kind !== "replayed") throw toRefusal(outcome, deps.limits);
  return { receipt: toReceipt(deps, outcome.run), run: outcome.run, isNew: outcome.kind === "accepted" };
}

interface Given {
  readonly attachments: readonly Attachment[];
  readonly parentSessionKey: string;
  readonly paramsHash: string;
}

async function decideAndMake(deps: SpawnDeps, principal: Principal, params: SpawnParams, given: Given): Promise<SpawnOutcome> {
  assertWithinReach(params, deps.limits);
  return await make(deps, await decideChild(deps, principal, params, given), given.attachments);
}

/** The files are there before the child is, so that no crash leaves a child without them. */
async function make({ spawnRun, attachments }: SpawnDeps, child: ChildToSpawn, files: readonly Attachment[]): Promise<SpawnOutcome> {
  if (files.length === 0 || child.isReplayOnly === true) return spawnRun(child);
  const { outcome } = await attachments.hand(files, async (manifest) => {
    const made = await spawnRun({ ...child, terms: { ...child.terms, attachments: manifest } });
    return { outcome: made, isKept: made.kind === "accepted" };
  });
  return outcome;
}

async function decideChild(
  deps: SpawnDeps,
  principal: Principal,
  params: SpawnParams,
  { attachments, parentSessionKey, paramsHash }: Given,
): Promise<ChildToSpawn> {
  const parentRun = principal.kind === "run" ? await deps.store.runs.find(principal.runId) : undefined;
  const parentAgentId = agentOfSessionKey(parentSessionKey) ?? deps.defaultAgentId;
  const agentId = params.agentId ?? parentAgentId;
  const unknown = [agentId, parentAgentId].find((id) => !deps.isAgent(id));
  if (unknown !== undefined) {
    throw new ProtocolError("UNKNOWN_AGENT_ID", `unknown agent id ${JSON.stringify(unknown)}`, {
      remedy: "use an agent of `agents.list`, or configure it under agents.entries",
    });
  }
  if (params.context === "fork" && agentId !== parentAgentId) {
    throw new ProtocolError(
      "FORK_OTHER_AGENT",
      `context "fork": ${agentId} is another agent than ${parentAgentId}, and must not see its conversation`,
      {
        remedy: 'use context "isolated", and put what it needs into the task',
      },
    );
  }
  const inherited = parentRun !== undefined && agentId === parentAgentId ? parentRun.model : deps.modelOf(agentId);
  const { thinking } = await decideModel(deps, params, params.model ?? inherited, agentId === parentAgentId ? parentRun : undefined);

  // The store holds every child within its parent's session: this is for refusing by name.
  const isNamed = parentRun === undefined && params.tools !== undefined;
  const session = isNamed ? await deps.store.sessions.find(parentSessionKey) : undefined;
  const authority = decideAuthority(deps, parentRun === undefined ? principal : toPrincipal(parentRun), params, { agentId, session });
  assertPriced(deps, authority, params.model ?? inherited);
  const seconds = params.runTimeoutSeconds ?? deps.limits.runTimeoutSeconds;
  const { idempotencyKey } = params;
  return {
    parentSessionKey,
    parentAgentId,
    parentRunId: principal.kind === "run" ? principal.runId : undefined,
    agentId,
    task: params.task,
    fork: params.context === "fork" ? { maxBytes: deps.limits.forkMaxBytes, task: markTask(params.task) } : undefined,
    label: params.label,
    model: params.model,
    defaultModel: inherited,
    authority,
    terms: {
      ...(params.taskName === undefined ? {} : { taskName: params.taskName }),
      ...(thinking === undefined ? {} : { thinking }),
      ...decideSchema(params),
    },
    spawnedBy: principal.id,
    timeoutMs: seconds === 0 ? undefined : seconds * 1_000,
    cleanup: params.cleanup ?? "keep",
    expectsCompletion: params.expectsCompletionMessage,
    idempotencyKey,
    paramsHash,
    isReplayOnly: attachments.some(({ content }) => content === undefined),
    limits: deps.limits,
  };
}

/** Files count by what they are, in whichever encoding they came. */
function hashParams({ idempotencyKey: _key, attachments: _asked, ...rest }: SpawnParams, attachments: readonly Attachment[]): string {
  const files = attachments.map(({ name, mimeType, bytes, sha256 }) => ({ name, mimeType, bytes, sha256 }));
  const params = files.length === 0 ? rest : { ...rest, attachments: files };
  return createHash("sha256").update(JSON.stringify(params)).digest("hex");
}

/** The parent as it is stored now: its deadline counts from its first turn. */
function toPrincipal(run: RunRecord): Principal {
  return runPrincipal({ ...run, authority: withDeadline(run) });
}

function withDeadline({ authority, deadlineAtMs }: RunRecord): RunAuthority {
  if (deadlineAtMs === undefined) return authority;
  return { ...authority, limits: { ...(authority.limits ?? unlimited), deadline: deadlineAtMs } };
}

/** What the child may do: no more than the session has that an operator spawns for. @throws ProtocolError TOOL_UNUSABLE when it could not have a tool that was asked for. */
function decideAuthority(
  deps: SpawnDeps,
  parent: Principal,
  params: SpawnParams,
  { agentId, session }: { readonly agentId: string; readonly session: SessionRecord | undefined },
): RunAuthority {
  const agents = parent.kind === "run" ? [agentOfSessionKey(parent.sessionKey) ?? deps.defaultAgentId, agentId] : [agentId];
  const { tokens = "unlimited", usd = "unlimited", turns = "unlimited", wallMs = "unlimited" } = params.budget ?? {};
  const ask: Partial<Limits> = { budget: { tokens, usd, turns, wallMs } };
  const decide = (asked: Partial<Limits>): RunAuthority => {
    const authority = authorityOfChild(parent, asked, agents);
    if (session === undefined) return authority;
    return withinSession({ ...authority, depth: Math.max(authority.depth, session.depth + 1) }, session.limits);
  };
  const most = decide(ask);
  if (params.tools === undefined) return most;
  const usable = deps.toolNamesOf(most, agentId);
  const missing = params.tools.filter((name) => !usable.includes(name));
  if (missing.length > 0) {
    const listed = usable.length === 0 ? "none" : usable.join(", ");
    throw new ProtocolError("TOOL_UNUSABLE", `the sub-agent could not have ${missing.join(", ")}; it could have ${listed}`, {
      details: { missing, usable },
      remedy: "name only tools of that list, or leave `tools` out for all of them",
    });
  }
  return decide({ ...ask, tools: params.tools });
}

/** Money can only be counted where it is known: a cap that nobody can hold is refused, also one from further up. */
function assertPriced(deps: SpawnDeps, { limits }: RunAuthority, model: string): void {
  if (limits === undefined || limits.budget.usd === "unlimited" || deps.isPriced(model)) return;
  throw new ProtocolError("BUDGET_UNPRICED", `a budget in usd needs the price of ${model}, and models.prices has none`, {
    details: { model },
    remedy: "use a model with a price, or limit tokens or turns instead of usd",
  });
}

function decideSchema({ outputSchema }: SpawnParams): Pick<RunTerms, "outputSchema"> {
  if (outputSchema === undefined) return {};
  const parsed = parseSchema(outputSchema);
  if ("schema" in parsed) return { outputSchema: parsed.schema };
  throw new ProtocolError("SCHEMA_UNUSABLE", `outputSchema cannot be used: ${parsed.problem}`, {
    remedy: "use type, properties, required, additionalProperties, items, enum and bounds, and nothing else",
  });
}

/** What was asked for is used or refused; what is inherited is used where it can be. */
async function decideModel(
  deps: SpawnDeps,
  params: SpawnParams,
  model: string,
  parentRun: RunRecord | undefined,
): Promise<{ readonly thinking: ThinkingLevel | undefined }> {
  const problem = deps.problemWithModel(model);
  if (problem !== undefined) throw new ProtocolError("MODEL_UNUSABLE", problem, { details: { model } });
  const thinking = params.thinking ?? (params.model === undefined ? parentRun?.terms.thinking : undefined);
  if (thinking === undefined) return { thinking };
  const unusable = await deps.problemWithThinking(model, thinking);
  if (unusable === undefined) return { thinking };
  throw new ProtocolError("THINKING_UNUSABLE", `${model} cannot think at ${JSON.stringify(thinking)}: ${unusable}`, {
    details: { model, thinking },
    remedy: "leave `thinking` out, or name a level that the model has",
  });
}

function findParentKey(deps: SpawnDeps, principal: Principal, params: SpawnParams): string {
  if (principal.kind !== "run")
    return params.sessionKey === undefined ? mainSessionKey(deps.defaultAgentId) : deps.toKey(params.sessionKey);
  if (params.sessionKey !== undefined) throw new ProtocolError("NOT_ALLOWED", "not allowed: sessionKey (a run spawns for its own session)");
  return principal.sessionKey;
}

function toReceipt(deps: SpawnDeps, run: RunRecord): Receipt {
  const { thinking, taskName, fork } = run.terms;
  const deadline = run.authority.limits?.deadline ?? "unlimited";
  return {
    status: "accepted",
    childSessionKey: run.sessionKey,
    runId: run.wireId,
    mode: "run",
    resolvedModel: run.model,
    ...(thinking === undefined ? {} : { resolvedThinking: thinking }),
    context: fork?.isForked === true ? "fork" : "isolated",
    ...(fork?.isForked === false ? { warnings: [toForkWarning(fork.bytes, deps.limits.forkMaxBytes)] } : {}),
    scopes: [...run.authority.scopes],
    tools: [...deps.toolNamesOf(run.authority, run.agentId)],
    depth: run.authority.depth,
    ...(taskName === undefined ? {} : { taskName }),
    ...toBudgetReceipt(run.authority),
    ...toAttachmentReceipt(run.terms),
    ...(run.timeoutMs === undefined ? {} : { runTimeoutSeconds: run.timeoutMs / 1_000 }),
    ...(deadline === "unlimited" ? {} : { deadlineAt: deadline }),
    delivery: run.expectsCompletion ? "pending" : "not_required",
    note: run.expectsCompletion ? comingNote : "Nobody is told of the result: it stays in the sub-agent's session.",
  };
}

function toAttachmentReceipt({ attachments }: RunTerms): Pick<Receipt, "attachments"> {
  if (attachments === undefined) return {};
  const files = attachments.files.map(({ name, bytes, sha256 }) => ({ name, bytes, sha256 }));
  const totalBytes = files.reduce((sum, { bytes }) => sum + bytes, 0);
  return { attachments: { count: files.length, totalBytes, files, dir: attachmentFolder } };
}

function toForkWarning(bytes: number, maxBytes: number): string {
  return `the conversation has ${bytes} bytes, and agents.defaults.subagents.forkMaxBytes is ${maxBytes}: the sub-agent sees the task alone`;
}

const comingNote = "The result comes to you as a message when the sub-agent is done. Do not poll; call sessions_yield to wait for it.";

function toBudgetReceipt({ limits }: RunAuthority): Pick<Receipt, "budget"> {
  const { tokens, usd, turns, wallMs } = limits?.budget ?? unlimited.budget;
  const budget = {
    ...(tokens === "unlimited" ? {} : { tokens }),
    ...(usd === "unlimited" ? {} : { usd }),
    ...(turns === "unlimited" ? {} : { turns }),
    ...(wallMs === "unlimited" ? {} : { wallMs }),
  };
  return Object.keys(budget).length === 0 ? {} : { budget };
}
