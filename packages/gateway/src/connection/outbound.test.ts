import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import test from "node:test";
import { limits } from "@portreeve/protocol";
import { JoinedWrites } from "./joined-writes.ts";
import { Outbound, type Sink } from "./outbound.ts";

/** A socket's sending side that a test can fill up. */
function makeSink(): {
  bufferedAmount: number;
  sent: unknown[];
  closes: string[];
  send(text: string): void;
  close(code: number, reason: string): void;
} {
  return {
    bufferedAmount: 0,
    sent: [],
    closes: [],
    send(text) {
      this.sent.push(JSON.parse(text));
    },
    close(code, reason) {
      this.closes.push(`${code} ${reason}`);
    },
  };
}

function makeOutbound(sink: Sink): Outbound {
  return new Outbound(sink, new JoinedWrites(new PassThrough()));
}

const tick = { name: "tick", payloadJson: '{"ts":1}', droppable: true } as const;

test("events are numbered from one, and the challenge and answers are not", () => {
  const sink = makeSink();
  const outbound = makeOutbound(sink);

  outbound.challenge({ nonce: "n" });
  outbound.event(tick);
  outbound.answer("r1", { ok: true });
  outbound.event({ ...tick, name: "health", stateVersion: { presence: 0, health: 5 } });

  assert.deepEqual(sink.sent, [
    { type: "event", event: "connect.challenge", payload: { nonce: "n" } },
    { type: "event", event: "tick", payload: { ts: 1 }, seq: 1 },
    { type: "res", id: "r1", ok: true, payload: { ok: true } },
    { type: "event", event: "health", payload: { ts: 1 }, seq: 2, stateVersion: { presence: 0, health: 5 } },
  ]);
});

test("a slow reader misses a droppable event and sees the gap in the numbers", () => {
  const sink = makeSink();
  const outbound = makeOutbound(sink);

  outbound.event(tick);
  sink.bufferedAmount = limits.maxBufferedBytes + 1;
  outbound.event(tick);
  sink.bufferedAmount = 0;
  outbound.event(tick);

  assert.deepEqual(
    sink.sent.map((frame) => JSON.stringify(frame).match(/"seq":(\d)/)?.[1]),
    ["1", "3"],
  );
  assert.deepEqual(sink.closes, []);
});

test("a slow reader is closed rather than kept from what it must hear", () => {
  const acts = [
    (outbound: Outbound) => outbound.event({ ...tick, droppable: false }),
    (outbound: Outbound) => outbound.answer("r1", {}),
    (outbound: Outbound) => outbound.refuse("r1", { code: "UNAVAILABLE", message: "x" }),
  ];
  const sinks = acts.map((act) => {
    const sink = makeSink();
    sink.bufferedAmount = limits.maxBufferedBytes + 1;
    act(makeOutbound(sink));
    return sink;
  });

  assert.deepEqual(
    sinks.map(({ sent, closes }) => [sent.length, closes]),
    Array(3).fill([0, ["1008 slow consumer"]]),
  );
});

test("nothing follows a close, and a second close changes nothing", () => {
  const sink = makeSink();
  const outbound = makeOutbound(sink);

  outbound.close(1012, "service restart");
  outbound.answer("r1", {});
  outbound.event(tick);
  outbound.close(1008, "late");

  assert.deepEqual([sink.sent, sink.closes], [[], ["1012 service restart"]]);
});

test("a reason that is too long for a close frame is cut", () => {
  const sink = makeSink();

  makeOutbound(sink).close(1008, "x".repeat(200));

  assert.deepEqual(sink.closes, [`1008 ${"x".repeat(120)}`]);
});
