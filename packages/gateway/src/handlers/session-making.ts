/** Making sessions, and saying the first thing in them. */
import { createHash, randomUUID } from "node:crypto";
import { type Params, ProtocolError, type Result } from "@portreeve/protocol";
import type { Context, Handlers } from "../dispatch/types.ts";
import type { SessionRecord } from "../store/store.ts";
import { type HandlerDeps, resolveSession, splitModel, toSessionRow, unknownAgent } from "./deps.ts";
import { send } from "./messages.ts";

type Ask = Params<"sessions.create">;
type Asking = Pick<Context, "principal" | "connection">;

export function sessionMakingHandlers(deps: HandlerDeps): Pick<Handlers, "sessions.create"> {
  return {
    "sessions.create": async (context, params) => {
      if (params.message !== undefined && params.task !== undefined)
        throw new ProtocolError("INVALID_PARAMS", "invalid sessions.create params: needs message or task, not both");
      const { session, created } = await make(deps, context, params);
      const { provider: modelProvider, name: model } = splitModel(session.model ?? deps.agents.modelOf(session.agentId));
      const started = await start(deps, context, session, params);
      if (created) deps.bus.publish("sessions.changed", { sessionKey: session.key, reason: "create" });
      return {
        ok: true,
        key: session.key,
        sessionId: session.sessionId,
        entry: toSessionRow(deps.agents, (await deps.store.sessions.find(session.key)) ?? session),
        resolved: { modelProvider, model },
        ...started,
      };
    },
  };
}

async function make(
  deps: HandlerDeps,
  { principal }: Asking,
  params: Ask,
): Promise<{ readonly session: SessionRecord; readonly created: boolean }> {
  const { key, agentId } = toKey(deps, principal.id, params);
  const model = params.model ?? (await modelOfParent(deps, params));
  const problem = model === undefined ? undefined : deps.agents.problemWithModel(model);
  if (problem !== undefined) throw new ProtocolError("MODEL_UNUSABLE", problem, { details: { model } });
  const outcome = await deps.store.sessions.patch(
    key,
    {
      agentId,
      by: principal.id,
      ...(params.label === undefined ? {} : { label: params.label }),
      ...(model === undefined ? {} : { model }),
    },
    deps.now(),
  );
  if (outcome.kind !== "patched") throw new ProtocolError("LINEAGE_FIXED", `the session ${key} has a parent already`);
  return outcome;
}

/** A key of its own for who names none; with an idempotency key, the same one however often it is asked for. */
function toKey({ agents }: HandlerDeps, principalId: string, { key, agentId = agents.defaultAgentId, idempotencyKey }: Ask) {
  if (key !== undefined) return resolveSession(agents, key, agentId);
  if (!agents.ids.includes(agentId)) throw unknownAgent(agentId);
  const name =
    idempotencyKey === undefined
      ? randomUUID()
      : createHash("sha256")
          .update(JSON.stringify([principalId, agentId, idempotencyKey]))
          .digest("hex")
          .slice(0, 32);
  return { key: `agent:${agentId}:dashboard:${name}`, agentId };
}

async function modelOfParent(deps: HandlerDeps, { parentSessionKey }: Ask): Promise<string | undefined> {
  if (parentSessionKey === undefined) return undefined;
  const { key } = resolveSession(deps.agents, parentSessionKey, undefined);
  const parent = await deps.store.sessions.find(key);
  if (parent === undefined) throw new ProtocolError("UNKNOWN_SESSION", `unknown parent session: ${parentSessionKey}`);
  return parent.model;
}

async function start(
  deps: HandlerDeps,
  asking: Asking,
  session: SessionRecord,
  params: Ask,
): Promise<Pick<Result<"sessions.create">, "runStarted" | "runId" | "status">> {
  const message = params.message ?? params.task ?? "";
  if (message.trim() === "") return { runStarted: false };
  const { run, status } = await send(deps, asking, { session, params: { ...params, message }, queueMode: "followup" });
  return { runStarted: true, runId: run.wireId, status };
}
