import assert from "node:assert/strict";
import test from "node:test";
import { setImmediate } from "node:timers/promises";
import type { Message, ParamsInput, Result } from "@portreeve/protocol";
import { Bus } from "../bus.ts";
import type { ServerEvent } from "./event-stream.ts";
import { openSessionFeed } from "./session-feed.ts";
import { sessionHistory } from "./session-history.ts";

const sessionKey = "agent:main:main";

/** A session that is asked for in events. */
async function open(query: string, { accept = "text/event-stream", before = 1, id = "s1" } = {}) {
  const bus = new Bus();
  const leaving = new AbortController();
  let [sessionId, messages]: [string, Message[]] = [id, []];
  const add = (text: string): void => {
    const seq = messages.length + 1;
    messages.push({ role: "user", content: [{ type: "text", text }], timestamp: 1, __openclaw: { id: `m${seq}`, seq } });
  };
  for (let count = 0; count < before; count += 1) add(`m${count + 1}`);
  const reads: unknown[] = [];
  const call = (params: ParamsInput<"chat.history">): Promise<Result<"chat.history">> => {
    reads.push(params);
    const { limit = 200, offset = 0 } = params;
    const end = messages.length - offset;
    const page = messages.slice(Math.max(0, end - limit), end);
    const totalMessages = messages.length;
    return Promise.resolve({ sessionKey, sessionId, messages: page, hasMore: offset + page.length < totalMessages, totalMessages });
  };
  const ask = {
    places: { key: "main" },
    query: new URLSearchParams(query),
    headers: { accept },
    body: Buffer.alloc(0),
    repeatKey: undefined,
  };
  const answer = await sessionHistory(ask, { call, follow: (key) => openSessionFeed(bus, key, leaving.signal) });
  const events = "events" in answer ? answer.events[Symbol.asyncIterator]() : undefined;
  return {
    answer,
    reads,
    leaving,
    add,
    hint: () => bus.publish("appended", { sessionKey, fromSeq: messages.length, throughSeq: messages.length }),
    bus,
    become(id: string) {
      [sessionId, messages] = [id, []];
    },
    async next(): Promise<string> {
      const { value, done } = (await events?.next()) ?? assert.fail("it is no answer in events");
      return done === true ? "the end" : toShort(value as ServerEvent);
    },
  };
}

/** The event's name and the ids of its messages. */
function toShort({ name, data }: ServerEvent): string {
  const { messages, messageId, messageSeq } = JSON.parse(data) as { messages?: Message[]; messageId?: string; messageSeq?: number };
  const ids = messages?.map(({ __openclaw }) => __openclaw.id) ?? [messageId, messageSeq];
  return [name, ...ids].join(" ");
}

test("events are for who asks for them; whoever takes JSON gets the page", async () => {
  for (const accept of ["application/json", "*/*", "text/event-streams"]) {
    const { answer } = await open("", { accept });
    assert.ok("body" in answer && answer.status === 200);
  }
  const { answer } = await open("", { accept: "text/html, Text/Event-Stream;q=0.9" });
  assert.deepEqual("events" in answer ? answer.retryMs : undefined, 1_000);
});

test("after the page comes each message as it is added, what came in between too, and no more is read than is new", async () => {
  const session = await open("");
  assert.equal(await session.next(), "history m1");
  session.add("between");

  assert.equal(await session.next(), "message m2 2");
  session.add("a");
  session.add("b");
  session.hint();

  assert.deepEqual([await session.next(), await session.next()], ["message m3 3", "message m4 4"]);
  assert.deepEqual(session.reads.at(-1), { sessionKey, limit: 2 });
});

test("where a part was asked for, that part comes anew, and only when it is another", async () => {
  const session = await open("limit=2&cursor=1", { before: 4 });
  assert.equal(await session.next(), "history m2 m3");
  const next = session.next();
  session.bus.publish("appended", { sessionKey: "agent:main:other", fromSeq: 9, throughSeq: 9 });
  session.hint();
  session.add("m5");
  session.hint();

  assert.equal(await next, "history m3 m4");
});

test("of very much at once the newest two hundred are told", async () => {
  const session = await open("");
  await session.next();
  for (let count = 0; count < 300; count += 1) session.add("x");
  session.hint();

  assert.equal(await session.next(), "message m102 102");
});

test("it ends when the session is emptied or deleted, and when nobody waits any more", async () => {
  for (const [query, reason] of [
    ["", "reset"],
    ["limit=3", "delete"],
  ] as const) {
    const session = await open(query);
    await session.next();
    const ending = session.next();
    session.become(reason === "reset" ? "s2" : "");
    session.bus.publish("sessions.changed", { sessionKey, reason });
    assert.equal(await ending, "the end");
  }
  const left = await open("");
  await left.next();
  const waiting = left.next();
  await setImmediate();
  left.leaving.abort();
  assert.equal(await waiting, "the end");
});

test("a session that nobody has spoken in yet is followed from its first message", async () => {
  const session = await open("", { before: 0, id: "" });
  assert.equal(await session.next(), "history");
  const first = session.next();
  session.become("s1");
  session.add("hello");
  session.hint();

  assert.equal(await first, "message m1 1");
});
