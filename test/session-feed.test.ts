/** A session's history in events over real HTTP: what its reader hears, and that it ends with the reader's authority. */
import assert from "node:assert/strict";
import test, { after, before } from "node:test";
import type { Scope } from "@portreeve/protocol";
import { script } from "./support/script.ts";
import { startGateway, type TestGateway } from "./support/start-gateway.ts";

let gw: TestGateway;
before(async () => {
  gw = await startGateway();
});
after(() => gw[Symbol.asyncDispose]());

interface Feed {
  readonly status: number;
  readonly type: string | null;
  /** The next block of the stream; undefined: it has ended. */
  next(): Promise<string | undefined>;
  readonly body: () => Promise<unknown>;
}

async function open(sessionKey: string, { bearer = gw.token, query = "" } = {}): Promise<Feed> {
  const url = `${gw.url.replace(/^ws/, "http")}/sessions/${encodeURIComponent(sessionKey)}/history${query}`;
  const response = await fetch(url, { headers: { authorization: `Bearer ${bearer}`, accept: "text/event-stream" } });
  const blocks = toBlocks(response);
  return {
    status: response.status,
    type: response.headers.get("content-type"),
    next: async () => {
      const { value, done } = await blocks.next();
      return done === true ? undefined : value;
    },
    body: () => response.json(),
  };
}

async function* toBlocks(response: Response): AsyncGenerator<string, undefined> {
  let text = "";
  for await (const part of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
    text += part;
    const blocks = text.split("\n\n");
    text = blocks.pop() ?? "";
    yield* blocks;
  }
  return undefined;
}

/** The event's name, and what was said in it. */
function toSaid(block: string | undefined): readonly unknown[] {
  const [, name, json = "{}"] = /^event: (\w+)\ndata: (.*)$/.exec(block ?? "") ?? [];
  interface Said {
    readonly content: readonly { readonly text: string }[];
  }
  const { messages, items, message } = JSON.parse(json) as { messages?: Said[]; items?: Said[]; message?: Said };
  assert.deepEqual(items, messages);
  return [name, ...[...(messages ?? []), ...(message === undefined ? [] : [message])].map(({ content }) => content[0]?.text)];
}

let names = 0;
async function issue(...scopes: readonly Scope[]) {
  names += 1;
  return await gw.callerWith("operator.admin").call("device.token.issue", { label: `reader ${names}`, scopes: [...scopes] });
}

async function inject(sessionKey: string, message: string): Promise<void> {
  await gw.callerWith("operator.admin").call("chat.inject", { sessionKey, message });
}

async function makeSession(key: string): Promise<void> {
  await gw.callerWith("operator.write").call("sessions.create", { key });
  await inject(key, "one");
}

test("a reader hears the page, then each message as it is added, until the session is emptied", async () => {
  await makeSession("told");
  const feed = await open("told");
  const part = await open("agent:main:told", { query: "?limit=2" });
  const first = [await feed.next(), await feed.next()];
  await part.next();
  const firstPart = await part.next();

  await inject("told", "two");
  const second = await feed.next();
  const secondPart = await part.next();
  await gw.callerWith("operator.write").call("agent", {
    sessionKey: "told",
    message: script("a question", { say: "an answer" }),
    idempotencyKey: "told-1",
  });
  const run = [toSaid(await feed.next()), toSaid(await feed.next())];
  await gw.callerWith("operator.admin").call("sessions.reset", { key: "told" });

  assert.deepEqual([feed.status, feed.type], [200, "text/event-stream; charset=utf-8"]);
  assert.deepEqual([first[0], toSaid(first[1])], ["retry: 1000", ["history", "one"]]);
  assert.deepEqual(toSaid(second), ["message", "two"]);
  assert.match(second ?? "", /"sessionKey":"agent:main:told".*"messageId":"[^"]+","messageSeq":2}$/);
  assert.deepEqual(
    [toSaid(firstPart), toSaid(secondPart)],
    [
      ["history", "one"],
      ["history", "one", "two"],
    ],
  );
  assert.deepEqual([run[0]?.[0], run[1]?.[0]], ["message", "message"]);
  assert.match(String(run[1]?.[1]), /^an answer/);
  assert.equal(await feed.next(), undefined);
});

test("who may not read hears nothing, and what cannot be asked is refused before any event", async () => {
  await makeSession("kept");
  const { token } = await issue("operator.talk");

  const [blind, nobody, bad] = [
    await open("kept", { bearer: token }),
    await open("kept", { bearer: "guess" }),
    await open("kept", { query: "?limit=many" }),
  ];

  assert.deepEqual([blind.status, nobody.status, bad.status], [403, 401, 400]);
  assert.match(JSON.stringify(await blind.body()), /missing scope: operator\.read/);
});

test("a reader's events end when its authority does, and it hears no word that comes after", async () => {
  await makeSession("private");
  const reader = await issue("operator.read");
  const other = await issue("operator.read");
  const [feed, stays] = [await open("private", { bearer: reader.token }), await open("private", { bearer: other.token })];
  for (const one of [feed, stays]) assert.deepEqual([await one.next(), toSaid(await one.next())], ["retry: 1000", ["history", "one"]]);

  await gw.callerWith("operator.admin").call("device.pair.remove", { deviceId: reader.deviceId });
  await inject("private", "after");

  await assert.rejects(feed.next());
  assert.deepEqual(toSaid(await stays.next()), ["message", "after"]);
});

test("a gateway that stops says so, and its readers come back", async () => {
  await makeSession("lasting");
  const feed = await open("lasting");
  await feed.next();
  await feed.next();

  await gw.restart();

  assert.match((await feed.next()) ?? "", /^event: error\ndata: .*SHUTTING_DOWN/);
  assert.equal(await feed.next(), undefined);
  const again = await open("lasting");
  assert.deepEqual([await again.next(), toSaid(await again.next())], ["retry: 1000", ["history", "one"]]);
});
