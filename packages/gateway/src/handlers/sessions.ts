/** Sessions: list, watch, change, delete. */
import { mainKey, mainSessionKey, type Params, ProtocolError, type Result, toSessionKey } from "@portreeve/protocol";
import type { Context, Handlers } from "../dispatch/types.ts";
import { sessionViewOf } from "../principal/principal.ts";
import type { Lineage, MeantSession } from "../store/store.ts";
import { type HandlerDeps, resolveSession, splitModel, toSessionRow } from "./deps.ts";
import { toRows } from "./session-views.ts";

const defaultPage = 200;
const largestPage = 1_000;
/** The newest reply is among so many messages, or there was none for long. */
const searchedForReply = 50;

type Methods =
  | "sessions.list"
  | "sessions.status"
  | "sessions.subscribe"
  | "sessions.unsubscribe"
  | "sessions.patch"
  | "sessions.compact"
  | "sessions.reset"
  | "sessions.delete";

export function sessionHandlers(deps: HandlerDeps): Pick<Handlers, Methods> {
  return {
    "sessions.list": (context, params) => list(deps, context, params),

    "sessions.status": (context, params) => tellStatus(deps, context, params),

    "sessions.subscribe": async (context, params) => {
      context.connection?.setSessionsSubscription(true);
      return Object.keys(params).length === 0 ? { subscribed: true } : { subscribed: true, list: await list(deps, context, params) };
    },

    "sessions.unsubscribe": (context) => {
      context.connection?.setSessionsSubscription(false);
      return Promise.resolve({ subscribed: false });
    },

    "sessions.patch": async (context, params) => {
      const { key, agentId } = resolveSession(deps.agents, params.key, params.agentId);
      const problem = typeof params.model === "string" ? deps.agents.problemWithModel(params.model) : undefined;
      if (problem !== undefined) throw new ProtocolError("MODEL_UNUSABLE", problem, { details: { model: params.model } });
      const lineage = toLineage(deps, params, agentId);
      const outcome = await deps.store.sessions.patch(
        key,
        {
          agentId,
          by: context.principal.id,
          ...(params.label === undefined ? {} : { label: params.label }),
          ...(params.model === undefined ? {} : { model: params.model }),
          ...(params.archived === undefined ? {} : { archived: params.archived }),
          ...(lineage === undefined ? {} : { lineage }),
          ...(params.expectedSessionId === undefined ? {} : { meant: { sessionId: params.expectedSessionId } }),
        },
        deps.now(),
      );
      if (outcome.kind === "other") throw changed(key);
      if (outcome.kind === "lineage-fixed")
        throw new ProtocolError("LINEAGE_FIXED", `the session ${key} has a parent already, and it cannot be changed`);
      deps.bus.publish("sessions.changed", { sessionKey: key, reason: outcome.created ? "create" : "patch" });
      if (params.archived === true) await deps.attachments.sweep();
      return { ok: true, path: "", key, entry: toSessionRow(deps.agents, outcome.session) };
    },

    "sessions.compact": (_context, params) => compact(deps, params),

    "sessions.reset": (context, params) => reset(deps, context, params),

    "sessions.delete": (context, params) => remove(deps, context, params),
  };
}

async function reset(
  deps: HandlerDeps,
  { principal }: Pick<Context, "principal">,
  params: Params<"sessions.reset">,
): Promise<Result<"sessions.reset">> {
  const { key } = resolveSession(deps.agents, params.key, params.agentId);
  const meant = await assertMeant(deps, key, params);
  await deps.cancelRuns({ sessionKey: key });
  const outcome = await deps.store.sessions.reset(key, { meant, by: principal.id }, deps.now());
  switch (outcome.kind) {
    case "missing":
      throw new ProtocolError("UNKNOWN_SESSION", `No session found: ${key}`);
    case "other":
      throw changed(key);
    case "busy":
      throw new ProtocolError("SESSION_BUSY", `a run started in ${key} while it was being emptied`, { remedy: "reset it again" });
    case "reset":
      deps.bus.publish("sessions.changed", { sessionKey: key, reason: "reset" });
      return { ok: true, key, entry: toSessionRow(deps.agents, outcome.session) };
  }
}

async function remove(
  deps: HandlerDeps,
  { principal }: Pick<Context, "principal">,
  params: Params<"sessions.delete">,
): Promise<Result<"sessions.delete">> {
  const { key, agentId } = resolveSession(deps.agents, params.key, params.agentId);
  if (key === toSessionKey(mainKey, agentId)) throw new ProtocolError("MAIN_SESSION", `Cannot delete the main session (${key}).`);
  const meant = await assertMeant(deps, key, params);
  await deps.cancelRuns({ sessionKey: key });
  const outcome = await deps.store.sessions.delete(key, principal.id, deps.now(), meant);
  if (outcome === "other") throw changed(key);
  if (outcome === "busy")
    throw new ProtocolError("SESSION_BUSY", `a run started in ${key} while it was being deleted`, { remedy: "delete it again" });
  if (outcome === "deleted") deps.bus.publish("sessions.changed", { sessionKey: key, reason: "delete" });
  if (outcome === "deleted") await deps.attachments.sweep();
  return { ok: true, key, deleted: outcome === "deleted", archived: [] };
}

interface Expected {
  readonly expectedSessionId?: string | undefined;
  readonly expectedSessionUpdatedAt?: number | undefined;
  readonly archivedOnly?: boolean | undefined;
}

