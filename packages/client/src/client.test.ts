import assert from "node:assert/strict";
import { test } from "node:test";
import { ProtocolError } from "@portreeve/protocol/wire";
import { startPeer, type PeerRequest } from "../../../test/support/scripted-peer.ts";
import { GatewayClient, type ClientOptions } from "./client.ts";
import { ConnectionError, RemoteError } from "./errors.ts";
import type { SeqGap } from "./link.ts";

const client = { id: "cli", mode: "cli", version: "1.0.0", platform: "linux" };

function open(url: string, options: Partial<ClientOptions> = {}): Promise<GatewayClient> {
  const present: ClientOptions["present"] = () => ({ scopes: ["operator.write"], credential: { kind: "secret", value: "s" } });
  return GatewayClient.open({ url, client, present, reconnect: { minDelayMs: 1, maxDelayMs: 1 }, ...options });
}

test("answers go to the call they belong to, in whatever order they come", async () => {
  const held: PeerRequest[] = [];
  await using peer = await startPeer({
    onRequest(request) {
      held.push(request);
      if (held.length === 2) for (const one of held.toReversed()) one.answer({ method: one.method });
    },
  });
  using gateway = await open(peer.url);

  const answers = await Promise.all([gateway.request("first", {}), gateway.request("second", {})]);

  assert.deepEqual(answers, [{ method: "first" }, { method: "second" }]);
});

test("the first of an agent's two answers is handed over, and the second resolves the call", async () => {
  await using peer = await startPeer({
    onRequest({ answer }) {
      answer({ runId: "k1", status: "accepted" });
      answer({ runId: "k1", status: "ok" });
    },
  });
  using gateway = await open(peer.url);
  const accepted: unknown[] = [];

  const result = await gateway.call("agent", { message: "go", idempotencyKey: "k1" }, { onAccepted: (first) => accepted.push(first) });

  assert.deepEqual(accepted, [{ runId: "k1", status: "accepted" }]);
  assert.deepEqual(result, { runId: "k1", status: "ok" });
});

test("a method with one answer may say accepted in it", async () => {
  await using peer = await startPeer({ onRequest: ({ answer }) => answer({ status: "accepted", runId: "r" }) });
  using gateway = await open(peer.url);

  const receipt = await gateway.call("subagents.spawn", { task: "look", idempotencyKey: "k1" });

  assert.equal(receipt.runId, "r");
});

const refusals: readonly (readonly [string, { code: string; message: string; details?: unknown }, string])[] = [
  ["our code in the details", { code: "INVALID_REQUEST", message: "no", details: { code: "UNKNOWN_SESSION" } }, "UNKNOWN_SESSION"],
  ["version 3's missing scope", { code: "INVALID_REQUEST", message: "missing scope: operator.admin" }, "MISSING_SCOPE"],
  ["an unknown method", { code: "INVALID_REQUEST", message: "unknown method: x" }, "UNKNOWN_METHOD"],
  ["a code we do not have", { code: "INVALID_REQUEST", message: "no", details: { code: "OF_ANOTHER_GATEWAY" } }, "INVALID_PARAMS"],
  ["a code named like a prototype's", { code: "NOT_PAIRED", message: "no", details: { code: "constructor" } }, "PAIRING_REQUIRED"],
  ["a wire code nobody knows", { code: "TEAPOT", message: "no" }, "INTERNAL"],
];

for (const [what, body, code] of refusals) {
  test(`${what} becomes ${code}, and the wire's own words are kept`, async () => {
    await using peer = await startPeer({ onRequest: ({ refuse }) => refuse(body) });
    using gateway = await open(peer.url);

    const error = await gateway.request("x", {}).catch((reason: unknown) => reason);

    assert.ok(error instanceof RemoteError && error instanceof ProtocolError);
    assert.deepEqual([error.code, error.wireCode, error.message], [code, body.code, body.message]);
    assert.deepEqual(error.details, body.details ?? {});
  });
}

test("events are heard until the listener is disposed", async () => {
  await using peer = await startPeer({
    onRequest({ event, answer }) {
      event("tick", { ts: 1 });
      answer({});
    },
  });
  using gateway = await open(peer.url);
  const heard: unknown[] = [];
  const listening = gateway.on("tick", (payload) => heard.push(payload));
  await gateway.request("x", {});

  listening[Symbol.dispose]();
  await gateway.request("x", {});

  assert.deepEqual(heard, [{ ts: 1 }]);
});

