/**
 * Setup codes: issued by an operator for a role and scopes, presented once by one key, which is then paired for exactly that.
 * A code commits to the first key that presents it, and holds nothing that works a second time.
 */
import { createHash, randomBytes } from "node:crypto";
import { formatSetupCode, limits, ProtocolError, type ConnectParams, type EventPayload, type SetupAccess } from "@portreeve/protocol";
import type { Bus } from "../bus.ts";
import type { Clock } from "../kit/clock.ts";
import { background, type Log } from "../kit/log.ts";
import { attenuateScopes, type Principal } from "../principal/principal.ts";
import type { SetupCodeStore, SetupOutcome, SetupStatus } from "../store/setup-codes.ts";
import type { Attempts } from "./attempts.ts";
import type { Credentials } from "./credentials.ts";
import { actionDenied, missingScope, toActor } from "./device-management.ts";
import { verifyDeviceProof } from "./device-proof.ts";
import { admit, type AdmissionAsk, type AdmissionVerdict, type Delivery, type Pairing } from "./pairing.ts";
import { proofRefused, rateLimited, refused, setupCodeRefused } from "./refusals.ts";

/** What a code grants when nothing is said: everything an operator's client needs but administration and pairing. */
export const defaultSetupScopes: readonly string[] = [
  "operator.approvals",
  "operator.questions",
  "operator.read",
  "operator.talk.secrets",
  "operator.write",
];

export interface SetupAsk {
  readonly role: "operator" | "node";
  /** Undefined: the default of the role. */
  readonly scopes: readonly string[] | undefined;
  readonly minutes: number | undefined;
  /** Where the device reaches this gateway, ws:// or wss://. */
  readonly url: string;
}

export interface IssuedSetup {
  readonly setupId: string;
  /** For the one who invites; it is stored nowhere. */
  readonly setupCode: string;
  readonly expiresAtMs: number;
  readonly role: "operator" | "node";
  readonly scopes: readonly string[];
  readonly access: SetupAccess;
}

export interface SetupCodes {
  /**
   * For what of the scopes the issuer holds for good.
   * @throws ProtocolError INVALID_PARAMS for a node with scopes; MISSING_SCOPE for one whose issuer has admin for a time.
   */
  issue(ask: SetupAsk, issuer: Principal): Promise<IssuedSetup>;
  /** Lets a device in that presents a code, or says why not. */
  authenticate(ask: AdmissionAsk): Promise<AdmissionVerdict>;
  /** `isUncertain`: the device may not know that it was paired. */
  status(setupId: string): Promise<Exclude<SetupStatus, Completed> | (Completed & { readonly isUncertain: boolean })>;
}

type Completed = Extract<SetupStatus, { state: "completed" }>;

export interface SetupCodeDeps {
  readonly store: SetupCodeStore;
  readonly credentials: Credentials;
  readonly attempts: Attempts;
  readonly clock: Clock;
  /** What devices sign by; absent: the same. */
  readonly signingClock?: Pick<Clock, "now">;
  readonly log: Log;
  readonly bus: Bus;
}

export function createSetupCodes(deps: SetupCodeDeps): SetupCodes {
  const { store, clock } = deps;
  const awaited = new Set<string>();
  return {
    async issue(ask, issuer) {
      const { role } = ask;
      if (role === "node" && (ask.scopes?.length ?? 0) > 0)
        throw new ProtocolError("INVALID_PARAMS", "a node has no scopes", { remedy: "Leave the scopes out, or invite an operator." });
      const asked = role === "node" ? [] : attenuateScopes(issuer, ask.scopes ?? defaultSetupScopes);
      const setupId = `setup_${randomBytes(12).toString("hex")}`;
      const bootstrapToken = randomBytes(32).toString("base64url");
      const expiresAtMs = clock.now() + Math.min((ask.minutes ?? Infinity) * 60_000, limits.setupCodeTtlMs);
      const code = { setupId, tokenHash: hash(bootstrapToken), role, scopes: asked, expiresAtMs };
      const outcome = await store.issue(code, toActor(issuer), clock.now());
      if (outcome.kind === "exceeds-issuer") throw missingScope(outcome.scope);
      if (outcome.kind === "denied") throw actionDenied("setup code denied");
      deps.bus.publish("expiry-set", undefined);
      const { scopes, access } = outcome;
      return { setupId, expiresAtMs, role, scopes, access, setupCode: formatSetupCode({ url: ask.url, bootstrapToken, expiresAtMs }) };
    },
    authenticate: (ask) => authenticate({ ...deps, awaited }, ask),
    async status(setupId) {
      const status = await store.status(setupId, clock.now());
      return status.state === "completed" ? { ...status, isUncertain: !status.isHeard && !awaited.has(setupId) } : status;
    },
  };
}

