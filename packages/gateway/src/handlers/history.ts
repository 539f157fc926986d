/** What was said in a session, a page at a time. */
import type { Message, Params, Result } from "@portreeve/protocol";
import type { Context } from "../dispatch/types.ts";
import { sessionViewOf } from "../principal/principal.ts";
import type { RunRecord, SessionRecord } from "../store/store.ts";
import { type HandlerDeps, resolveSession } from "./deps.ts";

type Receipt = NonNullable<Result<"chat.history">["inputReceipts"]>[number];

const defaultHistory = 200;
const textCutAt = 12_000;

export interface History {
  readonly page: Result<"chat.history">;
  /** Undefined for one that nobody has spoken in yet, and for one that is not the asker's to see. */
  readonly session: SessionRecord | undefined;
}

export async function readHistory(
  deps: Pick<HandlerDeps, "store" | "agents" | "sessionRules">,
  { principal }: Pick<Context, "principal">,
  params: Params<"chat.history">,
): Promise<History> {
  const { key } = resolveSession(deps.agents, params.sessionKey, params.agentId);
  const session = await deps.store.sessions.find(key, sessionViewOf(principal, deps.sessionRules.visibility));
  if (session === undefined) return { session, page: { sessionKey: key, sessionId: "", messages: [], hasMore: false, totalMessages: 0 } };
  const { limit = defaultHistory, offset = 0, maxChars = textCutAt, maxBytes } = params;
  const { messages, total } = await deps.store.sessions.listMessages(key, { limit, offset });
  const shown = newestWithin(
    messages.map((message) => cutTexts(message, maxChars)),
    maxBytes,
  );
  const page = {
    sessionKey: key,
    sessionId: session.sessionId,
    messages: shown,
    hasMore: offset + shown.length < total,
    totalMessages: total,
  };
  if (params.inputRunIds === undefined) return { session, page };
  const runs = await Promise.all(params.inputRunIds.map((wireId) => deps.store.runs.findByWireId(wireId, {})));
  const inputReceipts = runs.flatMap((run) => (run?.sessionKey === key ? toReceipt(run, messages) : []));
  return { session, page: { ...page, inputReceipts } };
}

/** A message is said when its run begins, or when the run that works takes it in. */
function toReceipt({ wireId: runId, input, createdAtMs, status }: RunRecord, messages: readonly Message[]): Receipt[] {
  const said = messages.find(
    ({ role, content: [block], timestamp }) =>
      role === "user" && timestamp >= createdAtMs && block?.type === "text" && block.text === input,
  );
  if (said !== undefined) return [{ runId, state: "consumed", consumedByEventId: said.__openclaw.id }];
  return status === "queued" ? [{ runId, state: "pending" }] : [];
}

/** Part of a transcript, as a page would show it. */
export async function readMessages(
  { sessions }: Pick<HandlerDeps["store"], "sessions">,
  key: string,
  range: { readonly fromSeq: number; readonly throughSeq: number },
): Promise<readonly Message[]> {
  return (await sessions.messagesBetween(key, range)).map((message) => cutTexts(message, textCutAt));
}

export function cutTexts(message: Message, maxChars: number): Message {
  return {
    ...message,
    content: message.content.map((block) =>
      "text" in block && block.text.length > maxChars ? { ...block, text: `${block.text.slice(0, maxChars)}…` } : block,
    ),
  };
}

/** The texts of a message in one line of at most `maxChars`; empty when it holds none. */
export function toExcerpt({ content }: Pick<Message, "content">, maxChars: number): string {
  const text = content
    .flatMap((block) => (block.type === "text" ? [block.text] : []))
    .join(" ")
    .replace(/\s+/g, " ")
    .trim();
  return text.length <= maxChars ? text : `${text.slice(0, maxChars - 1).toWellFormed()}…`;
}

/** As many of the newest as fit, and always the newest one. */
function newestWithin(messages: readonly Message[], maxBytes = Number.POSITIVE_INFINITY): Message[] {
  let left = maxBytes;
  const kept = messages.toReversed().map((message) => (left -= Buffer.byteLength(JSON.stringify(message))) >= 0);
  const beyond = kept.indexOf(false, 1);
  return beyond < 0 ? [...messages] : messages.slice(messages.length - beyond);
}
