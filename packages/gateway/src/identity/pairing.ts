/**
 * Pairing: pending → approved | rejected | expired; approved → revoked. The policy is `grant.ts`, every step is one atomic
 * sentence of the store; this carries the facts between them and tells whoever listens.
 */
import { ProtocolError, type ConnectParams } from "@portreeve/protocol";
import type { Bus } from "../bus.ts";
import type { Clock } from "../kit/clock.ts";
import { background, type Log } from "../kit/log.ts";
import type { ProxyIdentity } from "../kit/proxy-identity.ts";
import type { Secret } from "../kit/secret.ts";
import { devicePrincipal, secretPrincipal, type DevicePrincipal, type Principal, type SecretPrincipal } from "../principal/principal.ts";
import type { DeviceRecord, DeviceState, DeviceStore, Grant, PairingAsk, PairingReason, PairingRecord } from "../store/store.ts";
import type { Attempts, AttemptVerdict } from "./attempts.ts";
import type { Credentials, Match } from "./credentials.ts";
import { verifyDeviceProof } from "./device-proof.ts";
import { toPairingRequest } from "./device-view.ts";
import { decide, isMetadataChanged, type Ask, type Decision, type Standing } from "./grant.ts";
import { pairingRequired, proofRefused, proxyRefused, rateLimited, refused, uiDeviceRequired } from "./refusals.ts";
import { judgeSharedAccess, type AuthMode, type SharedAccess, type SharedMethod } from "./shared-access.ts";

/** A connection that asks to be let in. */
export interface AdmissionAsk {
  readonly connect: ConnectParams;
  readonly role: "operator" | "node";
  /** Of this connection's challenge. */
  readonly nonce: string;
  readonly peer: {
    readonly address: string;
    readonly directLoopback: boolean;
    /** An allowed one. */
    readonly hasOrigin: boolean;
    readonly origin?: string | undefined;
    /** Who a trusted proxy says it is, in the mode that asks one. */
    readonly proxy?: ProxyIdentity | undefined;
  };
  /** Aborts when nobody waits for the verdict any more. */
  readonly signal?: AbortSignal | undefined;
}

export interface Admission {
  readonly principal: DevicePrincipal | SecretPrincipal;
  readonly method: SharedMethod | "device-token";
  readonly role: "operator" | "node";
  /** Undefined without a device. `scopes`: all that the device is approved for in this role. */
  readonly grant: { readonly token: Secret; readonly scopes: readonly string[]; readonly issuedAtMs: number } | undefined;
}

export type AdmissionVerdict =
  | { readonly kind: "admitted"; readonly admission: Admission }
  | { readonly kind: "refused"; readonly error: ProtocolError };

export interface Pairing {
  /** Lets a connection in or says why not. Rejects only with what the store rejects with. */
  authenticate(ask: AdmissionAsk): Promise<AdmissionVerdict>;
  /** @throws ProtocolError UNKNOWN_REQUEST, or MISSING_SCOPE when the approver lacks what it would grant. */
  approve(requestId: string, approver: Principal): Promise<DeviceRecord>;
  /** @throws ProtocolError UNKNOWN_REQUEST */
  reject(requestId: string, rejecter: Principal): Promise<{ readonly deviceId: string }>;
  list(): Promise<{ readonly pending: readonly PairingRecord[]; readonly paired: readonly DeviceRecord[] }>;
}

export interface PairingDeps {
  readonly store: DeviceStore;
  readonly credentials: Credentials;
  readonly authMode: AuthMode;
  readonly attempts: Attempts;
  readonly clock: Clock;
  readonly log: Log;
  readonly bus: Bus;
  readonly autoApproveLocal: boolean;
}

/** Times an admission is decided afresh because the device's row changed meanwhile. */
const maxRounds = 4;

