import assert from "node:assert/strict";
import test from "node:test";
import {
  type EventName,
  type EventPayload,
  events,
  helloOk,
  type Health,
  isRecord,
  methods,
  ProtocolError,
  type SessionRow,
} from "@portreeve/protocol";
import type { Admission } from "../../identity/pairing.ts";
import { Secret } from "../../kit/secret.ts";
import { devicePrincipal, secretPrincipal } from "../../principal/principal.ts";
import { v3Accepted, v3Events, v3Results } from "./v3.ts";
import { type HelloFacts, wireVersions } from "./wire-version.ts";

const [v3, v4] = [wireVersions[3], wireVersions[4]];
const health: Health = {
  ok: true,
  ts: 1,
  durationMs: 0,
  channels: {},
  channelOrder: [],
  channelLabels: {},
  heartbeatSeconds: 0,
  defaultAgentId: "main",
  agents: [],
  sessions: { path: "", count: 0, recent: [] },
};
const here = { reason: "connect", text: "hi", ts: 3, mode: "ui", onlineSince: 3, timeZone: "UTC" };
const token = "t".repeat(43);
const grant = { token: new Secret(token), scopes: ["operator.write"], issuedAtMs: 5 };
const deviceWith = (...scopes: string[]): Admission => ({
  principal: devicePrincipal({ deviceId: "d1", role: "operator", scopes }),
  method: "device-token",
  role: "operator",
  grant,
  endsInMs: undefined,
});
const secretWith = (...scopes: string[]): Admission => ({
  principal: secretPrincipal(scopes),
  method: "token",
  role: "operator",
  grant: undefined,
  endsInMs: undefined,
});

function facts(admission: Admission): HelloFacts {
  return {
    serverVersion: "1.2.3",
    bootId: "boot",
    connId: "conn",
    admission,
    methods: { 3: ["health", "node.pair.verify"], 4: ["health"] },
    events: ["tick"],
    health,
    healthVersion: 2,
    presence: [here],
    presenceVersion: 7,
    uptimeMs: 7,
    sessionDefaults: {
      defaultAgentId: "main",
      mainKey: "main",
      mainSessionKey: "agent:main:main",
      scope: "per-sender",
      modelConfigured: true,
    },
    paths: { configPath: "/home/me/config.json5", stateDir: "/home/me/state" },
    authMode: "token",
  };
}

function hello(version: typeof v3, admission: Admission): Record<string, unknown> {
  const payload = version.hello(facts(admission));
  assert.ok(isRecord(payload));
  return payload;
}

function snapshotOf(payload: Record<string, unknown>): Record<string, unknown> {
  assert.ok(isRecord(payload["snapshot"]));
  return payload["snapshot"];
}

test("the version 4 hello is exactly what its definition says", () => {
  const payloads = [hello(v4, deviceWith("operator.read")), hello(v4, secretWith("operator.admin")), hello(v4, secretWith())];

  assert.deepEqual(
    payloads.map((payload) => helloOk.strict().parse(payload)),
    payloads,
  );
});

test("the version 4 hello always says how the socket was let in and what it may do", () => {
  const [device, secret] = [hello(v4, deviceWith("operator.read")), hello(v4, secretWith("operator.read"))];

  assert.deepEqual(device["auth"], {
    method: "device-token",
    role: "operator",
    scopes: ["operator.read"],
    deviceToken: token,
    issuedAtMs: 5,
  });
  assert.deepEqual(secret["auth"], { method: "token", role: "operator", scopes: ["operator.read"] });
});

test("the version 3 hello says the token's whole grant, and nothing without a token", () => {
  const [device, secret] = [hello(v3, deviceWith("operator.read")), hello(v3, secretWith("operator.read"))];

  assert.deepEqual(device["auth"], { deviceToken: token, role: "operator", scopes: ["operator.read", "operator.write"], issuedAtMs: 5 });
  assert.equal("auth" in secret, false);
});

