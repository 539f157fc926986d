import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import test from "node:test";
import { limits } from "@portreeve/protocol";
import type { Dispatch } from "../dispatch/types.ts";
import { secretPrincipal } from "../principal/principal.ts";
import { JoinedWrites } from "./joined-writes.ts";
import { Outbound } from "./outbound.ts";
import { Requests } from "./requests.ts";
import { wireVersions } from "./versions/wire-version.ts";

function createRequests(dispatch: Dispatch, send: (text: string) => void = () => undefined) {
  const sink = { bufferedAmount: 0, send, close: () => undefined };
  const socket = new PassThrough();
  const outbound = new Outbound(sink, new JoinedWrites(socket));
  const ignore = (): void => undefined;
  const reading: string[] = [];
  const requests = new Requests({
    dispatch,
    log: { debug: ignore, info: ignore, warn: ignore, error: ignore },
    principal: secretPrincipal([]),
    checkAuthority: ignore,
    version: wireVersions[4],
    outbound,
    handle: { connId: "c", caps: [], setSessionsSubscription: ignore, setMessagesSubscription: () => true, followRun: ignore },
    pause: () => reading.push("paused"),
    resume: () => reading.push("resumed"),
    caughtUp: () => reading.push("caught up"),
  });
  return { requests, outbound, sink, socket, reading };
}

const frame = (method: string): string => JSON.stringify({ type: "req", id: "r", method });

test("whoever was closed starts nothing more, although its socket is still open", () => {
  const dispatched: string[] = [];
  const { requests, outbound } = createRequests((_principal, name) => Promise.resolve(dispatched.push(name)));

  requests.receive(frame("health"));
  outbound.close(1008, "enough");
  requests.receive(frame("status"));

  assert.deepEqual(dispatched, ["health"]);
});

test("runs that were accepted do not keep the request that aborts them from being read", () => {
  const dispatched: string[] = [];
  const signals: AbortSignal[] = [];
  const { requests } = createRequests((_principal, name, _params, { accept, signal }) => {
    dispatched.push(name);
    signals.push(signal);
    if (name === "agent") accept?.({ runId: "k", status: "accepted", acceptedAt: 1 });
    return new Promise(() => undefined);
  });

  for (let count = 0; count <= limits.requestsInFlight; count += 1) requests.receive(frame("agent"));
  requests.receive(frame("chat.abort"));
  requests.end();

  assert.equal(dispatched.at(-1), "chat.abort");
  assert.ok(signals.every((signal) => signal.aborted));
});

test("waits do not keep other requests from being read, and those beyond their bound are refused at once, to be asked again", async () => {
  const dispatched: string[] = [];
  const sent: string[] = [];
  const ends: (() => void)[] = [];
  const dispatch: Dispatch = (_principal, name, _params, { signal }) =>
    new Promise((resolve) => {
      dispatched.push(name);
      ends.push(() => resolve({ isAborted: signal.aborted }));
    });
  const { requests } = createRequests(dispatch, (text) => sent.push(text));

  for (let count = 0; count <= limits.requestsInFlight; count += 1) requests.receive(frame("agent.wait"));
  requests.receive(frame("chat.abort"));
  const whileFull = [dispatched.length, dispatched.at(-1), sent.length];
  ends[0]?.();
  await new Promise(setImmediate);
  requests.receive(frame("subagents.wait"));

  const { error } = JSON.parse(sent[0] ?? "") as { error: { code: string; retryable: boolean; details: { code: string } } };
  assert.deepEqual(whileFull, [limits.requestsInFlight + 1, "chat.abort", 1]);
  assert.deepEqual([error.code, error.retryable, error.details.code], ["UNAVAILABLE", true, "TOO_MANY_WAITS"]);
  assert.equal(dispatched.at(-1), "subagents.wait");
});

test("while megabytes of answers wait unsent nothing more is read or begun, and afterwards everything is, in order", async () => {
  const dispatched: string[] = [];
  const { requests, sink, socket, reading } = createRequests((_principal, name) => Promise.resolve(dispatched.push(name)));

  requests.receive(frame("health"));
  sink.bufferedAmount = limits.unsentBytes + 1;
  requests.receive(frame("status"));
  await new Promise(setImmediate);
  sink.bufferedAmount = limits.unsentBytes - 1;
  requests.receive(frame("sessions.list"));
  const before = [...dispatched];
  const readBefore = [...reading];
  sink.bufferedAmount = 0;
  socket.emit("drain");
  requests.receive(frame("models.list"));
  for (let turn = 0; turn < 3; turn += 1) await new Promise(setImmediate);

  assert.deepEqual([before, readBefore], [["health"], ["paused"]]);
  assert.deepEqual(dispatched, ["health", "status", "sessions.list", "models.list"]);
  assert.deepEqual(reading, ["paused", "caught up", "resumed"]);
});

test("one that drains and is behind again at once waits for the next time", async () => {
  const dispatched: string[] = [];
  const { requests, sink, socket, reading } = createRequests((_principal, name) => {
    sink.bufferedAmount = limits.unsentBytes + 1;
    return Promise.resolve(dispatched.push(name));
  });
  for (const method of ["health", "status", "models.list"]) requests.receive(frame(method));

  for (const count of [2, 3]) {
    sink.bufferedAmount = 0;
    socket.emit("drain");
    for (let turn = 0; turn < 3; turn += 1) await new Promise(setImmediate);
    assert.equal(dispatched.length, count);
  }
  assert.deepEqual(reading, ["paused", "caught up", "caught up", "resumed"]);
});

test("whoever lost its authority gets one last answer, and nothing else is dispatched or answered", async () => {
  const sent: string[] = [];
  const calls = new Map<string, { readonly signal: AbortSignal; readonly resolve: (value: unknown) => void }>();
  const { requests } = createRequests(
    (_principal, name, _params, { signal }) => new Promise((resolve) => calls.set(name, { signal, resolve })),
    (text) => sent.push(text),
  );
  const request = (id: string): void => requests.receive(JSON.stringify({ type: "req", id, method: id }));
  request("beside");
  request("last");

  requests.endAfter(calls.get("last")?.signal ?? AbortSignal.abort(), () => sent.push("closed"));
  request("late");
  calls.get("beside")?.resolve("secret");
  calls.get("last")?.resolve("done");
  await new Promise(setImmediate);

  assert.deepEqual([...calls.keys()], ["beside", "last"]);
  assert.deepEqual([calls.get("beside")?.signal.aborted, calls.get("last")?.signal.aborted], [true, false]);
  assert.deepEqual(sent, [JSON.stringify({ type: "res", id: "last", ok: true, payload: "done" }), "closed"]);
});
