/** Version 4: the shapes of the method and event tables as they are. */
import { covers, limits, toErrorBody, type HelloOk } from "@portreeve/protocol";
import type { HelloFacts, WireVersion } from "./wire-version.ts";

/** Contracts beyond the method list that clients ask for by name before they call. */
const capabilities: readonly string[] = ["published-model-catalog"];

export const v4: WireVersion = {
  protocol: 4,
  hello: toHello,
  error: (error) => toErrorBody(error, 4),
  closeReason(error) {
    const { requestId } = error.details;
    return typeof requestId === "string" ? `${error.message} (requestId: ${requestId})` : error.message;
  },
  params: (_method, params) => params,
  accepted: (_method, payload) => payload,
  result: (_method, payload) => payload,
  event: (_name, payload) => payload,
  insteadOfRefusal: () => undefined,
};

function toHello(facts: HelloFacts): HelloOk {
  const { grant, method, role, principal } = facts.admission;
  const isAdmin = covers(principal.scopes, "operator.admin");
  return {
    type: "hello-ok",
    protocol: 4,
    server: { version: facts.serverVersion, connId: facts.connId, bootId: facts.bootId },
    features: { methods: [...facts.methods[4]], events: [...facts.events], capabilities: [...capabilities] },
    snapshot: {
      presence: [...facts.presence],
      health: facts.health,
      stateVersion: { presence: facts.presenceVersion, health: facts.healthVersion },
      uptimeMs: facts.uptimeMs,
      sessionDefaults: facts.sessionDefaults,
      suspension: { phase: "accepting" },
      ...(isAdmin ? { ...facts.paths, authMode: facts.authMode } : {}),
    },
    auth: {
      method,
      role,
      scopes: [...principal.scopes],
      ...(grant === undefined ? {} : { deviceToken: grant.token.reveal(), issuedAtMs: grant.issuedAtMs }),
    },
    policy: {
      maxPayload: limits.maxPayloadBytes,
      maxBufferedBytes: limits.maxBufferedBytes,
      tickIntervalMs: limits.tickIntervalMs,
      // No message takes attachments: the least that can be said here.
      attachments: { maxBytes: 1, maxImageBytes: 1 },
    },
  };
}
