/** Agents: list them, run one, wait for a run. */
import { createHash } from "node:crypto";
import { type Accepted, mainKey, type Params, ProtocolError, type Result } from "@portreeve/protocol";
import type { Context, Handlers } from "../dispatch/types.ts";
import { authorityToStart, type Principal, treeOf } from "../principal/principal.ts";
import type { RunToAdmit } from "../store/admitting.ts";
import type { QueueMode, RunRecord } from "../store/store.ts";
import type { Commands } from "./commands.ts";
import { type HandlerDeps, keyWasUsed, resolveSession, splitModel, toWireStatus } from "./deps.ts";
import { waitForEnd, waitForRun } from "./waiting.ts";

const defaultWaitMs = 30_000;
const longestWaitMs = 600_000;

export function agentHandlers(deps: HandlerDeps, commands: Commands): Pick<Handlers, "agents.list" | "agent" | "agent.wait"> {
  return {
    "agents.list": async (context) => listAgents(deps, context),

    agent: async (context, params) => {
      assertNoReset(params);
      const { message, idempotencyKey, agentId, sessionKey, sessionId } = params;
      const key = sessionKey ?? (sessionId === undefined ? mainKey : await findKey(deps, sessionId));
      const session = resolveSession(deps.agents, key, agentId);
      const accept = acceptOnce(deps, context, { ...session, runId: idempotencyKey });
      const answer = commands.answer(context, { session, message, idempotencyKey, accept });
      if (answer !== undefined) {
        const { text } = await answer;
        accept();
        return toCommandResult(deps, { session, idempotencyKey, text });
      }
      if (message.trim() === "") throw new ProtocolError("INVALID_PARAMS", "message or attachment required");
      const timeoutMs = params.timeout === undefined || params.timeout === 0 ? undefined : params.timeout * 1_000;
      // Whoever waits for the second answer waits for the answer to this message.
      const queueMode = "followup";
      const start = { ...session, message, wireId: idempotencyKey, label: params.label, timeoutMs, queueMode, params } as const;
      const { run } = await deps.order.admit(session.key, () => startRun(deps, context.principal, start));
      context.connection?.followRun(run.wireId);
      context.accept({
        runId: run.wireId,
        sessionKey: run.sessionKey,
        agentId: run.agentId,
        status: "accepted",
        acceptedAt: run.createdAtMs,
      });
      return toAgentResult(await waitForEnd(deps, run.runId, context.signal));
    },

    "agent.wait": async (context, { runId, timeoutMs }) => {
      const budget = AbortSignal.timeout(Math.min(timeoutMs ?? defaultWaitMs, longestWaitMs));
      const signal = AbortSignal.any([budget, context.signal]);
      let run: RunRecord | undefined;
      try {
        run = await waitForRun(deps, { wireId: runId, rootKey: treeOf(context.principal) }, signal);
        return toWaitResult(await waitForEnd(deps, run.runId, signal));
      } catch (error) {
        if (budget.aborted) return { runId, status: "timeout", ...(run?.startedAtMs === undefined ? {} : { startedAt: run.startedAtMs }) };
        throw error;
      }
    },
  };
}

export function listAgents({ agents }: Pick<HandlerDeps, "agents">, { principal }: Pick<Context, "principal">): Result<"agents.list"> {
  const isRun = principal.kind === "run";
  const rows = agents.ids.map((id) => ({
    id,
    ...(isRun ? {} : { workspace: agents.workspaceOf(id) }),
    model: { primary: agents.modelOf(id) },
  }));
  return { defaultId: agents.defaultAgentId, mainKey: "main", scope: "per-sender", agents: rows };
}

export interface RunToStart {
  readonly key: string;
  readonly agentId: string;
  readonly message: string;
  readonly wireId: string;
  readonly label: string | undefined;
  readonly timeoutMs: number | undefined;
  readonly queueMode: QueueMode;
  /** What the session has from here on, once the run is admitted. */
  readonly session?: RunToAdmit["session"];
  /** What must be the same for the same idempotency key. */
  readonly params: object;
}

