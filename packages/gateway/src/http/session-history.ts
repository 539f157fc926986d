/**
 * `GET /sessions/{key}/history`: a page of a session's messages, the newest first page, each page oldest first. Asked for in
 * events it goes on: with each message as it is added or, when only a part was asked for, with that part anew. It ends when the
 * session is emptied or deleted: its reader begins anew.
 */
import { isDeepStrictEqual } from "node:util";
import type { Message, Result } from "@portreeve/protocol";
import { toAnswer } from "./answer.ts";
import type { ServerEvent } from "./event-stream.ts";
import type { FeedDoor, FeedRouteHandler } from "./route-handler.ts";

type History = Result<"chat.history">;
type Door = FeedDoor<"/sessions/{key}/history">;

/** How long a reader waits before it comes back. */
const retryMs = 1_000;
/** Messages that are told of one by one; who was told of fewer reads the history. */
const toldAtOnce = 200;

export const sessionHistory: FeedRouteHandler<"/sessions/{key}/history"> = async ({ places, query, headers }, door) => {
  const offset = readCount(query.get("cursor")) ?? 0;
  const limit = readCount(query.get("limit"));
  const part = { sessionKey: places["key"] ?? "", offset, ...(limit === undefined ? {} : { limit }) };
  const first = await door.call(part);
  if (!wantsEvents(headers.accept)) return { status: 200, body: toPage(first, offset) };
  const isPart = query.has("cursor") || query.has("limit");
  const events = isPart ? tellPart(first, part, door) : tellMessages(first, door);
  return { events, retryMs, toFailure: (error) => toEvent("error", toAnswer(error).body) };
};

async function* tellMessages(first: History, door: Door): AsyncGenerator<ServerEvent> {
  yield toEvent("history", toPage(first, 0));
  const { sessionKey } = first;
  using feed = door.follow(sessionKey);
  let [sessionId, seen] = [first.sessionId, seqOf(first.messages.at(-1))];
  // What was added between the page and the feed was told to nobody.
  do {
    const added = feed.throughSeq === 0 ? toldAtOnce : feed.throughSeq - seen;
    const page = await door.call({ sessionKey, limit: Math.min(Math.max(added, 1), toldAtOnce) });
    if (isAnother(page.sessionId, sessionId)) return;
    sessionId = page.sessionId;
    for (const message of page.messages.filter((one) => seqOf(one) > seen)) {
      seen = seqOf(message);
      yield toEvent("message", { sessionKey, message, messageId: message.__openclaw.id, messageSeq: seen });
    }
  } while (await feed.next());
}

async function* tellPart(first: History, part: Parameters<Door["call"]>[0], door: Door): AsyncGenerator<ServerEvent> {
  yield toEvent("history", toPage(first, part.offset ?? 0));
  using feed = door.follow(first.sessionKey);
  let told = first;
  do {
    const page = await door.call(part);
    if (isAnother(page.sessionId, told.sessionId)) return;
    if (!isDeepStrictEqual(page, told)) yield toEvent("history", toPage(page, part.offset ?? 0));
    told = page;
  } while (await feed.next());
}

/** Clients read the page under either name. */
function toPage({ sessionKey, messages, hasMore }: History, offset: number): object {
  const page = { sessionKey, items: messages, messages, hasMore };
  return { ...page, ...(hasMore ? { nextCursor: String(offset + messages.length) } : {}) };
}

/** Nobody had spoken in a session without an id. */
function isAnother(sessionId: string, before: string): boolean {
  return before !== "" && sessionId !== before;
}

function seqOf(message: Message | undefined): number {
  return message?.__openclaw.seq ?? 0;
}

function toEvent(name: string, data: object | string): ServerEvent {
  return { name, data: JSON.stringify(data) };
}

function wantsEvents(accept: string | undefined): boolean {
  return (accept ?? "").split(",").some((one) => one.split(";", 1)[0]?.trim().toLowerCase() === "text/event-stream");
}

/** Whatever is no number is left to the method's own schema to refuse. */
function readCount(text: string | null): number | undefined {
  return text === null ? undefined : /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
}