/** Before anything of it is stopped. Answers what the store is to hold on to. @throws ProtocolError SESSION_CHANGED */
async function assertMeant(deps: HandlerDeps, key: string, expected: Expected): Promise<MeantSession> {
  const { expectedSessionId: sessionId, expectedSessionUpdatedAt: updatedAt, archivedOnly = false } = expected;
  const session = await deps.store.sessions.find(key);
  const isMeant =
    session === undefined ||
    (session.sessionId === (sessionId ?? session.sessionId) &&
      session.updatedAtMs === (updatedAt ?? session.updatedAtMs) &&
      (!archivedOnly || session.archivedAtMs !== undefined));
  if (!isMeant) throw changed(key);
  return { sessionId, ...(archivedOnly ? { isArchived: true } : {}) };
}

function changed(key: string): ProtocolError {
  return new ProtocolError(
    "SESSION_CHANGED",
    `${key} is not as the caller expected it: emptied, changed or taken out of the archive since`,
    {
      remedy: "look at it again with sessions.describe",
    },
  );
}

async function compact(deps: HandlerDeps, params: Params<"sessions.compact">): Promise<Result<"sessions.compact">> {
  const { key } = resolveSession(deps.agents, params.key, params.agentId);
  const session = await deps.store.sessions.find(key);
  if (session === undefined) throw new ProtocolError("UNKNOWN_SESSION", `there is no session ${key}`);
  const modelId = session.model ?? deps.agents.modelOf(session.agentId);
  const { problem, kept } = await deps.compactSession({ sessionKey: key, modelId, keepMessages: params.maxLines });
  if (problem === undefined) deps.bus.publish("sessions.changed", { sessionKey: key, reason: "compact" });
  return { ok: true, key, compacted: problem === undefined, kept, ...(problem === undefined ? {} : { reason: problem }) };
}

async function list(
  deps: HandlerDeps,
  { principal }: Pick<Context, "principal">,
  params: Params<"sessions.list">,
): Promise<Result<"sessions.list">> {
  const limit = Math.min(params.limit ?? defaultPage, largestPage);
  const offset = params.offset ?? 0;
  const { sessions, total } = await deps.store.sessions.list({
    limit,
    offset,
    view: sessionViewOf(principal, deps.sessionRules.visibility),
    parentKey: params.spawnedBy === undefined ? undefined : toSessionKey(params.spawnedBy, deps.agents.defaultAgentId),
    agentId: params.agentId,
    label: params.label,
    search: params.search,
    updatedSinceMs: params.activeMinutes === undefined ? undefined : deps.now() - params.activeMinutes * 60_000,
    excludeChildren: params.excludeSubagents,
    excludeJobs: params.excludeCron,
    archived: params.archived ?? false,
  });
  const hasMore = offset + sessions.length < total;
  const model = splitModel(deps.agents.modelOf(deps.agents.defaultAgentId));
  return {
    ts: deps.now(),
    path: "",
    count: sessions.length,
    totalCount: total,
    limitApplied: limit,
    nextOffset: hasMore ? offset + sessions.length : null,
    hasMore,
    defaults: { modelProvider: model.provider, model: model.name },
    sessions: await toRows(deps, sessions, params),
  };
}

/** @throws ProtocolError UNKNOWN_SESSION, also for one that the principal may not see. */
async function tellStatus(
  deps: HandlerDeps,
  { principal }: Pick<Context, "principal">,
  params: Params<"sessions.status">,
): Promise<Result<"sessions.status">> {
  const own = principal.kind === "run" ? principal.sessionKey : mainSessionKey(params.agentId ?? deps.agents.defaultAgentId);
  const key = params.key === undefined ? own : resolveSession(deps.agents, params.key, params.agentId).key;
  const session = await deps.store.sessions.find(key, sessionViewOf(principal, deps.sessionRules.visibility));
  if (session === undefined) throw new ProtocolError("UNKNOWN_SESSION", `No session found: ${key}`);
  const { usage, children, open } = await deps.store.runViews.sumUp(key);
  const { messages } = await deps.store.sessions.listMessages(key, { limit: searchedForReply, offset: 0 });
  const context = messages.findLast((message) => message.usage !== undefined)?.usage;
  return {
    session: toSessionRow(deps.agents, session),
    usage,
    ...(context === undefined ? {} : { contextTokens: context.totalTokens }),
    children,
    queue: open.map(({ runId, wireId, status, startedBy, createdAtMs }) => ({ runId, wireId, status, startedBy, createdAt: createdAtMs })),
  };
}

/** Lineage as one fact: the fields only make sense together with a parent, and clearing them is not offered. */
function toLineage(deps: HandlerDeps, params: Params<"sessions.patch">, agentId: string): Lineage | undefined {
  const { spawnedBy, spawnDepth, subagentRole, subagentControlScope } = params;
  if ([spawnedBy, spawnDepth, subagentRole, subagentControlScope].every((field) => field === undefined)) return undefined;
  if (typeof spawnedBy !== "string" || typeof spawnDepth !== "number" || spawnDepth < 1) {
    throw new ProtocolError(
      "INVALID_PARAMS",
      "invalid sessions.patch params: lineage needs spawnedBy and a spawnDepth of at least 1, together",
    );
  }
  if (spawnDepth > deps.spawnLimits.maxSpawnDepth)
    throw new ProtocolError("SPAWN_DEPTH", `spawnDepth ${spawnDepth} is beyond ${deps.spawnLimits.maxSpawnDepth}`);
  return { parentKey: toSessionKey(spawnedBy, agentId), depth: spawnDepth, role: subagentRole ?? "leaf" };
}
