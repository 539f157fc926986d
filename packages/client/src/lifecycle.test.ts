import assert from "node:assert/strict";
import { test } from "node:test";
import { startPeer, type Peer, type PeerRequest } from "../../../test/support/scripted-peer.ts";
import { createDeviceKey } from "./device-key.ts";
import { createConnectCall, spawnByCalls, type SpawnByCallsInput, type SpawnByCallsOutcome } from "./lifecycle.ts";

const input: SpawnByCallsInput = {
  task: "look around",
  parent: { sessionKey: "agent:main:main", depth: 0 },
  agentId: "main",
  role: "leaf",
  label: "scout",
  childId: "c1",
};
const childSessionKey = "agent:main:subagent:c1";
const device = createDeviceKey();

/** As a gateway does: admin covers all, and a missing scope is refused. */
function answerByScope(request: PeerRequest): void {
  const need = request.method === "agent" ? "operator.write" : "operator.admin";
  if (!request.scopes.includes(need) && !request.scopes.includes("operator.admin")) {
    return request.refuse({ code: "INVALID_REQUEST", message: `missing scope: ${need}` });
  }
  request.answer(request.method === "agent" ? { runId: "r1", status: "accepted" } : { ok: true });
}

function spawn(peer: Peer, changes: Partial<SpawnByCallsInput> = {}): Promise<SpawnByCallsOutcome> {
  const connectCall = createConnectCall({
    url: peer.url,
    client: { id: "gateway-client", mode: "backend", version: "1.0.0", platform: "linux" },
    device,
    credential: () => ({ kind: "secret", value: "s" }),
  });
  return spawnByCalls(connectCall, { ...input, ...changes });
}

test("a spawn succeeds with admin for the session, the least for the start, and lineage on the child", async () => {
  const seen: PeerRequest[] = [];
  await using peer = await startPeer({
    onRequest(request) {
      seen.push(request);
      answerByScope(request);
    },
  });

  const outcome = await spawn(peer);

  assert.deepEqual(outcome, { status: "accepted", childSessionKey, runId: "r1" });
  assert.deepEqual(peer.calls, ["sessions.patch [operator.admin]", "agent [operator.write]"]);
  assert.deepEqual(
    seen.map(({ params }) => params),
    [
      { key: childSessionKey, spawnedBy: "agent:main:main", spawnDepth: 1, subagentRole: "leaf", label: "scout" },
      { message: "look around", sessionKey: childSessionKey, deliver: false, idempotencyKey: "c1" },
    ],
  );
});

test("explicit scopes are asked for exactly, in every call", async () => {
  await using peer = await startPeer({ onRequest: answerByScope });

  const outcome = await spawn(peer, { scopes: ["operator.admin", "operator.read"] });

  assert.equal(outcome.status, "accepted");
  assert.deepEqual(peer.calls, ["sessions.patch [operator.admin,operator.read]", "agent [operator.admin,operator.read]"]);
});

test("an explicit empty set stays empty and is refused, not widened", async () => {
  await using peer = await startPeer({ onRequest: answerByScope });

  const outcome = await spawn(peer, { scopes: [] });

  assert.ok(outcome.status === "error");
  assert.deepEqual([outcome.failed, outcome.task, outcome.kept], ["sessions.patch", "not-sent", "nothing"]);
  assert.deepEqual(peer.calls, ["sessions.patch []"]);
});

test("a refused start takes the session away again, with admin, and says that the task was not sent", async () => {
  await using peer = await startPeer({
    onRequest: (request) =>
      request.method === "agent" ? request.refuse({ code: "UNAVAILABLE", message: "no model" }) : answerByScope(request),
  });

  const outcome = await spawn(peer);

  assert.ok(outcome.status === "error");
  assert.deepEqual([outcome.failed, outcome.task, outcome.kept, outcome.cleanupError], ["agent", "not-sent", "nothing", undefined]);
  assert.deepEqual(peer.calls, ["sessions.patch [operator.admin]", "agent [operator.write]", "sessions.delete [operator.admin]"]);
});

test("a session that cannot be taken away is reported as kept, with the reason", async () => {
  await using peer = await startPeer({
    onRequest: (request) =>
      request.method === "sessions.patch"
        ? answerByScope(request)
        : request.refuse({ code: "UNAVAILABLE", message: `no ${request.method}` }),
  });

  const outcome = await spawn(peer);

  assert.ok(outcome.status === "error");
  assert.deepEqual([outcome.task, outcome.kept], ["not-sent", "session"]);
  assert.match(String(outcome.cleanupError), /no sessions\.delete/);
});