/** Admits a run of `principal` and hints at the work; the run is durable when this resolves. */
export async function startRun(
  deps: HandlerDeps,
  principal: Principal,
  start: RunToStart,
): Promise<{ readonly run: RunRecord; readonly isNew: boolean }> {
  const session = await deps.store.sessions.find(start.key);
  const defaultModel = deps.agents.modelToStart(start.agentId);
  const model = start.session?.model ?? session?.model ?? defaultModel;
  const problem = deps.agents.problemWithModel(model);
  const paramsHash = createHash("sha256").update(JSON.stringify(start.params)).digest("hex");
  if (problem !== undefined) {
    const replay = await deps.store.runs.findReplay({ startedBy: principal.id, askedIn: start.key, key: start.wireId, paramsHash });
    if (replay?.kind === "replayed") return { run: replay.run, isNew: false };
    throw new ProtocolError("MODEL_UNUSABLE", problem, { details: { model } });
  }
  const admission = await deps.admitRun({
    sessionKey: start.key,
    agentId: start.agentId,
    wireId: start.wireId,
    input: start.message,
    label: start.label,
    defaultModel,
    authority: authorityToStart(principal),
    startedBy: principal.id,
    timeoutMs: start.timeoutMs,
    paramsHash,
    queueMode: start.queueMode,
    ...(start.session === undefined ? {} : { session: start.session }),
  });
  if (admission.kind === "mismatch") throw keyWasUsed();
  if (admission.kind === "too-many-notes") {
    throw new ProtocolError("SESSION_BUSY", `${admission.unread} notes wait in ${start.key} that no turn has read`, {
      remedy: "send a message that gets a turn of its own (followup): it reads them first",
    });
  }
  if (admission.kind === "too-many-waiting") {
    throw new ProtocolError("SESSION_BUSY", `${admission.waiting} messages wait in ${start.key} for their turn`, {
      remedy: "send it again when some of them were answered, or stop what runs and waits there first (chat.abort)",
    });
  }
  if (admission.kind === "starter-ended") throw new ProtocolError("UNKNOWN_RUN", "the run that wants to send has ended");
  if (admission.kind === "replayed") return { run: admission.run, isNew: false };
  if (admission.createdSession) deps.bus.publish("sessions.changed", { sessionKey: start.key, reason: "create" });
  deps.bus.publish("sessions.changed", { sessionKey: start.key, reason: "send", runId: admission.run.wireId });
  deps.bus.publish("work", undefined);
  return { run: admission.run, isNew: true };
}

function assertNoReset(params: Params<"agent">): void {
  if (/^\/(new|reset)(\s|$)/.test(params.message))
    throw new ProtocolError("NOT_SUPPORTED", `not supported: ${params.message.split(/\s/)[0]}`);
}

async function findKey({ store }: HandlerDeps, sessionId: string): Promise<string> {
  const session = await store.sessions.findById(sessionId);
  if (session !== undefined) return session.key;
  throw new ProtocolError("UNKNOWN_SESSION", `No session found: ${sessionId}`, { remedy: "list sessions with ./portreeve sessions list" });
}

function acceptOnce(
  deps: HandlerDeps,
  { accept }: Pick<Context<Accepted<"agent">>, "accept">,
  { key: sessionKey, agentId, runId }: { readonly key: string; readonly agentId: string; readonly runId: string },
): () => void {
  let isAccepted = false;
  return () => {
    if (!isAccepted) accept({ runId, sessionKey, agentId, status: "accepted", acceptedAt: deps.now() });
    isAccepted = true;
  };
}

/** A command in the shape of a run that is over at once. */
async function toCommandResult(
  deps: HandlerDeps,
  {
    session: { key, agentId },
    idempotencyKey: runId,
    text,
  }: { session: { key: string; agentId: string }; idempotencyKey: string; text: string },
): Promise<Result<"agent">> {
  const session = await deps.store.sessions.find(key);
  const { provider, name } = splitModel(session?.model ?? deps.agents.modelOf(agentId));
  return {
    runId,
    status: "ok",
    summary: "command",
    result: {
      payloads: [{ text, mediaUrl: null }],
      meta: {
        durationMs: 0,
        agentMeta: { sessionId: session?.sessionId ?? "", provider, model: name, usage: { input: 0, output: 0, totalTokens: 0 } },
        aborted: false,
        stopReason: "command",
      },
    },
  };
}

function toAgentResult(run: RunRecord): Result<"agent"> {
  const { text = "", error, stopReason } = run.ending ?? {};
  const status = toWireStatus(run.status);
  if (status !== "ok" && run.status !== "timed_out" && run.status !== "cancelled") {
    throw new ProtocolError("RUN_FAILED", error ?? `the run ended as ${run.status}`, {
      details: { runId: run.wireId, outcome: run.status, stopReason, text },
    });
  }
  const { provider, name } = splitModel(run.model);
  return {
    runId: run.wireId,
    status: status === "in_flight" ? "error" : status,
    summary: run.status === "succeeded" ? "completed" : run.status,
    result: {
      payloads: text === "" ? [] : [{ text, mediaUrl: null }],
      meta: {
        durationMs: (run.endedAtMs ?? run.createdAtMs) - (run.startedAtMs ?? run.createdAtMs),
        agentMeta: {
          sessionId: run.sessionId,
          provider,
          model: name,
          usage: run.usage,
          ...(run.costMicroUsd === undefined ? {} : { costUsd: run.costMicroUsd / 1_000_000 }),
        },
        aborted: run.status === "cancelled",
        ...(stopReason === undefined ? {} : { stopReason }),
      },
    },
  };
}

function toWaitResult(run: RunRecord): Result<"agent.wait"> {
  const status = toWireStatus(run.status);
  return {
    runId: run.wireId,
    status: status === "in_flight" ? "timeout" : status,
    ...(run.startedAtMs === undefined ? {} : { startedAt: run.startedAtMs }),
    ...(run.endedAtMs === undefined ? {} : { endedAt: run.endedAtMs }),
    ...(run.ending?.error === undefined ? {} : { error: run.ending.error }),
    ...(run.ending === undefined ? {} : { stopReason: run.ending.stopReason }),
  };
}