export function createPairing(deps: PairingDeps): Pairing {
  const { store, clock } = deps;
  return {
    async authenticate(ask) {
      const { device, client, auth, scopes } = ask.connect;
      const { directLoopback, hasOrigin, proxy } = ask.peer;
      const secret = deps.credentials.checkSecret(auth);
      const access = judgeSharedAccess(deps.authMode, { directLoopback, hasOrigin, proxy, secret });
      if (access.kind === "not-proxied") return refusal(proxyRefused(access.refusal));
      if (device === undefined) return authenticateDeviceless(deps, ask, access);
      const signedToken = auth?.token ?? auth?.deviceToken ?? auth?.bootstrapToken ?? "";
      const proof = verifyDeviceProof(
        { device, client, role: ask.role, scopes: scopes ?? [], signedToken },
        { nonce: ask.nonce, nowMs: clock.now() },
      );
      return proof.kind === "refused" ? refusal(proofRefused(proof)) : authenticateDevice(deps, { ...ask, access }, proof);
    },
    async approve(requestId, approver) {
      const outcome = await store.approve(requestId, { id: approver.id, scopes: approver.scopes }, clock.now());
      if (outcome.kind === "unknown") throw unknownRequest(requestId);
      if (outcome.kind === "exceeds-approver") throw missingScope(outcome.scope);
      resolved(deps, { requestId, deviceId: outcome.device.deviceId, decision: "approved", by: approver.id });
      return outcome.device;
    },
    async reject(requestId, rejecter) {
      const outcome = await store.reject(requestId, { id: rejecter.id }, clock.now());
      if (outcome.kind === "unknown") throw unknownRequest(requestId);
      resolved(deps, { requestId, deviceId: outcome.deviceId, decision: "rejected", by: rejecter.id });
      return { deviceId: outcome.deviceId };
    },
    list: () => store.list(clock.now()),
  };
}

type Access = Extract<SharedAccess, { kind: "judged" }>;

async function authenticateDeviceless(deps: PairingDeps, ask: AdmissionAsk, access: Access): Promise<AdmissionVerdict> {
  const { method, match: secret } = access;
  const settled = await settle(deps, { ...ask, access }, { secret, token: "absent" });
  if (settled.kind === "locked") return refusal(rateLimited(settled.retryAfterMs));
  const decision = decide({ subject: "no-device", ask: toAsk(ask), peer: ask.peer, method, secret: settled.secret });
  if (decision.kind === "refuse" && decision.code !== "DEVICE_IDENTITY_REQUIRED") return refusal(refused(decision.code));
  if (isPersonalUi(ask.connect)) return refusal(uiDeviceRequired());
  if (decision.kind !== "admit") return refusal(refused("DEVICE_IDENTITY_REQUIRED"));
  return {
    kind: "admitted",
    admission: { principal: secretPrincipal(decision.scopes), method: decision.method, role: ask.role, grant: undefined },
  };
}

/** A device's ask, with what came beside its own token. */
interface DeviceAsk extends AdmissionAsk {
  readonly access: Access;
}

async function authenticateDevice(deps: PairingDeps, ask: DeviceAsk, device: ProvedDevice): Promise<AdmissionVerdict> {
  let mayBeSilent = deps.autoApproveLocal;
  let settled: AttemptVerdict | undefined;
  for (let round = 0; round < maxRounds; round += 1) {
    const state = await deps.store.find(device.deviceId, device.publicKey);
    const matches = match(deps, ask, device, state);
    // Once a connection. The token of a damaged record cannot be judged, so nothing of it is an attempt.
    settled ??= isCorrupt(state, device) ? { kind: "open", secret: matches.secret } : await settle(deps, ask, matches);
    if (settled.kind === "locked") return refusal(rateLimited(settled.retryAfterMs));
    const decision = judge(deps, ask, device, state, { ...matches, secret: settled.secret, mayBeSilent });
    if (decision.kind === "refuse") return refusal(refuse(deps, decision.code, device));
    if (decision.kind === "admit" && state.kind === "paired") {
      background(deps.log, "mark device seen", deps.store.markSeen(device.deviceId, deps.clock.now()));
      return admit(deps, ask, state.device, decision);
    }
    if (decision.kind === "approve-silently") {
      const record = await approveSilently(deps, toPairingAsk(ask, device, state, "not-paired"));
      if (record !== undefined) return admit(deps, ask, record, { method: ask.access.method, scopes: decision.scopes });
      // Paired, refused or waiting by the time of the write: whatever it is, it is not new any more.
      mayBeSilent = false;
    }
    if (decision.kind === "pend") {
      const verdict = await requestPairing(deps, ask, device, state, { reason: decision.reason, secret: settled.secret });
      if (verdict !== undefined) return verdict;
    }
  }
  return refusal(new ProtocolError("STORE_UNAVAILABLE", "the device's record keeps changing", { remedy: "Connect again." }));
}

interface ProvedDevice {
  readonly deviceId: string;
  readonly publicKey: string;
}

