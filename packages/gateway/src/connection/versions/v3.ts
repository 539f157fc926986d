/** Version 3: what its clients know, dropped or renamed from version 4. */
import {
  covers,
  isRecord,
  limits,
  ProtocolError,
  toErrorBody,
  type EventName,
  type EventPayload,
  type MethodName,
  type PresenceEntry,
  type Result,
  type SessionRow,
  type ShownRequest,
} from "@portreeve/protocol";
import { v3CronEvents, v3CronResults, v3InsteadOfRefusal } from "./v3-cron.ts";
import type { HelloFacts, WireVersion } from "./wire-version.ts";

export const v3: WireVersion = {
  protocol: 3,
  hello: toHello,
  error: (error) => toErrorBody(toV3Error(error), 3),
  closeReason: (error) => toV3Error(error).message,
  params: (method, params) => (isRecord(params) ? { ...params, ...v3Params.get(method) } : params),
  accepted: (method, payload) => project(v3Accepted[method], payload),
  result: (method, payload) => project(v3Results[method], payload),
  event: (name, payload) => project(v3Events[name], payload),
  insteadOfRefusal: v3InsteadOfRefusal,
};

type Projection = (payload: never) => unknown;

/** What its requests mean without saying so. */
export const v3Params: ReadonlyMap<string, object> = new Map([["exec.approval.resolve", { matchPrefix: true }]]);

/** First answers whose shape differs from version 4. */
export const v3Accepted: Partial<Record<MethodName, Projection>> = {
  agent: ({ runId, status, acceptedAt }: { runId: string; status: string; acceptedAt: number }) => ({ runId, status, acceptedAt }),
  "exec.approval.request": (accepted: { id: string; status: string; createdAtMs: number; expiresAtMs: number }) => {
    const { id, status, createdAtMs, expiresAtMs } = accepted;
    return { status, id, createdAtMs, expiresAtMs };
  },
};

/** Results whose shape differs from version 4. */
export const v3Results: Partial<Record<MethodName, Projection>> = {
  "config.set": toChanged,
  "config.patch": toChanged,
  "config.apply": toChanged,
  "system-presence": (entries: Result<"system-presence">) => entries.map(toPresence),
  "sessions.subscribe": ({ subscribed }: Result<"sessions.subscribe">) => ({ subscribed }),
  "sessions.list": ({ ts, path, count, defaults, sessions }: Result<"sessions.list">) => ({ ts, path, count, defaults, sessions }),
  "sessions.resolve": (found: Result<"sessions.resolve">) => (found.ok ? { ok: true, key: found.key } : found),
  "node.pair.list": ({ pending, paired }: Result<"node.pair.list">) => ({
    pending: pending.map(toNode),
    paired: paired.map(toNode),
  }),
  "node.pair.approve": ({ requestId, node }: Result<"node.pair.approve">) => ({ requestId, node: toNode(node) }),
  "node.list": ({ ts, nodes }: Result<"node.list">) => ({ ts, nodes: nodes.map(toNodeRow) }),
  "node.describe": toNodeRow,
  "node.event": ({ ok }: Result<"node.event">) => ({ ok }),
  "exec.approval.request": toDecision,
  "exec.approval.waitDecision": toDecision,
  "device.token.rotate": ({ deviceId, role, token, scopes, rotatedAtMs }: Result<"device.token.rotate">) => ({
    deviceId,
    role,
    ...(token === undefined ? {} : { token }),
    scopes,
    rotatedAtMs,
  }),
  ...v3CronResults,
  "chat.history": ({ sessionKey, sessionId, messages }: Result<"chat.history">) => ({ sessionKey, sessionId, messages }),
};

/** Events whose payload differs from version 4. */
export const v3Events: Partial<Record<EventName, Projection>> = {
  presence: ({ presence }: EventPayload<"presence">) => ({ presence: presence.map(toPresence) }),
  ...v3CronEvents,
  chat: toChat,
  agent: toAgent,
  "sessions.changed": toSessionsChanged,
  "session.message": ({ sessionKey, message, messageId, messageSeq, session }: EventPayload<"session.message">) => ({
    ...session,
    sessionKey,
    message,
    messageId,
    messageSeq,
    session,
  }),
  "node.pair.requested": toNode,
  "exec.approval.requested": ({ id, request, createdAtMs, expiresAtMs }: EventPayload<"exec.approval.requested">) => ({
    id,
    request: toAskedProgram(request),
    createdAtMs,
    expiresAtMs,
  }),
  "exec.approval.resolved": ({ request, ...rest }: EventPayload<"exec.approval.resolved">) => ({
    ...rest,
    request: toAskedProgram(request),
  }),
};

function toHello(facts: HelloFacts): unknown {
  const { grant, role, principal } = facts.admission;
  const { defaultAgentId, mainKey, mainSessionKey, scope } = facts.sessionDefaults;
  const { configPath, stateDir } = facts.paths;
  return {
    type: "hello-ok",
    protocol: 3,
    server: { version: facts.serverVersion, connId: facts.connId },
    features: { methods: facts.methods[3], events: facts.events },
    snapshot: {
      presence: facts.presence.map(toPresence),
      health: facts.health,
      stateVersion: { presence: facts.presenceVersion, health: facts.healthVersion },
      uptimeMs: facts.uptimeMs,
      sessionDefaults: { defaultAgentId, mainKey, mainSessionKey, scope },
      ...(covers(principal.scopes, "operator.admin") ? { configPath, stateDir, authMode: facts.authMode } : {}),
    },
    // The scopes here are the token's, expanded, and not this socket's.
    ...(grant === undefined
      ? {}
      : { auth: { deviceToken: grant.token.reveal(), role, scopes: expandScopes(grant.scopes), issuedAtMs: grant.issuedAtMs } }),
    policy: { maxPayload: limits.maxPayloadBytes, maxBufferedBytes: limits.maxBufferedBytes, tickIntervalMs: limits.tickIntervalMs },
  };
}