/** Pairing in which a connection may present a setup code. Beside any other credential a code is neither looked at nor used up. */
export function withSetupCodes(pairing: Pairing, codes: Pick<SetupCodes, "authenticate">): Pairing {
  return {
    ...pairing,
    authenticate: (ask) =>
      ask.connect.device !== undefined && offersOnlyCode(ask.connect.auth) ? codes.authenticate(ask) : pairing.authenticate(ask),
  };
}

function offersOnlyCode(auth: ConnectParams["auth"]): boolean {
  return Boolean(auth?.bootstrapToken) && !auth?.token && !auth?.deviceToken && !auth?.password;
}

interface Deps extends SetupCodeDeps {
  /** Codes whose device may yet be heard on the connection that it was paired by. */
  readonly awaited: Set<string>;
}

async function authenticate(deps: Deps, ask: AdmissionAsk): Promise<AdmissionVerdict> {
  const { device, client, auth, scopes = [] } = ask.connect;
  const signedToken = auth?.bootstrapToken ?? "";
  if (device === undefined) return { kind: "refused", error: refused("DEVICE_IDENTITY_REQUIRED") };
  const proof = verifyDeviceProof(
    { device, client, role: ask.role, scopes, signedToken },
    { nonce: ask.nonce, nowMs: (deps.signingClock ?? deps.clock).now() },
  );
  if (proof.kind === "refused") return { kind: "refused", error: proofRefused(proof) };

  const tokenHash = hash(signedToken);
  const isGood = await deps.store.isGood({ tokenHash, publicKey: proof.publicKey }, deps.clock.now());
  const offer = { auth, secret: "absent", token: "absent", code: isGood ? "right" : "wrong" } as const;
  const settled = await deps.attempts.settle(ask.peer, offer, ask.signal ?? new AbortController().signal);
  if (settled.kind === "locked") return { kind: "refused", error: rateLimited(settled.retryAfterMs) };

  const facts = {
    deviceId: proof.deviceId,
    publicKey: proof.publicKey,
    displayName: client.displayName,
    platform: client.platform,
    deviceFamily: client.deviceFamily,
    clientId: client.id,
    clientMode: client.mode,
    remoteIp: ask.peer.directLoopback ? undefined : ask.peer.address,
  };
  const outcome = await deps.store.redeem({ tokenHash, device: facts, role: ask.role, scopes }, deps.clock.now());
  if (outcome.kind === "approved") {
    const completion = toCompletion(outcome);
    announce(deps, outcome, completion);
    const verdict = admit(deps, ask, outcome.device, { method: "bootstrap-token", scopes });
    if (verdict.kind !== "admitted") return verdict;
    return { ...verdict, admission: { ...verdict.admission, delivery: awaitDelivery(deps, completion) } };
  }
  if (outcome.kind === "corrupt") return { kind: "refused", error: refused("DEVICE_RECORD_CORRUPT", proof) };
  // Which of them it was is the owner's to know: told outside it would help whoever tries codes.
  const level = outcome.why === "unknown" ? "debug" : "warn";
  deps.log[level]({ why: outcome.why, deviceId: proof.deviceId, peer: ask.peer.address }, "a setup code was refused");
  background(deps.log, "count refused setup code", deps.store.countRefusal());
  return { kind: "refused", error: setupCodeRefused() };
}

type Approved = Extract<SetupOutcome, { kind: "approved" }>;

function toCompletion({ completion: { deviceName, ...facts } }: Approved): EventPayload<"device.pair.setup.completed"> {
  return { ...facts, ...(deviceName === undefined ? {} : { deviceName }) };
}

function announce(deps: SetupCodeDeps, { device, issuedBy }: Approved, completion: ReturnType<typeof toCompletion>): void {
  const { setupId, deviceId, ts } = completion;
  const scopes = device.grants.flatMap((grant) => (grant.revokedAtMs === undefined ? grant.scopes : []));
  deps.log.info({ setupId, deviceId, client: device.clientId, scopes, issuedBy }, "device paired with a setup code");
  deps.bus.publish("device.pair.setup.completed", completion);
  // What clients of version 3 listen to.
  deps.bus.publish("device.pair.resolved", { requestId: setupId, deviceId, decision: "approved", ts });
}

/** In doubt until it is heard, also for a process that comes after this one. */
function awaitDelivery(deps: Deps, completion: ReturnType<typeof toCompletion>): Delivery {
  const { setupId, deviceId } = completion;
  deps.awaited.add(setupId);
  const settle = (): boolean => deps.awaited.delete(setupId);
  return {
    heard: () => background(deps.log, "note a delivered pairing", deps.store.markHeard(setupId, deps.clock.now()).finally(settle)),
    lost: () => {
      settle();
      deps.log.warn({ setupId, deviceId }, "a device that was just paired may not know it");
      deps.bus.publish("device.pair.setup.deliveryUncertain", completion);
    },
  };
}

function hash(token: string): string {
  return createHash("sha256").update(token).digest("hex");
}
