import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import { connect, type AddressInfo } from "node:net";
import test from "node:test";
import { setImmediate } from "node:timers/promises";
import { ProtocolError } from "@portreeve/protocol";
import { ManualClock } from "../kit/manual-clock.ts";
import { keepAliveMs, sendEvents, stalledReaderMs, type ServerEvent } from "./event-stream.ts";
import type { EarlyEnd } from "./in-flight.ts";

const ignore = (): void => undefined;

/** One answer in events over a real connection; the reader takes what it wants. */
async function openWorld(events: (signal: AbortSignal) => AsyncIterable<ServerEvent>) {
  await using stack = new AsyncDisposableStack();
  const [clock, controller] = [new ManualClock(), new AbortController()];
  const [infos, errors]: [object[], object[]] = [[], []];
  const log = {
    debug: ignore,
    info: (facts: object) => void infos.push(facts),
    warn: ignore,
    error: (facts: object) => void errors.push(facts),
  };
  const begun = Promise.withResolvers<{ response: ServerResponse; sent: Promise<void> }>();
  let ended: EarlyEnd | undefined;
  const server = createServer((_request, response) => {
    const toFailure = ({ code }: ProtocolError): ServerEvent => ({ name: "failed", data: code });
    const flow = { clock, log, signal: controller.signal, ended: () => ended };
    begun.resolve({ response, sent: sendEvents(response, { events: events(controller.signal), toFailure }, flow) });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  stack.defer(() => void server.close());
  stack.defer(() => server.closeAllConnections());
  const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
  stack.defer(() => void socket.destroy());
  let text = "";
  const owned = stack.move();
  socket.write("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
  return {
    ...(await begun.promise),
    clock,
    infos,
    errors,
    text: () => text,
    end(why: EarlyEnd | undefined) {
      ended = why;
      controller.abort(new Error("over"));
    },
    /** Reads until the answer is over. */
    async readAll() {
      for await (const chunk of socket) text += String(chunk);
      return text;
    },
    [Symbol.asyncDispose]: () => owned[Symbol.asyncDispose](),
  };
}

async function* until(signal: AbortSignal, ...first: readonly ServerEvent[]): AsyncGenerator<ServerEvent> {
  yield* first;
  const { promise, reject } = Promise.withResolvers<never>();
  signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  yield await promise;
}

test("events are written in order, with their names, and the answer ends", async () => {
  await using world = await openWorld(async function* () {
    yield { data: "one" };
    yield { name: "second", data: "two" };
  });

  const text = await world.readAll();

  assert.match(text, /^HTTP\/1\.1 200 .*content-type: text\/event-stream/is);
  assert.match(text, /data: one\n\n.*event: second\ndata: two\n\n/s);
  assert.match(text, /\r\n0\r\n\r\n$/);
});

test("a reader that takes nothing is waited for, then cut off; what is said meanwhile is not made", async () => {
  let made = 0;
  let isClosed = false;
  await using world = await openWorld(async function* () {
    try {
      for (; ; made += 1) yield { data: "x".repeat(65_536) };
    } finally {
      isClosed = true;
    }
  });
  while (!world.response.writableNeedDrain) await setImmediate();
  // The kernel may still take some of it.
  for (let before = -1; before !== made || !world.response.writableNeedDrain; await setImmediate()) before = made;

  world.clock.advance(stalledReaderMs - 1);
  const wasDestroyed = world.response.destroyed;
  world.clock.advance(stalledReaderMs);
  await world.sent;

  assert.deepEqual([wasDestroyed, world.response.destroyed, isClosed], [false, true, true]);
  assert.equal(world.infos.length, 1);
  assert.ok(made < 1_000, `${made} events were made`);
});

test("while nothing is said a comment keeps the connection", async () => {
  await using world = await openWorld((signal) => until(signal, { data: "one" }));

  for (let count = 0; count < 2; count += 1) {
    while (world.response.writableLength > 0) await setImmediate();
    world.clock.advance(keepAliveMs);
  }
  world.end("stopping");
  const text = await world.readAll();

  assert.equal(text.match(/^: $/gm)?.length, 2);
});

test("a failure is told in the answer's own words; one that nobody expected, without its message", async () => {
  const failing = async function* (error: Error): AsyncGenerator<ServerEvent> {
    yield { data: "one" };
    throw error;
  };
  await using expected = await openWorld(() => failing(new ProtocolError("RUN_FAILED", "why")));
  await using unexpected = await openWorld(() => failing(new Error("the password is hunter2")));

  const texts = [await expected.readAll(), await unexpected.readAll()];

  assert.match(texts[0] ?? "", /event: failed\ndata: RUN_FAILED\n\n\r\n0\r\n\r\n$/);
  assert.match(texts[1] ?? "", /event: failed\ndata: INTERNAL\n\n/);
  assert.doesNotMatch(texts[1] ?? "", /hunter2/);
  assert.deepEqual([expected.errors.length, unexpected.errors.length], [0, 1]);
});

test("a gateway that stops says so and ends the answer; one whose authority ended is cut off in the middle", async () => {
  await using stopped = await openWorld((signal) => until(signal, { data: "one" }));
  await using expelled = await openWorld((signal) => until(signal, { data: "one" }));
  for (const { response } of [stopped, expelled]) while (response.writableLength > 0) await setImmediate();

  stopped.end("stopping");
  expelled.end("expelled");
  const text = await stopped.readAll();
  await expelled.readAll();

  assert.match(text, /event: failed\ndata: SHUTTING_DOWN\n\n\r\n0\r\n\r\n$/);
  assert.doesNotMatch(expelled.text(), /failed|\r\n0\r\n/);
});
