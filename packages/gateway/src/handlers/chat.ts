/** Chat: send, read back, stop. */
import { ProtocolError } from "@portreeve/protocol";
import type { Handlers } from "../dispatch/types.ts";
import { sessionViewOf } from "../principal/principal.ts";
import { startRun } from "./agents.ts";
import { answerIfCommand } from "./commands.ts";
import { type HandlerDeps, resolveSession, toWireStatus } from "./deps.ts";
import { cutTexts, readHistory } from "./history.ts";

const messageCutAt = 500_000;

export function chatHandlers(deps: HandlerDeps): Pick<Handlers, "chat.send" | "chat.history" | "chat.message.get" | "chat.abort"> {
  const abort = async (sessionKey: string, wireId: string | undefined): Promise<{ ok: true; aborted: boolean; runIds: string[] }> => {
    const cancelled = await deps.cancelRuns({ sessionKey, wireId });
    return { ok: true, aborted: cancelled.length > 0, runIds: cancelled.map((run) => run.wireId) };
  };
  return {
    "chat.send": async (context, params) => {
      const session = resolveSession(deps.agents, params.sessionKey, params.agentId);
      const { message, idempotencyKey } = params;
      const isPlain = params.suppressCommandInterpretation === true;
      const answer = isPlain ? undefined : await answerIfCommand(deps, context, { session, message, idempotencyKey });
      if (answer !== undefined) return answer.stopped ?? { runId: idempotencyKey, status: "ok", reply: answer.text };
      if (params.message.trim() === "") throw new ProtocolError("INVALID_PARAMS", "message or attachment required");
      const timeoutMs = params.timeoutMs === 0 ? undefined : params.timeoutMs;
      const { run, isNew } = await startRun(deps, context.principal, {
        ...session,
        message: params.message,
        wireId: params.idempotencyKey,
        label: undefined,
        timeoutMs,
        queueMode: params.queueMode ?? "steer",
        params,
      });
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

    "chat.abort": (_context, params) => abort(resolveSession(deps.agents, params.sessionKey, params.agentId).key, params.runId),
  };
}