/** A gateway that loses its first `lost` answers to `agent`, and then answers it as said. */
function loseStarts(lost: number, answerStart = answerByScope): (request: PeerRequest) => void {
  let starts = 0;
  return (request) => {
    if (request.method !== "agent") return answerByScope(request);
    starts += 1;
    return starts <= lost ? request.close(1012, "service restart") : answerStart(request);
  };
}

const patch = "sessions.patch [operator.admin]";
const start = "agent [operator.write]";
const remove = "sessions.delete [operator.admin]";

test("a start whose answer is lost is asked for again, and is the same run", async () => {
  const keys: unknown[] = [];
  const answer = loseStarts(1);
  await using peer = await startPeer({
    onRequest(request) {
      if (request.method === "agent") keys.push((request.params as { idempotencyKey: unknown }).idempotencyKey);
      answer(request);
    },
  });

  const outcome = await spawn(peer);

  assert.deepEqual(outcome, { status: "accepted", childSessionKey, runId: "r1" });
  assert.deepEqual(
    [peer.calls, keys],
    [
      [patch, start, start],
      ["c1", "c1"],
    ],
  );
});

test("a start without an answer, also when asked again, leaves the task's fate unknown and the session for the next try", async () => {
  await using peer = await startPeer({ onRequest: loseStarts(2) });

  const outcome = await spawn(peer);
  const next = await spawn(peer);

  assert.ok(outcome.status === "error");
  assert.deepEqual([outcome.failed, outcome.task, outcome.kept], ["agent", "unknown", "session"]);
  assert.deepEqual(next, { status: "accepted", childSessionKey, runId: "r1" });
  assert.deepEqual(peer.calls, [patch, start, start, patch, start]);
});

const secondAnswers = {
  "a refusal for good settles that it was not sent": {
    error: { code: "INVALID_REQUEST", message: "no such agent", details: { code: "UNKNOWN_AGENT" } },
    fate: ["not-sent", "nothing"],
    calls: [patch, start, start, remove],
  },
  "a gateway that is not ready yet settles nothing": {
    error: { code: "UNAVAILABLE", message: "gateway starting", retryable: true },
    fate: ["unknown", "session"],
    calls: [patch, start, start],
  },
};

for (const [what, { error, fate, calls }] of Object.entries(secondAnswers)) {
  test(`after a lost answer to the start, ${what}`, async () => {
    await using peer = await startPeer({ onRequest: loseStarts(1, ({ refuse }) => refuse(error)) });

    const outcome = await spawn(peer);

    assert.ok(outcome.status === "error");
    assert.deepEqual([[outcome.task, outcome.kept], peer.calls], [fate, calls]);
  });
}

test("a connection that ends before the session is answered is cleaned up too; with nobody there, what is kept is unknown", async () => {
  await using peer = await startPeer({ onRequest: ({ close }) => close(1012, "service restart") });

  const outcome = await spawn(peer);

  assert.ok(outcome.status === "error");
  assert.deepEqual([outcome.failed, outcome.task, outcome.kept], ["sessions.patch", "not-sent", "unknown"]);
  assert.deepEqual(peer.calls, ["sessions.patch [operator.admin]", "sessions.delete [operator.admin]"]);
});

test("a run that was admitted and then failed, or was accepted without a name, counts as sent", async () => {
  const answers: ((request: PeerRequest) => void)[] = [
    ({ answer }) => answer({ status: "accepted" }),
    ({ refuse }) => refuse({ code: "UNAVAILABLE", message: "failed", details: { code: "RUN_FAILED" } }),
  ];
  for (const answerStart of answers) {
    await using peer = await startPeer({
      onRequest: (request) => (request.method === "agent" ? answerStart(request) : answerByScope(request)),
    });

    const outcome = await spawn(peer);

    assert.ok(outcome.status === "error");
    assert.deepEqual([outcome.task, outcome.kept], ["sent", "nothing"]);
  }
});

test("a task that is a session command never reaches the gateway, where it would ask for admin", async () => {
  await using peer = await startPeer({ onRequest: answerByScope });

  const outcome = await spawn(peer, { task: "/reset and look" });

  assert.ok(outcome.status === "error");
  assert.deepEqual([outcome.task, outcome.kept], ["not-sent", "nothing"]);
  assert.deepEqual(peer.calls, []);
});
