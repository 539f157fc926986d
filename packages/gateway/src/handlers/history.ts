/** What was said in a session, a page at a time. */
import type { ContentBlock, Message, Params, Result } from "@portreeve/protocol";
import { cutText } from "../kit/cut-text.ts";
import type { Context } from "../dispatch/types.ts";
import { sessionViewOf } from "../principal/principal.ts";
import type { RunRecord, SessionRecord } from "../store/store.ts";
import { type HandlerDeps, resolveSession } from "./deps.ts";

type Receipt = NonNullable<Result<"chat.history">["inputReceipts"]>[number];

const defaultHistory = 200;
const textCutAt = 12_000;
/** Of all messages in one answer: a frame holds that many, and what else is said with them. */
const mostBytes = 6 * 1_048_576;
/** Of one message, when the asker does not say how long its texts may be. */
const mostMessageBytes = 131_072;

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
  const { limit = defaultHistory, offset = 0, maxChars, maxBytes = mostBytes } = params;
  const { messages, total } = await deps.store.sessions.listMessages(key, { limit, offset });
  const shown = newestWithin(
    messages.map((message) => toShown(message, maxChars)),
    Math.min(maxBytes, mostBytes),
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
  return (await sessions.messagesBetween(key, range)).map((message) => toShown(message).message);
}

/** The message with its texts and the arguments of its calls cut at `maxChars` each. */
export function cutTexts(message: Message, maxChars: number): Message {
  return { ...message, content: message.content.map((block) => cutBlock(block, maxChars)) };
}

function cutBlock(block: ContentBlock, maxChars: number): ContentBlock {
  if (block.type !== "toolCall") return block.text.length <= maxChars ? block : { ...block, text: cut(block.text, maxChars) };
  const json = JSON.stringify(block.arguments) ?? "";
  if (json.length <= maxChars) return block;
  return { ...block, arguments: { truncated: true, chars: json.length, beginning: cut(json, maxChars) } };
}

function cut(text: string, maxChars: number): string {
  return `${cutText(text, 0, maxChars)}…`;
}

interface Shown {
  readonly message: Message;
  readonly bytes: number;
}

/** Whoever names the length of texts has larger messages, as far as one answer goes. */
function toShown(message: Message, maxChars?: number): Shown {
  const shown = cutTexts(message, maxChars ?? textCutAt);
  const bytes = bytesOf(shown);
  if (bytes <= (maxChars === undefined ? mostMessageBytes : mostBytes)) return { message: shown, bytes };
  const omitted: Message = { ...message, content: [{ type: "text", text: "[chat.history omitted: message too large]" }] };
  return { message: omitted, bytes: bytesOf(omitted) };
}

function bytesOf(message: Message): number {
  return Buffer.byteLength(JSON.stringify(message));
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
function newestWithin(messages: readonly Shown[], maxBytes: number): Message[] {
  let left = maxBytes;
  const kept = messages.toReversed().map(({ bytes }) => (left -= bytes) >= 0);
  const beyond = kept.indexOf(false, 1);
  return (beyond < 0 ? messages : messages.slice(messages.length - beyond)).map(({ message }) => message);
}