/** What the offered credentials are. */
interface Matches {
  readonly secret: Match;
  readonly token: Match;
}

async function settle(deps: PairingDeps, ask: DeviceAsk, matches: Matches): Promise<AttemptVerdict> {
  const { peer, connect, signal, access } = ask;
  // Without a secret there is nothing to guess.
  if (access.method === "none" || access.method === "trusted-proxy") return { kind: "open", secret: access.match };
  return await deps.attempts.settle(peer, { auth: connect.auth, ...matches }, signal ?? new AbortController().signal);
}

function match(deps: PairingDeps, ask: DeviceAsk, device: ProvedDevice, state: DeviceState): Matches {
  const { auth } = ask.connect;
  const grant = findGrant(state, ask.role);
  const absent = auth?.deviceToken || auth?.token ? "wrong" : "absent";
  const token =
    grant === undefined || isCorrupt(state, device)
      ? absent
      : deps.credentials.checkDeviceToken(auth, { deviceId: device.deviceId, role: grant.role, generation: grant.generation });
  return { secret: ask.access.match, token };
}

function judge(
  deps: PairingDeps,
  ask: DeviceAsk,
  device: ProvedDevice,
  state: DeviceState,
  { secret, token, mayBeSilent }: Matches & { readonly mayBeSilent: boolean },
): Decision {
  const { auth, client } = ask.connect;
  const ceiling = findGrant(state, ask.role)?.scopes;
  return decide({
    subject: "device",
    ask: toAsk(ask),
    peer: ask.peer,
    method: ask.access.method,
    secret,
    token,
    offersDeviceToken: Boolean(auth?.deviceToken),
    standing: toStanding(state, { device, client, ceiling, nowMs: deps.clock.now() }),
    autoApproveLocal: mayBeSilent,
  });
}

function findGrant(state: DeviceState, role: string): Grant | undefined {
  if (state.kind !== "paired") return undefined;
  return state.device.grants.find((candidate) => candidate.role === role && candidate.revokedAtMs === undefined);
}

/** The id is the hash of the key: another key under it can only be a damaged row. */
function isCorrupt(state: DeviceState, device: ProvedDevice): boolean {
  return state.kind === "corrupt" || (state.kind === "paired" && state.device.publicKey !== device.publicKey);
}

function toStanding(
  state: DeviceState,
  {
    device,
    client,
    ceiling,
    nowMs,
  }: { device: ProvedDevice; client: ConnectParams["client"]; ceiling: readonly string[] | undefined; nowMs: number },
): Standing {
  if (state.kind === "corrupt" || isCorrupt(state, device)) return { kind: "corrupt" };
  if (state.kind === "unknown")
    return { kind: "unknown", refused: state.refused, hasPending: state.pending !== undefined && state.pending.expiresAtMs > nowMs };
  return {
    kind: "paired",
    ceiling,
    metadataChanged: isMetadataChanged(state.device, { platform: client.platform, deviceFamily: client.deviceFamily }),
  };
}

async function approveSilently(deps: PairingDeps, ask: PairingAsk): Promise<DeviceRecord | undefined> {
  const outcome = await deps.store.approveSilently(ask, deps.clock.now());
  if (outcome.kind === "not-new") return undefined;
  const { deviceId, clientId, role, scopes } = ask;
  deps.log.info({ deviceId, client: clientId, role, scopes }, "new local device paired silently");
  deps.bus.publish("device.pair.resolved", { requestId: `silent:${deviceId}`, deviceId, decision: "approved", ts: deps.clock.now() });
  return outcome.device;
}

/** Records the request and refuses; undefined when an approval came in between, so that the device is judged again. */
async function requestPairing(
  deps: PairingDeps,
  ask: DeviceAsk,
  device: ProvedDevice,
  state: DeviceState,
  { reason, secret }: { readonly reason: PairingReason; readonly secret: Match },
): Promise<AdmissionVerdict | undefined> {
  const outcome = await deps.store.requestPairing(toPairingAsk(ask, device, state, reason), deps.clock.now());
  const current = await deps.store.find(device.deviceId, device.publicKey);
  const isApproved =
    judge(deps, ask, device, current, { ...match(deps, ask, device, current), secret, mayBeSilent: false }).kind === "admit";
  if (isApproved) return undefined;
  const grants = state.kind === "paired" ? state.device.grants : [];
  const request = outcome.kind === "pending" ? outcome.request : undefined;
  if (outcome.kind === "pending" && outcome.created) announce(deps, outcome.request, outcome.superseded, grants);
  return refusal(pairingRequired({ reason, request, deviceId: device.deviceId, ask: toAsk(ask), grants }));
}