function expandScopes(scopes: readonly string[]): readonly string[] {
  const implied = ["operator.read", "operator.write"].filter(
    (scope) => scopes.includes("operator.admin") || (scope === "operator.read" && scopes.includes("operator.write")),
  );
  return [...new Set([...scopes, ...implied])].sort();
}

/** The same failure in the words version 3 has for it. */
function toV3Error(error: ProtocolError): ProtocolError {
  const remedy = error.remedy === undefined ? {} : { remedy: error.remedy };
  if (error.code === "PAIRING_REQUIRED") {
    const { requestId, reason } = error.details;
    // Its clients show the message and nothing else of the error: without the remedy in it a person would not know what to do.
    const message = error.remedy === undefined ? "pairing required" : `pairing required: ${error.remedy}`;
    return new ProtocolError("PAIRING_REQUIRED", message, {
      details: { ...(requestId === undefined ? {} : { requestId }), reason },
      ...remedy,
    });
  }
  if (error.code === "AUTH_SCOPE_MISMATCH") {
    return new ProtocolError("AUTH_DEVICE_TOKEN_MISMATCH", "unauthorized: device token mismatch (rotate/reissue device token)", {
      details: { authReason: "device_token_mismatch", canRetryWithDeviceToken: false, recommendedNextStep: "update_auth_credentials" },
      ...remedy,
    });
  }
  if (error.code === "AUTH_BOOTSTRAP_TOKEN_INVALID") {
    const message = "unauthorized: bootstrap token invalid or expired (scan a fresh setup code)";
    return new ProtocolError(error.code, message, { details: error.details, ...remedy });
  }
  if (error.code === "PAIRING_CHANGED") return new ProtocolError("NOT_CONNECTED", "node not connected", remedy);
  if ("nodeCommandDispatched" in error.details) {
    const { nodeCommandDispatched: _, ...details } = error.details;
    return new ProtocolError(error.code, error.message, { details, ...remedy });
  }
  return error;
}

function toChanged({ ok, noop, path, config }: Result<"config.set">): unknown {
  return { ok, ...(noop === undefined ? {} : { noop }), path, config };
}

function toPresence(entry: PresenceEntry): unknown {
  return without(entry, ["onlineSince", "timeZone"]);
}

/** Without what version 3's closed schemas do not have. */
function toNode(node: object): unknown {
  return without(node, ["clientId", "clientMode", "permissions", "requiredApproveScopes"]);
}

function without(payload: object, added: readonly string[]): unknown {
  return Object.fromEntries(Object.entries(payload).filter(([name]) => !added.includes(name)));
}

function toDecision(result: Result<"exec.approval.request">): unknown {
  const { terminalReason: _, ...decided } = result;
  return decided;
}

/** What version 3 shows of a program: its warnings and digests are version 4's. */
function toAskedProgram(request: ShownRequest): unknown {
  const { warningText: _warning, scope: _scope, sessionId: _session, runId: _run, toolCallId: _call, file: _file, ...rest } = request;
  return rest;
}

/** Version 3 has no states of an approval: what is not live is not shown. */
function toNodeRow(row: object): unknown {
  const added = ["sessionHost", "approvalState"];
  return Object.fromEntries(Object.entries(row).filter(([name]) => !added.includes(name) && !name.startsWith("pending")));
}

/** Cumulative text alone; the keys of the closed version 3 schema. */
function toChat(payload: EventPayload<"chat">): unknown {
  const { runId, sessionKey, seq, state } = payload;
  const envelope = { runId, sessionKey, seq, state };
  switch (payload.state) {
    case "delta":
      return { ...envelope, message: payload.message };
    case "final":
    case "aborted":
      return { ...envelope, message: payload.message, stopReason: payload.stopReason };
    case "error":
      return { ...envelope, errorMessage: payload.errorMessage };
  }
}

function toAgent({ runId, sessionKey, seq, ts, stream, data }: EventPayload<"agent">): unknown {
  const envelope = { runId, sessionKey, seq, ts, stream };
  if (stream === "lifecycle" && data.phase === "end")
    return { ...envelope, data: { phase: data.phase, endedAt: data.endedAt, stopReason: data.stopReason } };
  if (stream === "lifecycle" && data.phase === "error")
    return { ...envelope, data: { phase: data.phase, error: data.error, endedAt: data.endedAt } };
  if (stream === "tool" && data.phase === "result")
    return { ...envelope, data: { phase: data.phase, name: data.name, toolCallId: data.toolCallId, isError: data.isError } };
  return { ...envelope, data };
}

function toSessionsChanged({ reason, session, ...rest }: EventPayload<"sessions.changed">): unknown {
  const phase = toPhase(reason, session?.status);
  const what = phase === undefined ? { reason } : { phase };
  return { ...session, ...rest, ...what, ...(session === undefined ? {} : { session }) };
}

/** Version 3 tells of a run's life, and of what was said, by a phase; of all else by the reason. */
function toPhase(reason: EventPayload<"sessions.changed">["reason"], status: SessionRow["status"]): string | undefined {
  if (reason === "agent.run.started") return "start";
  if (reason === "agent.run.ended") return status === "failed" || status === "timeout" ? "error" : "end";
  return reason === "message" ? "message" : undefined;
}

function project(projection: Projection | undefined, payload: unknown): unknown {
  // The tables above pair each name with the payload that its definition gives it.
  return projection === undefined || typeof payload !== "object" || payload === null ? payload : projection(payload as never);
}
