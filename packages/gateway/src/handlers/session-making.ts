/** Making sessions, and saying the first thing in them. */
import { createHash, randomUUID } from "node:crypto";
import { type Params, ProtocolError, type Result } from "@portreeve/protocol";
import type { Context, Handlers } from "../dispatch/types.ts";
import { type HandlerDeps, resolveSession, splitModel, toSessionRow, unknownAgent } from "./deps.ts";
import { send } from "./messages.ts";

type Ask = Params<"sessions.create">;
type Asking = Pick<Context, "principal" | "connection">;

export function sessionMakingHandlers(deps: HandlerDeps): Pick<Handlers, "sessions.create"> {
  return {
    "sessions.create": async (context, params) => {
      if (params.message !== undefined && params.task !== undefined)
        throw new ProtocolError("INVALID_PARAMS", "invalid sessions.create params: needs message or task, not both");
      const wanted = await decide(deps, context, params);
      const message = params.message ?? params.task ?? "";
      const started =
        message.trim() === "" ? await make(deps, context, wanted) : await start(deps, context, wanted, { ...params, message });
      const session = await deps.store.sessions.find(wanted.key);
      if (session === undefined) throw new ProtocolError("UNKNOWN_SESSION", `the session was deleted as it was made: ${wanted.key}`);
      const { provider: modelProvider, name: model } = splitModel(session.model ?? deps.agents.modelOf(session.agentId));
      const { key, sessionId } = session;
      return { ok: true, key, sessionId, entry: toSessionRow(deps.agents, session), resolved: { modelProvider, model }, ...started };
    },
  };
}

interface Wanted {
  readonly key: string;
  readonly agentId: string;
  readonly change: { readonly label?: string; readonly model?: string };
  /** The key is what the idempotency key stands for: a session that has it was made by the same call. */
  readonly isOwnKey: boolean;
}

async function decide(deps: HandlerDeps, { principal }: Asking, params: Ask): Promise<Wanted> {
  const session = toKey(deps, principal.id, params);
  const model = params.model ?? (await modelOfParent(deps, params));
  const problem = model === undefined ? undefined : deps.agents.problemWithModel(model);
  if (problem !== undefined) throw new ProtocolError("MODEL_UNUSABLE", problem, { details: { model } });
  const change = { ...(params.label === undefined ? {} : { label: params.label }), ...(model === undefined ? {} : { model }) };
  return { ...session, change, isOwnKey: params.key === undefined };
}

type Started = Pick<Result<"sessions.create">, "runStarted" | "runId" | "status">;

async function make(deps: HandlerDeps, { principal }: Asking, { key, agentId, change, isOwnKey }: Wanted): Promise<Started> {
  if (isOwnKey && (await deps.store.sessions.find(key)) !== undefined) return { runStarted: false };
  const outcome = await deps.store.sessions.patch(key, { agentId, by: principal.id, ...change }, deps.now());
  if (outcome.kind !== "patched") throw new ProtocolError("LINEAGE_FIXED", `the session ${key} has a parent already`);
  if (outcome.created) deps.bus.publish("sessions.changed", { sessionKey: key, reason: "create" });
  return { runStarted: false };
}

/** The session is made, or changed, with the run: a message that is refused, or was sent before, changes nothing. */
async function start(
  deps: HandlerDeps,
  asking: Asking,
  { key, agentId, change }: Wanted,
  params: Ask & { readonly message: string },
): Promise<Started> {
  const { run, status } = await send(deps, asking, { session: { key, agentId }, change, params, queueMode: "followup" });
  return { runStarted: true, runId: run.wireId, status };
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
