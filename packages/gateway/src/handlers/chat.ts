/** Chat: send, read back, stop. */
import { type Params, ProtocolError, type Result } from "@portreeve/protocol";
import type { Context, Handlers } from "../dispatch/types.ts";
import { sessionViewOf } from "../principal/principal.ts";
import { startRun } from "./agents.ts";
import type { Commands } from "./commands.ts";
import { type HandlerDeps, resolveSession, toWireStatus } from "./deps.ts";
import { cutTexts, readHistory } from "./history.ts";

const messageCutAt = 500_000;

export function chatHandlers(
  deps: HandlerDeps,
  commands: Commands,
): Pick<Handlers, "chat.send" | "chat.history" | "chat.message.get" | "chat.inject" | "chat.abort"> {
  const abort = async (
    { principal }: Pick<Context, "principal">,
    sessionKey: string,
    wireId: string | undefined,
  ): Promise<Result<"chat.abort">> => {
    const cancelled = await deps.cancelRuns(wireId === undefined ? { sessionKey } : { sessionKey, wireId, askedBy: principal.id });
    return { ok: true, aborted: cancelled.length > 0, runIds: cancelled.map((run) => run.wireId) };
  };
  return {
    "chat.send": async (context, params) => {
      const session = resolveSession(deps.agents, params.sessionKey, params.agentId);
      const { message, idempotencyKey } = params;
      const isPlain = params.suppressCommandInterpretation === true;
      const answer = isPlain ? undefined : commands.answer(context, { session, message, idempotencyKey });
      if (answer !== undefined) {
        const { stopped, text } = await answer;
        return stopped ?? { runId: idempotencyKey, status: "ok", reply: text };
      }
      if (params.message.trim() === "") throw new ProtocolError("INVALID_PARAMS", "message or attachment required");
      const timeoutMs = params.timeoutMs === 0 ? undefined : params.timeoutMs;
      const start = {
        ...session,
        message,
        wireId: idempotencyKey,
        label: undefined,
        timeoutMs,
        queueMode: params.queueMode ?? "steer",
        params,
      };
      const { run, isNew } = await deps.order.admit(session.key, () => startRun(deps, context.principal, start));
      context.connection?.followRun(run.wireId);
      return { runId: run.wireId, status: isNew ? "started" : toWireStatus(run.status) };
    },

    "chat.history": async (context, params) => (await readHistory(deps, context, params)).page,

    "chat.message.get": async ({ principal }, { messageId, maxChars = messageCutAt, ...params }) => {
      const { key } = resolveSession(deps.agents, params.sessionKey, params.agentId);
      const session = await deps.store.sessions.find(key, sessionViewOf(principal, deps.sessionRules.visibility));
      const message = session === undefined ? undefined : await deps.store.sessions.findMessage(key, messageId);
      return message === undefined ? { ok: false, unavailableReason: "not_found" } : { ok: true, message: cutTexts(message, maxChars) };
    },

    "chat.inject": (context, params) => inject(deps, context, params),

    "chat.abort": (context, params) => abort(context, resolveSession(deps.agents, params.sessionKey, params.agentId).key, params.runId),
  };
}

async function inject(
  deps: HandlerDeps,
  { principal }: Pick<Context, "principal">,
  { label = "", ...params }: Params<"chat.inject">,
): Promise<Result<"chat.inject">> {
  const { key: sessionKey, agentId } = resolveSession(deps.agents, params.sessionKey, params.agentId);
  const text = label.trim() === "" ? params.message : `[${label.trim()}]\n\n${params.message}`;
  const message = { role: "assistant" as const, content: [{ type: "text" as const, text }], timestamp: deps.now() };
  const outcome = await deps.store.sessions.inject(
    sessionKey,
    { ...message, model: "gateway-injected" },
    { by: principal.id, nowMs: deps.now() },
  );
  if (outcome.kind === "missing") throw new ProtocolError("UNKNOWN_SESSION", `No session found: ${sessionKey}`);
  if (outcome.kind !== "injected")
    throw new ProtocolError("SESSION_BUSY", `a run works in ${sessionKey}: nothing can be put between what it says`, {
      remedy: "wait for it, or stop it with chat.abort",
    });
  const { messageId } = outcome;
  deps.bus.publish("sessions.changed", { sessionKey, reason: "message" });
  deps.bus.publish("chat", { runId: `inject-${messageId}`, sessionKey, agentId, seq: 1, state: "final", message });
  return { ok: true, messageId };
}
