/**
 * Pairing: pending → approved | rejected | expired; approved → revoked. The policy is `grant.ts`, every step is one atomic
 * sentence of the store; this carries the facts between them and tells whoever listens.
 */
import { authenticationWords, ProtocolError, type ConnectParams } from "@portreeve/protocol";
import type { Bus } from "../bus.ts";
import type { Clock } from "../kit/clock.ts";
import { background, type Log } from "../kit/log.ts";
import type { ProxyIdentity } from "../kit/proxy-identity.ts";
import type { Secret } from "../kit/secret.ts";
import { devicePrincipal, secretPrincipal, type DevicePrincipal, type Principal, type SecretPrincipal } from "../principal/principal.ts";
import { liveGrant, timeLeftMs, tokenCeilingOf } from "../store/grants.ts";
import type { DeviceRecord, DeviceState, DeviceStore, PairingAsk, PairingReason, PairingRecord } from "../store/device-store.ts";
import type { Attempts, AttemptVerdict } from "./attempts.ts";
import type { Credentials, Match } from "./credentials.ts";
import { actionDenied, missingScope, roleForATime, toActor, unknownRequest } from "./device-management.ts";
import { verifyDeviceProof } from "./device-proof.ts";
import { toPairingRequest } from "./device-view.ts";
import { decide, type Ask, type Decision } from "./grant.ts";
import type { NodePairing } from "./node-pairing.ts";
import { pairingRejected, pairingRequired, proofRefused, proxyRefused, rateLimited, refused, uiDeviceRequired } from "./refusals.ts";
import { judgeSharedAccess, type AuthMode, type SharedAccess, type SharedMethod } from "./shared-access.ts";
import { findGrant, isCorrupt, toStanding } from "./standing.ts";

/** A connection that asks to be let in. */
export interface AdmissionAsk {
  readonly connect: ConnectParams;
  readonly role: "operator" | "node";
  /** Of this connection's challenge. */
  readonly nonce: string;
  /** Of the same challenge: what a person compares is derived from both. Absent: nothing is shown to compare. */
  readonly gatewayKey?: string;
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
  readonly method: SharedMethod | "device-token" | "bootstrap-token";
  readonly role: "operator" | "node";
  /** Undefined without a device. `scopes`: all that the device is approved for in this role. */
  readonly grant: { readonly token: Secret; readonly scopes: readonly string[]; readonly issuedAtMs: number } | undefined;
  /** How long the authority lasts because some of it was granted for a time; undefined: it lasts. */
  readonly endsInMs: number | undefined;
  /** To be told, once, whether the device heard that it was let in; absent: it can simply come again. */
  readonly delivery?: Delivery;
}

export interface Delivery {
  readonly heard: () => void;
  /** The connection broke first: the device may know or not. */
  readonly lost: () => void;
}

export type AdmissionVerdict =
  | { readonly kind: "admitted"; readonly admission: Admission }
  | { readonly kind: "refused"; readonly error: ProtocolError };

export interface Pairing {
  /** Lets a connection in or says why not. Rejects only with what the store rejects with. */
  authenticate(ask: AdmissionAsk): Promise<AdmissionVerdict>;
  /**
   * With `minutes`, what is granted beyond what the device had ends then.
   * @throws ProtocolError UNKNOWN_REQUEST, DEVICE_ACTION_DENIED, or MISSING_SCOPE when the approver lacks what it would grant.
   */
  approve(requestId: string, approver: Principal, minutes?: number): Promise<DeviceRecord>;
  /** @throws ProtocolError UNKNOWN_REQUEST, DEVICE_ACTION_DENIED */
  reject(requestId: string, rejecter: Principal): Promise<{ readonly deviceId: string }>;
  /** What `viewer` may see: everything, or its own device alone. */
  list(viewer: Principal): Promise<{ readonly pending: readonly PairingRecord[]; readonly paired: readonly DeviceRecord[] }>;
}

export interface PairingDeps {
  readonly store: DeviceStore;
  readonly credentials: Credentials;
  readonly authMode: AuthMode;
  readonly attempts: Attempts;
  /** Ends what is granted. */
  readonly clock: Clock;
  /** What devices sign by; absent: the same. */
  readonly signingClock?: Pick<Clock, "now">;
  readonly log: Log;
  readonly bus: Bus;
  readonly autoApproveLocal: boolean;
  /** Hears what a node that is let in says it can do; absent: nobody does. */
  readonly nodes?: Pick<NodePairing, "declare">;
}