test("the version 3 hello has the keys of version 3 alone", () => {
  const payload = hello(v3, deviceWith("operator.read"));

  assert.deepEqual(Object.keys(payload), ["type", "protocol", "server", "features", "snapshot", "auth", "policy"]);
  assert.deepEqual(
    [payload["protocol"], payload["server"], payload["features"]],
    [3, { version: "1.2.3", connId: "conn" }, { methods: ["health", "node.pair.verify"], events: ["tick"] }],
  );
  assert.deepEqual(payload["policy"], { maxPayload: 26_214_400, maxBufferedBytes: 52_428_800, tickIntervalMs: 30_000 });
  assert.deepEqual(Object.keys(snapshotOf(payload)), ["presence", "health", "stateVersion", "uptimeMs", "sessionDefaults"]);
});

test("who is here comes with its number, to version 3 without the fields its closed shape does not have", () => {
  const [old, current] = [v3, v4].map((version) => snapshotOf(hello(version, deviceWith("operator.read"))));
  const before = { reason: "connect", text: "hi", ts: 3, mode: "ui" };

  assert.deepEqual([old?.["presence"], old?.["stateVersion"]], [[before], { presence: 7, health: 2 }]);
  assert.deepEqual([current?.["presence"], current?.["stateVersion"]], [[here], { presence: 7, health: 2 }]);
  assert.deepEqual(v3.event("presence", { presence: [here] }), { presence: [before] });
  assert.deepEqual(v3.result("system-presence", [here]), [before]);
});

for (const version of [v3, v4]) {
  test(`where files lie on this machine is told to admin alone (version ${version.protocol})`, () => {
    const [admin, writer] = [
      snapshotOf(hello(version, secretWith("operator.admin"))),
      snapshotOf(hello(version, secretWith("operator.write", "operator.pairing"))),
    ];

    assert.deepEqual([admin["configPath"], admin["stateDir"], admin["authMode"]], ["/home/me/config.json5", "/home/me/state", "token"]);
    assert.deepEqual([writer["configPath"], writer["stateDir"], writer["authMode"]], [undefined, undefined, undefined]);
  });
}

const pairing = new ProtocolError("PAIRING_REQUIRED", "pairing required: device is not approved yet", {
  details: { reason: "not-paired", requestId: "q1", deviceId: "d1", requestedRole: "operator" },
  remedy: "approve it",
});

test("a pairing refusal is rich in version 4 and short in version 3", () => {
  assert.deepEqual(v4.error(pairing), {
    code: "NOT_PAIRED",
    message: pairing.message,
    details: { code: "PAIRING_REQUIRED", ...pairing.details, remediationHint: "approve it" },
  });
  assert.deepEqual(v3.error(pairing), {
    code: "NOT_PAIRED",
    message: "pairing required: approve it",
    details: { code: "PAIRING_REQUIRED", requestId: "q1", reason: "not-paired", remediationHint: "approve it" },
  });
  assert.deepEqual(
    [v3.closeReason(pairing), v4.closeReason(pairing)],
    ["pairing required: approve it", "pairing required: device is not approved yet (requestId: q1)"],
  );
});

test("version 3 has one word for a device token that does not fit, which its clients act on", () => {
  const mismatch = new ProtocolError("AUTH_SCOPE_MISMATCH", "unauthorized: device token scope mismatch (ask for scopes the token has)", {
    details: { authReason: "scope_mismatch" },
  });

  const details = v3.error(mismatch).details;

  assert.ok(isRecord(details));
  assert.deepEqual([details["code"], details["authReason"]], ["AUTH_DEVICE_TOKEN_MISMATCH", "device_token_mismatch"]);
  assert.match(v3.closeReason(mismatch), /device token mismatch/);
  assert.doesNotMatch(v4.closeReason(mismatch), /device token mismatch/);
});

