/** What handlers work with, and the small facts several of them share. */
import { agentOfSessionKey, type Caller, ProtocolError, type SessionRow, type ThinkingLevel, toSessionKey } from "@portreeve/protocol";
import type { Bus } from "../bus.ts";
import type { Clock } from "../kit/clock.ts";
import type { Principal, RunAuthority } from "../principal/principal.ts";
import type { Admission, RunToAdmit } from "../store/admitting.ts";
import type { RunRecord, RunSelection, SessionRecord, Store } from "../store/store.ts";
import type { AttachmentFiles } from "../subagents/attachment-files.ts";
import type { SessionRules } from "../subagents/session-messages.ts";
import type { SpawnDeps } from "../subagents/spawn.ts";
import type { SessionOrder } from "./session-order.ts";

export interface AgentFacts {
  readonly defaultAgentId: string;
  readonly ids: readonly string[];
  /** `provider/name` of the model the agent uses when its session names none. */
  readonly modelOf: (agentId: string) => string;
  /** The one a new run of the agent gets: another of its models, while that one is left out. */
  readonly modelToStart: (agentId: string) => string;
  readonly fallbacksOf: (agentId: string) => readonly string[];
  readonly workspaceOf: (agentId: string) => string;
  readonly isPriced: (model: string) => boolean;
  readonly problemWithModel: (id: string) => string | undefined;
  readonly problemWithThinking: (id: string, level: ThinkingLevel) => Promise<string | undefined>;
}

export interface HandlerDeps {
  readonly store: Store;
  readonly bus: Bus;
  readonly now: () => number;
  readonly clock: Clock;
  readonly agents: AgentFacts;
  readonly version: string;
  readonly admitRun: (run: RunToAdmit) => Promise<Admission>;
  readonly spawnRun: SpawnDeps["spawnRun"];
  readonly order: SessionOrder;
  /** Those of a session in its order. */
  readonly cancelRuns: (select: RunSelection) => Promise<readonly RunRecord[]>;
  /** Answers why nothing was compacted, or undefined, and how many messages a model reads as they are. */
  readonly compactSession: (ask: {
    readonly sessionKey: string;
    readonly modelId: string;
    readonly keepMessages: number | undefined;
  }) => Promise<{ readonly problem: string | undefined; readonly kept: number }>;
  readonly connections: () => { readonly accepted: number; readonly open: number };
  readonly spawnLimits: SpawnDeps["limits"];
  readonly attachments: AttachmentFiles;
  readonly sessionRules: SessionRules;
  /** Calls methods as the principal. */
  readonly callerFor: (principal: Principal) => Caller;
  readonly toolNamesOf: SpawnDeps["toolNamesOf"];
}

export interface ToolFacts {
  readonly name: string;
  readonly description: string;
}

export interface ToolCallAlone {
  readonly name: string;
  readonly args: Readonly<Record<string, unknown>>;
  readonly authority: RunAuthority;
  readonly agentId: string;
  readonly sessionKey: string;
  readonly caller: Caller;
  readonly signal: AbortSignal;
}

export type CalledTool =
  | { readonly kind: "unavailable" }
  | { readonly kind: "called"; readonly text: string; readonly isError: boolean; readonly details: unknown };

/** What there is to choose from. */
export interface CatalogueDeps extends HandlerDeps {
  readonly tools: readonly ToolFacts[];
  readonly toolsOf: (authority: RunAuthority, agentId: string) => readonly ToolFacts[];
  /** Calls a tool without a run, if it is one that needs none and that `authority` may use. */
  readonly callTool: (call: ToolCallAlone) => Promise<CalledTool>;
  readonly models: {
    /** What the provider families would offer, configured or not. */
    readonly offered: readonly string[];
    readonly contextWindowOf: (model: string) => number;
    /** Models that are left out for a while. */
    readonly cooling: () => ReadonlySet<string>;
  };
  readonly gatewayKey: { readonly id: string; readonly publicKey: string };
}

export function keyWasUsed(): ProtocolError {
  return new ProtocolError("IDEMPOTENCY_MISMATCH", "the idempotency key was used before with other parameters", {
    remedy: "use a new idempotency key for a new message",
  });
}