/** Times an admission is decided afresh because the device's row changed meanwhile. */
const maxRounds = 4;
const seenEveryMs = 60_000;

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
        { nonce: ask.nonce, nowMs: (deps.signingClock ?? clock).now() },
      );
      if (proof.kind === "refused") return refusal(proofRefused(proof));
      const verdict = await authenticateDevice(deps, { ...ask, access }, proof);
      if (verdict.kind === "admitted" && ask.role === "node") await deps.nodes?.declare(proof.deviceId, ask.connect);
      return verdict;
    },
    async approve(requestId, approver, minutes) {
      const nowMs = clock.now();
      const untilMs = minutes === undefined ? undefined : nowMs + minutes * 60_000;
      const outcome = await store.approve(requestId, toActor(approver), nowMs, untilMs);
      if (outcome.kind === "approved") {
        resolved(deps, { requestId, deviceId: outcome.device.deviceId, decision: "approved", by: approver.id });
        if (untilMs !== undefined) deps.bus.publish("device.pair.changed", {});
        return outcome.device;
      }
      if (outcome.kind === "unknown") throw unknownRequest(requestId);
      if (outcome.kind === "exceeds-approver") throw missingScope(outcome.scope);
      if (outcome.kind === "role-for-a-time") throw roleForATime(outcome.role);
      throw actionDenied("device pairing approval denied");
    },
    async reject(requestId, rejecter) {
      const outcome = await store.reject(requestId, toActor(rejecter), clock.now());
      if (outcome.kind === "unknown") throw unknownRequest(requestId);
      if (outcome.kind === "denied") throw actionDenied("device pairing rejection denied");
      resolved(deps, { requestId, deviceId: outcome.deviceId, decision: "rejected", by: rejecter.id });
      return { deviceId: outcome.deviceId };
    },
    async list(viewer) {
      const { pending, paired } = await store.list(clock.now());
      const { ownDeviceOnly, deviceId } = toActor(viewer);
      const isSeen = (row: { readonly deviceId: string }): boolean => !ownDeviceOnly || row.deviceId === deviceId;
      return { pending: pending.filter(isSeen), paired: paired.filter(isSeen) };
    },
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
    admission: {
      principal: secretPrincipal(decision.scopes),
      method: decision.method,
      role: ask.role,
      grant: undefined,
      endsInMs: undefined,
    },
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
      markSeen(deps, state.device);
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

/** To the minute: a write for every connect would make each wait for the disk. */
function markSeen(deps: PairingDeps, { deviceId, lastSeenAtMs }: DeviceRecord): void {
  const nowMs = deps.clock.now();
  if (lastSeenAtMs !== undefined && Math.abs(nowMs - lastSeenAtMs) < seenEveryMs) return;
  background(deps.log, "mark device seen", deps.store.markSeen(deviceId, nowMs));
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
  const grant = findGrant(state, ask.role);
  return decide({
    subject: "device",
    ask: toAsk(ask),
    peer: ask.peer,
    method: ask.access.method,
    secret,
    token,
    offersDeviceToken: Boolean(auth?.deviceToken),
    standing: toStanding(state, { device, client, grant, nowMs: deps.clock.now() }),
    autoApproveLocal: mayBeSilent,
  });
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
  const words = await wordsOf(ask, device);
  const sawRequestId = state.kind === "corrupt" ? undefined : state.pending?.requestId;
  const asked = { ...toPairingAsk(ask, device, state, reason), words };
  const outcome = await deps.store.requestPairing(asked, deps.clock.now(), sawRequestId);
  if (outcome.kind === "covered") return undefined;
  const current = await deps.store.find(device.deviceId, device.publicKey);
  const isApproved =
    judge(deps, ask, device, current, { ...match(deps, ask, device, current), secret, mayBeSilent: false }).kind === "admit";
  if (isApproved) return undefined;
  const grants = state.kind === "paired" ? state.device.grants : [];
  if (outcome.kind === "rejected")
    return refusal(pairingRejected({ reason, request: undefined, deviceId: device.deviceId, ask: toAsk(ask), grants }));
  const request = outcome.kind === "pending" ? outcome.request : undefined;
  if (outcome.kind === "pending" && outcome.created) announceRequest(deps, outcome.request, outcome.superseded, grants);
  return refusal(pairingRequired({ reason, request, deviceId: device.deviceId, ask: toAsk(ask), grants }));
}

/** The one log line and the events of a new request. `superseded`: the request it replaces. */
export function announceRequest(
  deps: Pick<PairingDeps, "log" | "bus" | "clock">,
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

/** The admission of a paired device that asks for no more than it is approved for. */
export function admit(
  deps: Pick<PairingDeps, "credentials" | "clock">,
  ask: AdmissionAsk,
  record: DeviceRecord,
  decision: { readonly method: Admission["method"]; readonly scopes: readonly string[] },
): AdmissionVerdict {
  const { deviceId } = record;
  const nowMs = deps.clock.now();
  const grant = liveGrant(record, ask.role);
  const viaDeviceToken = decision.method === "device-token";
  return {
    kind: "admitted",
    admission: {
      principal: devicePrincipal({ deviceId, role: ask.role, scopes: decision.scopes, viaDeviceToken }),
      method: decision.method,
      role: ask.role,
      grant:
        // A token would outlive the proxy's word.
        grant === undefined || decision.method === "trusted-proxy"
          ? undefined
          : {
              token: deps.credentials.deviceToken({ deviceId, role: grant.role, generation: grant.generation }),
              scopes: tokenCeilingOf(grant, nowMs),
              issuedAtMs: grant.rotatedAtMs ?? grant.createdAtMs,
            },
      endsInMs: grant && timeLeftMs(grant, decision.scopes, nowMs),
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

/** What this device shows too, when its connect came here as it left. */
async function wordsOf({ connect, nonce, gatewayKey }: AdmissionAsk, { publicKey }: ProvedDevice): Promise<string | undefined> {
  const signature = connect.device?.signature;
  if (gatewayKey === undefined || signature === undefined) return undefined;
  return authenticationWords({ gatewayKey, deviceKey: publicKey, nonce, signature });
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

function refusal(error: ProtocolError): AdmissionVerdict {
  return { kind: "refused", error };
}