function announce(
  deps: PairingDeps,
  request: PairingRecord,
  superseded: string | undefined,
  grants: readonly { readonly role: string; readonly scopes: readonly string[] }[],
): void {
  const { requestId, deviceId, reason, clientId, role, scopes } = request;
  const scopesFrom = grants.find((grant) => grant.role === role)?.scopes ?? [];
  deps.log.warn(
    { reason, client: clientId, scopesFrom, scopesTo: scopes, requestId, deviceId, role },
    "pairing request waits for an approval",
  );
  const ts = deps.clock.now();
  if (superseded !== undefined) deps.bus.publish("device.pair.resolved", { requestId: superseded, deviceId, decision: "rejected", ts });
  deps.bus.publish("device.pair.requested", toPairingRequest(request));
}

function refuse(deps: PairingDeps, code: Extract<Decision, { kind: "refuse" }>["code"], device: ProvedDevice): ProtocolError {
  if (code === "DEVICE_RECORD_CORRUPT")
    deps.log.error({ deviceId: device.deviceId }, "the stored record of a device cannot be read; it is refused");
  return refused(code, device);
}

function admit(
  deps: PairingDeps,
  ask: AdmissionAsk,
  record: DeviceRecord,
  decision: Pick<Extract<Decision, { kind: "admit" }>, "method" | "scopes">,
): AdmissionVerdict {
  const { deviceId } = record;
  const grant = record.grants.find((candidate) => candidate.role === ask.role && candidate.revokedAtMs === undefined);
  return {
    kind: "admitted",
    admission: {
      principal: devicePrincipal({ deviceId, role: ask.role, scopes: decision.scopes }),
      method: decision.method,
      role: ask.role,
      grant:
        // A token would outlive the proxy's word.
        grant === undefined || decision.method === "trusted-proxy"
          ? undefined
          : {
              token: deps.credentials.deviceToken({ deviceId, role: grant.role, generation: grant.generation }),
              scopes: grant.scopes,
              issuedAtMs: grant.rotatedAtMs ?? grant.createdAtMs,
            },
    },
  };
}

function toAsk({ connect, role }: AdmissionAsk): Ask {
  return { role, scopes: connect.scopes ?? [] };
}

function toPairingAsk(ask: AdmissionAsk, device: ProvedDevice, state: DeviceState, reason: PairingReason): PairingAsk {
  const { client, scopes } = ask.connect;
  return {
    deviceId: device.deviceId,
    publicKey: device.publicKey,
    displayName: client.displayName,
    platform: client.platform,
    deviceFamily: client.deviceFamily,
    clientId: client.id,
    clientMode: client.mode,
    remoteIp: ask.peer.directLoopback ? undefined : ask.peer.address,
    role: ask.role,
    scopes: scopes ?? [],
    reason,
    isRepair: state.kind === "paired",
  };
}

/** Clients that keep a person's session: without a device they are refused more clearly. Their id narrows and never grants. */
function isPersonalUi({ client }: ConnectParams): boolean {
  return client.id === "openclaw-control-ui" || client.id === "openclaw-tui";
}

function resolved(
  deps: PairingDeps,
  facts: { readonly requestId: string; readonly deviceId: string; readonly decision: "approved" | "rejected"; readonly by: string },
): void {
  const { requestId, deviceId, decision } = facts;
  deps.log.info(facts, "pairing request decided");
  deps.bus.publish("device.pair.resolved", { requestId, deviceId, decision, ts: deps.clock.now() });
}

function unknownRequest(requestId: string): ProtocolError {
  return new ProtocolError("UNKNOWN_REQUEST", "unknown requestId", {
    details: { requestId },
    remedy: "List what waits with: ./portreeve devices list",
  });
}

function missingScope(scope: string): ProtocolError {
  return new ProtocolError("MISSING_SCOPE", `missing scope: ${scope}`, {
    details: { missingScope: scope, requiredScopes: [scope] },
    remedy: "Approve with a device or the local secret that holds this scope itself.",
  });
}

function refusal(error: ProtocolError): AdmissionVerdict {
  return { kind: "refused", error };
}