test("a missing number in the events of a connection is reported, counted from 1 in version 4", async () => {
  const gaps: SeqGap[] = [];
  await using peer = await startPeer({
    onRequest({ event, answer }) {
      for (const seq of [2, 3, 6]) event("tick", { ts: seq }, seq);
      answer({});
    },
  });
  using gateway = await open(peer.url, { onGap: (gap) => gaps.push(gap) });

  await gateway.request("x", {});

  assert.deepEqual(gaps, [
    { expected: 1, received: 2 },
    { expected: 4, received: 6 },
  ]);
});

test("version 3 counts over all connections, so its first number is no gap", async () => {
  const gaps: SeqGap[] = [];
  await using peer = await startPeer({
    protocol: 3,
    onRequest({ event, answer }) {
      for (const seq of [41, 42, 44]) event("tick", { ts: seq }, seq);
      answer({});
    },
  });
  using gateway = await open(peer.url, { onGap: (gap) => gaps.push(gap) });

  await gateway.request("x", {});

  assert.deepEqual(gaps, [{ expected: 43, received: 44 }]);
});

test("an aborted call is rejected with the signal's reason and its late answer is nobody's", async () => {
  const abort = new AbortController();
  await using peer = await startPeer({
    onRequest({ method, answer }) {
      if (method === "slow") abort.abort(new Error("enough"));
      answer({ method });
    },
  });
  using gateway = await open(peer.url);

  await assert.rejects(gateway.request("slow", {}, { signal: abort.signal }), /enough/);
  const next = await gateway.request("next", {});

  assert.deepEqual(next, { method: "next" });
});

/** A gateway that takes no second connection before `comeBack`; the client knows that the first one is lost. */
async function openAndLose() {
  const back = Promise.withResolvers<void>();
  let isAway = true;
  const away = { error: { code: "UNAVAILABLE", message: "gateway starting", retryable: true } };
  const peer = await startPeer({
    onConnect: (_params, connection) => (connection > 0 && isAway ? away : {}),
    onRequest: ({ connection, answer, close }) => (connection === 0 ? close(1012, "service restart") : answer({})),
  });
  const gateway = await open(peer.url, { onOpen: () => void (isAway || back.resolve()) });
  await assert.rejects(gateway.request("x", {}), ConnectionError);
  return {
    peer,
    gateway,
    comeBack() {
      isAway = false;
      return back.promise;
    },
    async [Symbol.asyncDispose]() {
      gateway.close();
      await peer[Symbol.asyncDispose]();
    },
  };
}

test("a call that waits for the connection is rejected when its signal aborts, and never goes out", async () => {
  await using lost = await openAndLose();
  const abort = new AbortController();
  const sent: string[] = [];
  const options = { signal: abort.signal, onSent: () => sent.push("aborted") };
  const calls = [lost.gateway.request("x", {}, options), lost.gateway.call("status", {}, options)];

  abort.abort(new Error("enough"));
  await Promise.all(calls.map((one) => assert.rejects(one, /enough/)));
  await assert.rejects(lost.gateway.request("y", {}, options), /enough/);
  await lost.comeBack();
  await lost.gateway.request("z", {}, { onSent: () => sent.push("z") });

  assert.deepEqual([sent, lost.peer.calls.slice(1)], [["z"], ["z [operator.write]"]]);
});

test("a call that states its scopes waits for the connection like any other", async () => {
  await using lost = await openAndLose();
  const right = lost.gateway.call("status", {}, { scopes: ["operator.write"] });
  const wrong = lost.gateway.call("status", {}, { scopes: ["operator.read"] });
  const refused = assert.rejects(wrong, { code: "NOT_SUPPORTED" });

  await lost.comeBack();
  await Promise.all([right, refused]);

  assert.deepEqual(lost.peer.calls.slice(1), ["status [operator.write]"]);
});

test("a call under way when the connection is lost is rejected as unknown, and later ones go over a new connection", async () => {
  await using peer = await startPeer({
    onRequest: ({ connection, answer, close }) => (connection === 0 ? close(1012, "service restart") : answer({ connection })),
  });
  using gateway = await open(peer.url);

  const lost = await gateway.request("sessions.delete", {}).catch((reason: unknown) => reason);
  const answered = await gateway.request("x", {});

  assert.ok(lost instanceof ConnectionError);
  assert.deepEqual([lost.kind, lost.phase, lost.close], ["closed", "calling", { code: 1012, reason: "service restart" }]);
  assert.deepEqual(answered, { connection: 1 });
  assert.equal(gateway.socketsOpened, 2);
});

