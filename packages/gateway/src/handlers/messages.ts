/** Messages to sessions: send, steer, stop. */
import { randomUUID } from "node:crypto";
import { type Params, ProtocolError, type Result } from "@portreeve/protocol";
import type { Context, Handlers } from "../dispatch/types.ts";
import { sessionViewOf } from "../principal/principal.ts";
import type { RunToAdmit } from "../store/admitting.ts";
import type { QueueMode, RunRecord, SessionRecord } from "../store/store.ts";
import { assertHops, quoteMessage, toDelivery } from "../subagents/session-messages.ts";
import { startRun } from "./agents.ts";
import { type HandlerDeps, resolveSession, toWireStatus } from "./deps.ts";
import { waitAtMost } from "./waiting.ts";

type Methods = "sessions.send" | "sessions.steer" | "sessions.abort";
type Asking = Pick<Context, "principal" | "signal" | "connection">;

export function messageHandlers(deps: HandlerDeps): Pick<Handlers, Methods> {
  return {
    "sessions.send": async (context, params) => {
      const isNote = params.mode === "notify";
      const sent = await sendTo(deps, context, params, isNote ? "notify" : "followup");
      const { run, ...told } = sent;
      if (isNote || params.waitSeconds === undefined || params.waitSeconds === 0) return { runId: run.wireId, ...told };
      const budget = AbortSignal.timeout(params.waitSeconds * 1_000);
      const latest = await waitAtMost(deps, run, { budget, signal: context.signal });
      return { runId: run.wireId, ...told, ...toDelivery(latest) };
    },

    "sessions.steer": async (context, params) => {
      const { run, ...told } = await sendTo(deps, context, params, "steer");
      return { runId: run.wireId, ...told };
    },

    "sessions.abort": (context, params) => abort(deps, context, params),
  };
}

function sendTo(deps: HandlerDeps, context: Asking, params: Params<"sessions.send">, queueMode: QueueMode): Promise<Sent> {
  const { key } = resolveSession(deps.agents, params.key, params.agentId);
  return deps.order.admit(key, async () => {
    const session = await getSession(deps, context, params);
    if (params.mode === "resume" && session.activeRunIds.length > 0) {
      throw new ProtocolError("SESSION_BUSY", `${key} has not ended: ${session.activeRunIds.length} of its runs are open`, {
        remedy: "steer it, or send without resume",
      });
    }
    return send(deps, context, { session, params, queueMode });
  });
}

/** @throws ProtocolError UNKNOWN_SESSION, also for one that the principal may not see: nothing is made by speaking to it. */
async function getSession(
  deps: HandlerDeps,
  { principal }: Pick<Asking, "principal">,
  params: Pick<Params<"sessions.send">, "key" | "agentId">,
): Promise<SessionRecord> {
  const { key } = resolveSession(deps.agents, params.key, params.agentId);
  const session = await deps.store.sessions.find(key, sessionViewOf(principal, deps.sessionRules.visibility));
  if (session === undefined) throw new ProtocolError("UNKNOWN_SESSION", `No session found: ${key}`);
  if (principal.kind === "run" && key === principal.sessionKey)
    throw new ProtocolError("NOT_ALLOWED", "not allowed: key (a run does not send to its own session)");
  return session;
}

interface Sending {
  readonly session: Pick<SessionRecord, "key" | "agentId">;
  readonly change?: RunToAdmit["session"];
  readonly params: Pick<Params<"sessions.send">, "message" | "timeoutMs" | "idempotencyKey">;
  readonly queueMode: QueueMode;
  /** The session that delegated to the one that is spoken to. */
  readonly isController?: boolean;
}

type Sent = { readonly run: RunRecord } & Pick<Result<"sessions.send">, "status" | "messageSeq">;

/** Admits the message as a run of the sender's; what a run says is quoted, with where it comes from. */
export async function send(
  deps: HandlerDeps,
  { principal, connection }: Pick<Asking, "principal" | "connection">,
  { session, change, params, queueMode, isController = false }: Sending,
): Promise<Sent> {
  await assertHops(deps.store.runs, principal, deps.sessionRules);
  const message =
    principal.kind === "run" ? quoteMessage(params.message, { sessionKey: principal.sessionKey, isController }) : params.message;
  const { run, isNew } = await startRun(deps, principal, {
    key: session.key,
    agentId: session.agentId,
    message,
    wireId: params.idempotencyKey ?? randomUUID(),
    label: undefined,
    timeoutMs: params.timeoutMs === 0 ? undefined : params.timeoutMs,
    queueMode,
    ...(change === undefined ? {} : { session: change }),
    params,
  });
  connection?.followRun(run.wireId);
  const messageSeq = await deps.store.sessions.placeOf(session.key, isNew ? undefined : { text: run.input, sinceMs: run.createdAtMs });
  return { run, status: isNew && run.ending === undefined ? "started" : toWireStatus(run.status), messageSeq };
}

async function abort(
  deps: HandlerDeps,
  { principal }: Pick<Asking, "principal">,
  { key, agentId, runId, clearQueued = true }: Params<"sessions.abort">,
): Promise<Result<"sessions.abort">> {
  if (key !== undefined) await deps.order.admitted(resolveSession(deps.agents, key, agentId).key);
  const named = runId === undefined ? undefined : await deps.store.runViews.find(runId, { rootKey: undefined });
  if (key === undefined && runId === undefined)
    throw new ProtocolError("INVALID_PARAMS", "invalid sessions.abort params: needs key or runId");
  const sessionKey = key === undefined ? named?.run.sessionKey : (await getSession(deps, { principal }, { key, agentId })).key;
  if (sessionKey === undefined || (runId !== undefined && named?.run.sessionKey !== sessionKey))
    throw new ProtocolError("UNKNOWN_RUN", `unknown run ${JSON.stringify(runId)}`);
  const cancelled: RunRecord[] = [];
  if (named !== undefined) cancelled.push(...(await deps.cancelRuns({ sessionKey, runId: named.run.runId })));
  else if (clearQueued) cancelled.push(...(await deps.cancelRuns({ sessionKey })));
  else {
    const { open } = await deps.store.runViews.sumUp(sessionKey);
    for (const one of open.filter(({ status }) => status !== "queued"))
      cancelled.push(...(await deps.cancelRuns({ sessionKey, runId: one.runId })));
  }
  const runIds = cancelled.map((run) => run.wireId);
  return { ok: true, abortedRunId: runIds[0] ?? null, status: runIds.length === 0 ? "no-active-run" : "aborted", runIds };
}