test("a missing scope is INVALID_REQUEST without details in version 3 and FORBIDDEN with them in version 4", () => {
  const missing = new ProtocolError("MISSING_SCOPE", "missing scope: operator.write", { details: { missingScope: "operator.write" } });

  assert.deepEqual(v3.error(missing), { code: "INVALID_REQUEST", message: "missing scope: operator.write" });
  assert.deepEqual(v4.error(missing), {
    code: "FORBIDDEN",
    message: "missing scope: operator.write",
    details: { code: "MISSING_SCOPE", missingScope: "operator.write" },
  });
});

test("a request of version 3 may name an approval by its beginning; every other request is taken as it is", () => {
  const params = { id: "abc", decision: "deny" };

  assert.deepEqual(v3.params("exec.approval.resolve", params), { ...params, matchPrefix: true });
  assert.equal(v4.params("exec.approval.resolve", params), params);
  assert.deepEqual([v3.params("exec.approval.waitDecision", params), v3.params("exec.approval.resolve", "abc")], [params, "abc"]);
});

test("the first answer of agent is shorter in version 3", () => {
  const accepted = methods.agent.accepted.parse({
    runId: "r",
    sessionKey: "agent:main:main",
    agentId: "main",
    status: "accepted",
    acceptedAt: 1,
  });

  assert.deepEqual(v3.accepted("agent", accepted), { runId: "r", status: "accepted", acceptedAt: 1 });
  assert.deepEqual(v4.accepted("agent", accepted), accepted);
});

test("results lose in version 3 what its clients do not know", () => {
  const history = methods["chat.history"].result.parse({ sessionKey: "k", sessionId: "s", messages: [], hasMore: false, totalMessages: 0 });
  const list = methods["sessions.list"].result.parse({
    ts: 1,
    path: "p",
    count: 0,
    totalCount: 0,
    limitApplied: 1,
    nextOffset: null,
    hasMore: false,
    defaults: { modelProvider: "a", model: "b" },
    sessions: [],
  });

  assert.deepEqual(v3.result("chat.history", history), { sessionKey: "k", sessionId: "s", messages: [] });
  assert.deepEqual(v3.result("sessions.list", list), {
    ts: 1,
    path: "p",
    count: 0,
    defaults: { modelProvider: "a", model: "b" },
    sessions: [],
  });
  assert.deepEqual(v3.result("sessions.subscribe", { subscribed: true, list }), { subscribed: true });
  assert.deepEqual(v4.result("chat.history", history), history);
});

const row = { key: "agent:main:main", label: "home" } as unknown as SessionRow; // The projection looks at no field of it.
const run = { runId: "r", sessionKey: "agent:main:main", agentId: "main", spawnedBy: "agent:main:main", seq: 4 };
const message = { role: "assistant", content: [{ type: "text", text: "hello" }], timestamp: 9 } as const;
type EventCase = { readonly [N in EventName]: readonly [name: N, payload: EventPayload<N>, projected: unknown] }[EventName];

