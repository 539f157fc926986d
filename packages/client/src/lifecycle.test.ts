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

test("a connection that ends before the start is answered leaves the task's fate unknown, and the session is deleted", async () => {
  await using peer = await startPeer({
    onRequest: (request) => (request.method === "agent" ? request.close(1012, "service restart") : answerByScope(request)),
  });

  const outcome = await spawn(peer);

  assert.ok(outcome.status === "error");
  assert.deepEqual([outcome.failed, outcome.task, outcome.kept], ["agent", "unknown", "nothing"]);
  assert.equal(peer.calls.at(-1), "sessions.delete [operator.admin]");
});

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
