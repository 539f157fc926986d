/** Transcripts in SQL. */
import type { Message } from "@portreeve/protocol";
import type { Ids } from "../../kit/ids.ts";
import type { SessionStore, TranscriptMessage } from "../store.ts";
import type { MessageRow } from "./schema.ts";
import { touchSession } from "./session-rows.ts";
import { type Args, row, type Sql, statement } from "./statement.ts";

/** Appends to the transcript and marks the session as changed; answers the ids of the messages. */
export function appendMessages(sql: Sql, key: string, messages: readonly TranscriptMessage[], ids: Ids, nowMs: number): readonly string[] {
  touchSession(sql, key, nowMs);
  if (messages.length === 0) return [];
  let seq = sql.first(lastSeq, { key })?.seq ?? 0;
  const fromSeq = seq + 1;
  const messageIds = messages.map((message) => {
    seq += 1;
    const message_id = ids.next("msg");
    sql.run(insertRow, { message_id, session_key: key, seq, body: JSON.stringify(message) });
    return message_id;
  });
  sql.appended.push({ sessionKey: key, fromSeq, throughSeq: seq });
  return messageIds;
}

export function listMessages(
  sql: Sql,
  key: string,
  page: { readonly limit: number; readonly offset: number },
): Awaited<ReturnType<SessionStore["listMessages"]>> {
  const rows = sql.all(newestFirst, { key, ...page }).reverse();
  return { messages: rows.map(toMessage), total: sql.first(countMessages, { key })?.n ?? 0 };
}

/** Those with the numbers `fromSeq` to `throughSeq`, oldest first; fewer when the transcript was emptied meanwhile. */
export function messagesBetween(sql: Sql, key: string, range: { readonly fromSeq: number; readonly throughSeq: number }): Message[] {
  return sql.all(between, { key, ...range }).map(toMessage);
}

export function findMessage(sql: Sql, key: string, messageId: string): Message | undefined {
  const found = sql.first(byId, { key, messageId });
  return found === undefined ? undefined : toMessage(found);
}

export function readEnds(sql: Sql, keys: readonly string[]): Awaited<ReturnType<SessionStore["ends"]>> {
  const ends = keys.flatMap((key) => {
    const [first, last] = [sql.first(oldest, { key }), sql.first(newestFirst, { key, limit: 1, offset: 0 })];
    return first === undefined || last === undefined ? [] : [[key, { first: toMessage(first), last: toMessage(last) }] as const];
  });
  return new Map(ends);
}

/** How far back `placeOf` looks. */
const searched = 200;

export function placeOf(sql: Sql, key: string, said: { readonly text: string; readonly sinceMs: number } | undefined): number {
  const found =
    said === undefined ? undefined : sql.all(newestFirst, { key, limit: searched, offset: 0 }).find((one) => isThat(readBody(one), said));
  return found?.seq ?? (sql.first(lastSeq, { key })?.seq ?? 0) + 1;
}

function isThat({ role, timestamp, content }: TranscriptMessage, said: { readonly text: string; readonly sinceMs: number }): boolean {
  return role === "user" && timestamp >= said.sinceMs && content.some((block) => block.type === "text" && block.text === said.text);
}

export function toMessage(one: MessageRow): Message {
  return { ...readBody(one), __openclaw: { id: one.message_id, seq: one.seq } };
}

/** A message that cannot be read says so in its place. */
function readBody({ message_id, body }: MessageRow): TranscriptMessage {
  try {
    return JSON.parse(body) as TranscriptMessage;
  } catch {
    return { role: "assistant", content: [{ type: "text", text: `(message ${message_id} cannot be read)` }], timestamp: 0 };
  }
}

const lastSeq = statement((db, arg: Args<{ key: string }>) =>
  db.selectFrom("messages").select("seq").where("session_key", "=", arg("key")).orderBy("seq", "desc").limit(1),
);

const insertRow = statement((db, arg: Args<MessageRow>) =>
  db.insertInto("messages").values(row(arg, { message_id: true, session_key: true, seq: true, body: true })),
);

const newestFirst = statement((db, arg: Args<{ key: string; limit: number; offset: number }>) =>
  db
    .selectFrom("messages")
    .selectAll()
    .where("session_key", "=", arg("key"))
    .orderBy("seq", "desc")
    .limit(arg("limit"))
    .offset(arg("offset")),
);

const oldest = statement((db, arg: Args<{ key: string }>) =>
  db.selectFrom("messages").selectAll().where("session_key", "=", arg("key")).orderBy("seq").limit(1),
);

const between = statement((db, arg: Args<{ key: string; fromSeq: number; throughSeq: number }>) =>
  db
    .selectFrom("messages")
    .selectAll()
    .where("session_key", "=", arg("key"))
    .where("seq", ">=", arg("fromSeq"))
    .where("seq", "<=", arg("throughSeq"))
    .orderBy("seq"),
);

const byId = statement((db, arg: Args<{ key: string; messageId: string }>) =>
  db.selectFrom("messages").selectAll().where("session_key", "=", arg("key")).where("message_id", "=", arg("messageId")),
);

const countMessages = statement((db, arg: Args<{ key: string }>) =>
  db
    .selectFrom("messages")
    .select((build) => build.fn.countAll<number>().as("n"))
    .where("session_key", "=", arg("key")),
);
