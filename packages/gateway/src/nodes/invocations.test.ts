import assert from "node:assert/strict";
import test from "node:test";
import type { NodeLink } from "../identity/node-link.ts";
import { ManualClock } from "../kit/manual-clock.ts";
import { Askers } from "./askers.ts";
import { type InvokeOutcome, Invocations } from "./invocations.ts";
import { hearAnswer } from "./invoking.ts";
import { KeptAnswers } from "./kept-answers.ts";

const stays = new AbortController().signal;
const said: InvokeOutcome = { kind: "answered", payload: 1, payloadJSON: "1" };

function open() {
  const clock = new ManualClock();
  const sent: unknown[] = [];
  const tell: NodeLink["tell"] = (name, payload) => void sent.push([name, payload]);
  const facts = { clientId: "node-host", clientMode: "node", platform: "linux", version: "1", caps: [], commands: [], permissions: {} };
  const absent = { displayName: undefined, deviceFamily: undefined, modelIdentifier: undefined };
  const link: NodeLink = { connId: "c1", nodeId: "n1", declared: { nodeId: "n1", ...facts, ...absent }, openedAtMs: 0, tell };
  return { clock, sent, link, invocations: new Invocations(clock) };
}

test("a command that nobody answers in time ends, and an answer after that finds nothing", async () => {
  const { clock, link, invocations, sent } = open();
  const ending = invocations.send(link, { id: "i1", command: "device.info", paramsJSON: undefined, timeoutMs: 500, gone: stays });

  clock.advance(499);
  assert.equal(invocations.find("i1", link), "device.info");
  clock.advance(1);

  assert.deepEqual(await ending, { kind: "timed-out" });
  assert.equal(invocations.settle("i1", link, said), false);
  const payload = { id: "i1", nodeId: "n1", command: "device.info", timeoutMs: 500, idempotencyKey: "i1" };
  assert.deepEqual(sent, [
    ["node.invoke.request", payload],
    ["node.invoke.cancel", { invokeId: "i1", nodeId: "n1" }],
  ]);
});

test("a command whose callers have all gone is over, and the node is told; one that was answered is not cancelled", async () => {
  const { link, invocations, sent } = open();
  const askers = new Askers();
  const [first, second, late] = [new AbortController(), new AbortController(), new AbortController()];
  const ask = { command: "device.info", paramsJSON: undefined, timeoutMs: 500 };
  const answer = invocations.send(link, { id: "i1", ...ask, gone: askers.gone });
  const waits = [first, second].map(({ signal }) => askers.wait(answer, signal));
  const answered = new Askers();
  const heard = answered.wait(invocations.send(link, { id: "i2", ...ask, gone: answered.gone }), late.signal);

  first.abort();
  assert.equal(invocations.find("i1", link), "device.info");
  second.abort();
  invocations.settle("i2", link, said);
  await heard;
  late.abort();

  assert.deepEqual(await Promise.all(waits), [{ kind: "cancelled" }, { kind: "cancelled" }]);
  assert.deepEqual(sent.slice(2), [["node.invoke.cancel", { invokeId: "i1", nodeId: "n1" }]]);
});

test("a command that is answered does not end a second time", async () => {
  const { clock, link, invocations } = open();
  const ending = invocations.send(link, { id: "i1", command: "device.info", paramsJSON: undefined, timeoutMs: 500, gone: stays });

  const settled = [invocations.settle("i1", link, said), invocations.settle("i1", link, { kind: "timed-out" })];
  invocations.endConnection("c1");
  clock.advance(500);

  assert.deepEqual([settled, await ending], [[true, false], said]);
});

test("what is approved decides what goes on, for that node alone", async () => {
  const { link, invocations, sent } = open();
  const other = { ...link, nodeId: "n2", connId: "c2" };
  const ask = { paramsJSON: undefined, timeoutMs: 500, gone: stays };
  const ended = invocations.send(link, { id: "i1", command: "a", ...ask });
  void invocations.send(link, { id: "i2", command: "b", ...ask });
  void invocations.send(other, { id: "i3", command: "a", ...ask });

  invocations.endUnapproved("n1", ["b"]);

  assert.deepEqual(await ended, { kind: "pairing-changed" });
  assert.deepEqual([invocations.find("i2", link), invocations.find("i3", other)], ["b", "a"]);
  assert.deepEqual(sent.slice(3), [["node.invoke.cancel", { invokeId: "i1", nodeId: "n1" }]]);
});

test("answers are kept for ten minutes and within their bounds, the oldest go first", async () => {
  const answers = new KeptAnswers();
  const keep = async (key: string, payloadJSON: string, nowMs: number): Promise<void> => {
    const answer = Promise.resolve<InvokeOutcome>({ kind: "answered", payload: null, payloadJSON });
    answers.keep(key, { fingerprint: key, answer, askers: new Askers() }, nowMs);
    await answer;
    await Promise.resolve();
  };
  const open = Promise.withResolvers<InvokeOutcome>();
  answers.keep("open", { fingerprint: "open", answer: open.promise, askers: new Askers() }, 0);
  await keep("old", "x", 0);
  await keep("large", "x".repeat(20_000_000), 1);
  await keep("larger", "x".repeat(20_000_000), 2);
  assert.deepEqual(
    ["open", "old", "large", "larger"].map((key) => answers.find(key) !== undefined),
    [true, false, false, true],
  );

  await keep("new", "x", 600_003);
  assert.deepEqual(
    ["open", "larger", "new"].map((key) => answers.find(key) !== undefined),
    [true, false, true],
  );
});

test("a call that was not made leaves nothing under its key", async () => {
  const answers = new KeptAnswers();
  const answer = Promise.reject<InvokeOutcome>(new Error("not sent"));
  answers.keep("k", { fingerprint: "f", answer, askers: new Askers() }, 0);

  await assert.rejects(answer);

  assert.equal(answers.find("k"), undefined);
});

test("an answer to a command that is approved no more opens nothing, to its caller neither", async () => {
  const { link, invocations } = open();
  const ending = invocations.send(link, { id: "i1", command: "device.info", paramsJSON: undefined, timeoutMs: 500, gone: stays });
  const approved = { ...link.declared, commands: ["device.status"], createdAtMs: 0, approvedAtMs: 0 };
  const nodes = { find: () => Promise.resolve({ pending: undefined, approved }) };

  const isHeard = await hearAnswer({ nodes, invocations }, link, { id: "i1", nodeId: "n1", ok: true, payload: "late" });

  assert.deepEqual([isHeard, await ending], [false, { kind: "pairing-changed" }]);
});