const cases: readonly EventCase[] = [
  [
    "chat",
    { ...run, state: "delta", message: { ...message, content: [{ ...message.content[0] }] }, deltaText: "lo", replace: true },
    { runId: "r", sessionKey: run.sessionKey, seq: 4, state: "delta", message },
  ],
  [
    "chat",
    { ...run, state: "final", stopReason: "stop", usage: { input: 1, output: 1, totalTokens: 2 } },
    { runId: "r", sessionKey: run.sessionKey, seq: 4, state: "final", message: undefined, stopReason: "stop" },
  ],
  [
    "chat",
    { ...run, state: "error", errorMessage: "no", errorKind: "timeout" },
    { runId: "r", sessionKey: run.sessionKey, seq: 4, state: "error", errorMessage: "no" },
  ],
  [
    "agent",
    { ...run, ts: 1, stream: "lifecycle", data: { phase: "start", startedAt: 1 } },
    { runId: "r", sessionKey: run.sessionKey, seq: 4, ts: 1, stream: "lifecycle", data: { phase: "start", startedAt: 1 } },
  ],
  [
    "agent",
    {
      ...run,
      ts: 1,
      stream: "lifecycle",
      data: { phase: "end", startedAt: 1, endedAt: 2, stopReason: "stop", aborted: false, status: "succeeded" },
    },
    { runId: "r", sessionKey: run.sessionKey, seq: 4, ts: 1, stream: "lifecycle", data: { phase: "end", endedAt: 2, stopReason: "stop" } },
  ],
  [
    "agent",
    { ...run, ts: 1, stream: "lifecycle", data: { phase: "error", startedAt: 1, endedAt: 2, error: "no" } },
    { runId: "r", sessionKey: run.sessionKey, seq: 4, ts: 1, stream: "lifecycle", data: { phase: "error", error: "no", endedAt: 2 } },
  ],
  [
    "agent",
    { ...run, ts: 1, stream: "tool", data: { phase: "result", name: "ls", toolCallId: "c", isError: false, result: "secret" } },
    {
      runId: "r",
      sessionKey: run.sessionKey,
      seq: 4,
      ts: 1,
      stream: "tool",
      data: { phase: "result", name: "ls", toolCallId: "c", isError: false },
    },
  ],
  [
    "sessions.changed",
    { sessionKey: row.key, agentId: "main", reason: "agent.run.ended", runId: "r", ts: 1, session: row },
    { key: row.key, label: "home", sessionKey: row.key, agentId: "main", runId: "r", ts: 1, phase: "end", session: row },
  ],
  [
    "sessions.changed",
    { sessionKey: row.key, agentId: "main", reason: "agent.run.ended", ts: 1, session: { ...row, status: "failed" } },
    {
      key: row.key,
      label: "home",
      status: "failed",
      sessionKey: row.key,
      agentId: "main",
      ts: 1,
      phase: "error",
      session: { ...row, status: "failed" },
    },
  ],
  [
    "sessions.changed",
    { sessionKey: row.key, agentId: "main", reason: "message", ts: 1 },
    { sessionKey: row.key, agentId: "main", ts: 1, phase: "message" },
  ],
  [
    "sessions.changed",
    { sessionKey: row.key, agentId: "main", reason: "delete", ts: 1 },
    { sessionKey: row.key, agentId: "main", ts: 1, reason: "delete" },
  ],
  ["tick", { ts: 1 }, { ts: 1 }],
];

for (const [name, payload, projected] of cases) {
  test(`${name} ${JSON.stringify(payload).slice(0, 60)}… goes to version 3 in its own shape, and to version 4 as it is`, () => {
    assert.deepEqual(v3.event(name, payload), projected);
    assert.deepEqual(v4.event(name, payload), payload);
  });
}

test("a session that is resolved is a key alone in version 3, and what was said stands beside the session's own fields", () => {
  const found = { ok: true, key: row.key, agentId: "main", displayName: "home" } as const;
  const message = { role: "user", content: [{ type: "text", text: "hi" }], timestamp: 1, __openclaw: { id: "m", seq: 2 } } as const;
  const said = {
    sessionKey: row.key,
    agentId: "main",
    message: { ...message, content: [...message.content] },
    messageId: "m",
    messageSeq: 2,
    session: row,
  };

  assert.deepEqual([v3.result("sessions.resolve", found), v4.result("sessions.resolve", found)], [{ ok: true, key: row.key }, found]);
  assert.deepEqual(v3.result("sessions.resolve", { ok: false }), { ok: false });
  assert.deepEqual(v3.event("session.message", said), {
    key: row.key,
    label: "home",
    sessionKey: row.key,
    message,
    messageId: "m",
    messageSeq: 2,
    session: row,
  });
});

test("every projection of version 3 belongs to a method or event that exists", () => {
  const strangers = [...Object.keys(v3Accepted), ...Object.keys(v3Results)]
    .filter((name) => !Object.hasOwn(methods, name))
    .concat(Object.keys(v3Events).filter((name) => !Object.hasOwn(events, name)));

  assert.deepEqual(strangers, []);
});
