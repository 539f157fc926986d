/** Chat: send, read back, stop. */
import { type Message, ProtocolError } from "@portreeve/protocol";
import type { Handlers } from "../dispatch/types.ts";
import { sessionViewOf } from "../principal/principal.ts";
import { startRun } from "./agents.ts";
import { answerIfCommand } from "./commands.ts";
import { type HandlerDeps, resolveSession, toWireStatus } from "./deps.ts";

const defaultHistory = 200;
const textCutAt = 12_000;

export function chatHandlers(deps: HandlerDeps): Pick<Handlers, "chat.send" | "chat.history" | "chat.abort"> {
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

    "chat.history": async (context, params) => {
      const { key } = resolveSession(deps.agents, params.sessionKey, params.agentId);
      const session = await deps.store.sessions.find(key, sessionViewOf(context.principal, deps.sessionRules.visibility));
      if (session === undefined) return { sessionKey: key, sessionId: "", messages: [], hasMore: false, totalMessages: 0 };
      const page = { limit: params.limit ?? defaultHistory, offset: params.offset ?? 0 };
      const { messages, total } = await deps.store.sessions.listMessages(key, page);
      return {
        sessionKey: key,
        sessionId: session.sessionId,
        messages: messages.map((message) => cutTexts(message, params.maxChars ?? textCutAt)),
        hasMore: page.offset + messages.length < total,
        totalMessages: total,
      };
    },

    "chat.abort": (_context, params) => abort(resolveSession(deps.agents, params.sessionKey, params.agentId).key, params.runId),
  };
}

function cutTexts(message: Message, maxChars: number): Message {
  return {
    ...message,
    content: message.content.map((block) =>
      "text" in block && block.text.length > maxChars ? { ...block, text: `${block.text.slice(0, maxChars)}…` } : block,
    ),
  };
}