const refusedAgain = {
  "a pairing refusal": { code: "NOT_PAIRED", message: "pairing required", details: { code: "PAIRING_REQUIRED" } },
  "a wrong token": { code: "INVALID_REQUEST", message: "unauthorized", details: { code: "AUTH_DEVICE_TOKEN_MISMATCH" } },
};

for (const [what, error] of Object.entries(refusedAgain)) {
  test(`after ${what} a client does not connect again`, async () => {
    const third = Promise.withResolvers<"connected again">();
    await using peer = await startPeer({
      onConnect(_params, connection) {
        if (connection === 2) third.resolve("connected again");
        return connection === 0 ? {} : { error };
      },
    });
    using gateway = await open(peer.url);

    peer.terminate();
    const reason = await Promise.race([gateway.closed, third.promise]);

    assert.ok(reason instanceof RemoteError);
    await assert.rejects(gateway.request("x", {}), reason);
  });
}

test("a gateway that is starting is tried again", async () => {
  const busy = {
    error: { code: "UNAVAILABLE", message: "gateway starting", retryable: true },
    close: { code: 1013, reason: "gateway starting" },
  };
  await using peer = await startPeer({
    onConnect: (_params, connection) => (connection === 1 ? busy : {}),
    onRequest: ({ answer }) => answer({}),
  });
  using gateway = await open(peer.url);

  peer.terminate();
  await peer.nextClose();
  await gateway.request("x", {}).catch(() => gateway.request("x", {}));

  assert.equal(peer.sockets, 3);
});

test("a removed device ends the client", async () => {
  await using peer = await startPeer({ onRequest: ({ close }) => close(4001, "device removed") });
  using gateway = await open(peer.url);

  await assert.rejects(gateway.request("x", {}), /device removed/);
  const reason = await gateway.closed;

  assert.match(reason.message, /4001: device removed/);
  assert.equal(peer.sockets, 1);
});

test("a gateway silent for more than two ticks is left with code 4000", async () => {
  await using peer = await startPeer({ tickIntervalMs: 20 });
  using gateway = await open(peer.url, { reconnect: false });

  await Promise.all([peer.nextClose(), gateway.closed]);

  assert.deepEqual(peer.closes, [{ code: 4000, reason: "tick timeout" }]);
});

test("the first connect is not retried", async () => {
  await using peer = await startPeer({
    onConnect: () => ({ error: { code: "UNAVAILABLE", message: "gateway starting", retryable: true } }),
  });

  await assert.rejects(open(peer.url), /gateway starting/);

  assert.equal(peer.sockets, 1);
});

test("scopes that are not the connection's are refused here, never widened or ignored", async () => {
  await using peer = await startPeer({ onRequest: ({ answer }) => answer({}) });
  using gateway = await open(peer.url);

  await gateway.call("status", {}, { scopes: ["operator.write"] });
  for (const scopes of [[], ["operator.read"], ["operator.write", "operator.admin"]]) {
    await assert.rejects(gateway.call("status", {}, { scopes }), { code: "NOT_SUPPORTED" });
  }

  assert.deepEqual(peer.calls, ["status [operator.write]"]);
});

test("a call whose params are no JSON is rejected once, and the next one is answered", async () => {
  await using peer = await startPeer({ onRequest: ({ method, answer }) => answer({ method }) });
  const gateway = await open(peer.url);

  await assert.rejects(gateway.request("sessions.list", { limit: 1n }), TypeError);
  const next = await gateway.request("next", {});
  gateway.close();
  // A rejection that nobody handles fails the test here.
  await new Promise(setImmediate);

  assert.deepEqual(next, { method: "next" });
});

test("closing rejects what is unanswered and what comes later", async () => {
  const received = Promise.withResolvers<void>();
  await using peer = await startPeer({ onRequest: () => received.resolve() });
  const gateway = await open(peer.url);
  const pending = gateway.request("x", {});
  await received.promise;

  gateway.close();

  await assert.rejects(pending, ConnectionError);
  await assert.rejects(gateway.request("y", {}), /This client was closed/);
});