/** The canonical key of what a caller wrote, and the agent it belongs to. @throws ProtocolError UNKNOWN_AGENT_ID */
export function resolveSession(
  agents: AgentFacts,
  raw: string,
  agentId: string | undefined,
): { readonly key: string; readonly agentId: string } {
  const key = toSessionKey(raw, agentId ?? agents.defaultAgentId);
  const owner = agentOfSessionKey(key);
  for (const id of [agentId, owner]) {
    if (id !== undefined && !agents.ids.includes(id)) throw unknownAgent(id);
  }
  if (owner === undefined)
    throw new ProtocolError("INVALID_PARAMS", `not a session key: ${JSON.stringify(raw)}; expected agent:<agentId>:<name> or a short name`);
  if (agentId !== undefined && agentId !== owner)
    throw new ProtocolError(
      "INVALID_PARAMS",
      `the session key ${JSON.stringify(key)} belongs to agent ${JSON.stringify(owner)}, not ${JSON.stringify(agentId)}`,
    );
  return { key, agentId: owner };
}

export function unknownAgent(agentId: string): ProtocolError {
  return new ProtocolError("UNKNOWN_AGENT_ID", `invalid agent params: unknown agent id ${JSON.stringify(agentId)}`, {
    remedy: "use an agent of `agents.list`, or configure it under agents.entries",
  });
}

/** `provider/name` apart; the name may hold slashes of its own. */
export function splitModel(id: string): { readonly provider: string; readonly name: string } {
  const slash = id.indexOf("/");
  return slash < 0 ? { provider: id, name: id } : { provider: id.slice(0, slash), name: id.slice(slash + 1) };
}

export function toSessionRow(agents: AgentFacts, session: SessionRecord): SessionRow {
  const { newestRun } = session;
  const model = splitModel(session.model ?? agents.modelOf(session.agentId));
  return {
    key: session.key,
    sessionId: session.sessionId,
    kind: "direct",
    agentId: session.agentId,
    ...(session.label === undefined ? {} : { label: session.label }),
    displayName: session.label ?? session.key,
    createdAt: session.createdAtMs,
    updatedAt: session.updatedAtMs,
    archived: session.archivedAtMs !== undefined,
    isMain: session.key === toSessionKey("main", session.agentId),
    modelProvider: model.provider,
    model: model.name,
    ...(session.parentKey === undefined ? {} : { spawnedBy: session.parentKey, parentSessionKey: session.parentKey }),
    spawnDepth: session.depth,
    ...(session.role === "main" ? {} : { subagentRole: session.role }),
    ...(newestRun === undefined
      ? {}
      : { scopes: [...newestRun.scopes], status: rowStatuses[newestRun.status], runStatus: newestRun.status }),
    ...(newestRun?.startedAtMs === undefined ? {} : { startedAt: newestRun.startedAtMs }),
    ...(newestRun?.endedAtMs === undefined ? {} : { endedAt: newestRun.endedAtMs }),
    hasActiveRun: session.activeRunIds.length > 0,
    activeRunIds: [...session.activeRunIds],
  };
}

const rowStatuses: Readonly<Record<RunRecord["status"], NonNullable<SessionRow["status"]>>> = {
  queued: "queued",
  running: "running",
  waiting: "running",
  succeeded: "done",
  failed: "failed",
  timed_out: "timeout",
  stalled: "failed",
  cancelled: "killed",
  interrupted: "failed",
  budget_exceeded: "failed",
  rejected: "failed",
};

/** The row of one session as it stands, or undefined when there is none. */
export async function readSessionRow(deps: Pick<HandlerDeps, "store" | "agents">, key: string): Promise<SessionRow | undefined> {
  const session = await deps.store.sessions.find(key);
  return session === undefined ? undefined : toSessionRow(deps.agents, session);
}

/** How a run's status reads in the wire's three words. */
export function toWireStatus(status: RunRecord["status"]): "ok" | "error" | "timeout" | "in_flight" {
  if (status === "queued" || status === "running" || status === "waiting") return "in_flight";
  if (status === "succeeded") return "ok";
  return status === "timed_out" ? "timeout" : "error";
}
