/**
 * Bearers: what a request of HTTP proves itself with. It is the shared secret, which counts as on a socket, or the token of
 * a device that was issued as a bearer. The token of a device with a key is none: that device signs, and so over a socket.
 */
import { createHash, generateKeyPairSync } from "node:crypto";
import { coversAll, limits, normaliseScopes, ProtocolError } from "@portreeve/protocol";
import type { Bus } from "../bus.ts";
import type { Clock } from "../kit/clock.ts";
import { background, type Log } from "../kit/log.ts";
import {
  attenuateScopes,
  devicePrincipal,
  secretPrincipal,
  type DevicePrincipal,
  type Principal,
  type SecretPrincipal,
} from "../principal/principal.ts";
import type { BearerStore } from "../store/bearer-store.ts";
import { liveGrant, timeLeftMs, tokenCeilingOf } from "../store/grants.ts";
import type { DeviceStore } from "../store/device-store.ts";
import { ruleFor, type Attempts } from "./attempts.ts";
import type { Credentials, DeviceTokenSubject, Match } from "./credentials.ts";
import { actionDenied, missingScope, toActor } from "./device-management.ts";
import { decide } from "./grant.ts";
import type { AdmissionAsk } from "./pairing.ts";
import { proxyRefused, rateLimited } from "./refusals.ts";
import { judgeSharedAccess, type AuthMode, type SharedAccess } from "./shared-access.ts";

export interface BearerAsk {
  /** Of the header `Authorization`. */
  readonly authorization: string | undefined;
  readonly peer: AdmissionAsk["peer"] & { readonly isConfidential: boolean };
  /** What whoever holds the shared secret asks for: a bearer of it names no scopes itself. */
  readonly scopes: readonly string[];
  readonly signal: AbortSignal;
  /** Hears on whose authority the request stands, before the last look at it: what ends that authority ends the request. */
  readonly onClaim: (claim: BearerClaim) => void;
}

export type BearerClaim = { readonly kind: "secret" } | { readonly kind: "device"; readonly deviceId: string };

export type BearerVerdict =
  /** `endsInMs`: when some of its scopes end; undefined: they last. */
  | { readonly kind: "admitted"; readonly principal: DevicePrincipal | SecretPrincipal; readonly endsInMs: number | undefined }
  | { readonly kind: "unauthorized"; readonly error?: ProtocolError }
  | { readonly kind: "locked"; readonly error: ProtocolError }
  /** The token could be read on the way, so it is not even looked at. */
  | { readonly kind: "plaintext" }
  | { readonly kind: "busy" };

export interface IssuedBearer {
  readonly deviceId: string;
  readonly label: string;
  readonly scopes: readonly string[];
  readonly token: string;
  readonly expiresAtMs: number | undefined;
}

export interface Bearers {
  /** Who the request's bearer makes it, read afresh. Rejects only with what the store rejects with. */
  authenticate(ask: BearerAsk): Promise<BearerVerdict>;
  /** @throws ProtocolError MISSING_SCOPE, INVALID_PARAMS for a name that is taken, DEVICE_ACTION_DENIED */
  issue(
    ask: { readonly label: string; readonly scopes: readonly string[]; readonly minutes: number | undefined },
    issuer: Principal,
  ): Promise<IssuedBearer>;
}

export interface BearerDeps {
  readonly bearers: BearerStore;
  readonly devices: Pick<DeviceStore, "find" | "markSeen">;
  readonly credentials: Credentials;
  readonly attempts: Attempts;
  readonly authMode: AuthMode;
  readonly clock: Clock;
  readonly log: Log;
  readonly bus: Bus;
}

const seenEveryMs = 60_000;

export function createBearers(deps: BearerDeps): Bearers {
  /** Wrong attempts that are being judged, or held back, by who makes them. */
  const waiting = new Map<string, number>();
  return {
    authenticate: (ask) => authenticate(deps, waiting, ask),
    issue: (ask, issuer) => issue(deps, ask, issuer),
  };
}

async function authenticate(deps: BearerDeps, waiting: Map<string, number>, ask: BearerAsk): Promise<BearerVerdict> {
  const { peer } = ask;
  const token = readBearer(ask.authorization);
  const secret = deps.credentials.checkSecret(token === undefined ? undefined : { token });
  // Before the first wait: from here on a change of the secret matters to this request.
  if (secret === "right") ask.onClaim({ kind: "secret" });
  const access = judgeSharedAccess(deps.authMode, { ...peer, proxy: peer.proxy, secret });
  if (access.kind === "not-proxied") return { kind: "unauthorized", error: proxyRefused(access.refusal) };
  if (token === undefined) return access.match === "right" ? admitWithoutDevice(ask, access, "right") : { kind: "unauthorized" };

  const mayBeDevice = peer.isConfidential && secret !== "right" && /^[\w-]{43}$/.test(token);
  const subject = mayBeDevice ? await findSubject(deps, token) : undefined;
  if (subject === undefined) return judgeSecret(deps, waiting, ask, { token, access });
  // It passes its peer's lock, and waits for no write: whatever was guessed from the same address is still counted.
  return admitBearer(deps, ask, token, subject);
}

interface Offered {
  readonly token: string;
  readonly access: Extract<SharedAccess, { kind: "judged" }>;
}

/** The bearer is no device's token: it is the shared secret or a guess, and counts as either does on a socket. */
async function judgeSecret(deps: BearerDeps, waiting: Map<string, number>, ask: BearerAsk, offered: Offered): Promise<BearerVerdict> {
  const wrong: BearerVerdict = { kind: ask.peer.isConfidential ? "unauthorized" : "plaintext" };
  // Where no secret is asked for there is none to guess; and what is presented must be right all the same.
  if (!isSecret(offered.access)) return wrong;
  const { token, access } = offered;
  const { key } = ruleFor(ask.peer);
  // Right or wrong: otherwise a crowd of guesses would show by this answer which ones need not be counted.
  if ((waiting.get(key) ?? 0) >= limits.unauthenticatedSocketsPerPeer) return { kind: "busy" };
  using _ = access.match === "right" ? undefined : countIn(waiting, key);
  const settled = await deps.attempts.settle(ask.peer, { auth: { token }, secret: access.match, token: "wrong" }, ask.signal);
  if (settled.kind === "locked") return { kind: "locked", error: rateLimited(settled.retryAfterMs) };
  return settled.secret === "right" ? admitWithoutDevice(ask, access, settled.secret) : wrong;
}

function countIn(waiting: Map<string, number>, key: string): Disposable {
  waiting.set(key, (waiting.get(key) ?? 0) + 1);
  return {
    [Symbol.dispose]() {
      const left = (waiting.get(key) ?? 1) - 1;
      if (left > 0) waiting.set(key, left);
      else waiting.delete(key);
    },
  };
}

function admitWithoutDevice({ scopes, peer }: BearerAsk, { method }: Offered["access"], secret: Match): BearerVerdict {
  const decision = decide({ subject: "no-device", ask: { role: "operator", scopes }, peer, method, secret });
  if (decision.kind !== "admit") return { kind: "unauthorized" };
  return { kind: "admitted", principal: secretPrincipal(decision.scopes), endsInMs: undefined };
}

/** Every live bearer is tried, so that the time does not tell which one it was; no key of a table comes from outside. */
async function findSubject(deps: BearerDeps, token: string): Promise<DeviceTokenSubject | undefined> {
  const subjects = await deps.bearers.list();
  return subjects.filter((subject) => deps.credentials.checkDeviceToken({ token }, subject) === "right")[0];
}

async function admitBearer(deps: BearerDeps, ask: BearerAsk, token: string, { deviceId }: DeviceTokenSubject): Promise<BearerVerdict> {
  ask.onClaim({ kind: "device", deviceId });
  const state = await deps.devices.find(deviceId);
  const nowMs = deps.clock.now();
  const device = state.kind === "paired" ? state.device : undefined;
  const grant = device && liveGrant(device, "operator");
  // Revoked or rotated since it was found.
  if (device === undefined || grant === undefined) return { kind: "unauthorized" };
  if (deps.credentials.checkDeviceToken({ token }, { deviceId, ...grant }) !== "right") return { kind: "unauthorized" };
  if (device.lastSeenAtMs === undefined || Math.abs(nowMs - device.lastSeenAtMs) >= seenEveryMs)
    background(deps.log, "mark bearer seen", deps.devices.markSeen(deviceId, nowMs));
  const scopes = tokenCeilingOf(grant, nowMs);
  return {
    kind: "admitted",
    principal: devicePrincipal({ deviceId, role: "operator", scopes, viaDeviceToken: true }),
    endsInMs: timeLeftMs(grant, scopes, nowMs),
  };
}

async function issue(deps: BearerDeps, ask: Parameters<Bearers["issue"]>[0], issuer: Principal): Promise<IssuedBearer> {
  const nowMs = deps.clock.now();
  const { label, minutes } = ask;
  const untilMs = minutes === undefined ? undefined : nowMs + minutes * 60_000;
  const asked = normaliseScopes(ask.scopes);
  const scopes = attenuateScopes(issuer, asked);
  // Never narrowed silently: whoever is given less than asked for would find out in use.
  const beyond = asked.find((scope) => !coversAll(scopes, [scope]));
  if (beyond !== undefined) throw missingScope(beyond);
  const outcome = await deps.bearers.issue({ device: createKeylessDevice(), label, scopes, untilMs }, toActor(issuer), nowMs);
  switch (outcome.kind) {
    case "exceeds-issuer":
      throw missingScope(outcome.scope);
    case "denied":
      throw actionDenied("bearer issue denied");
    case "name-taken":
      throw new ProtocolError("INVALID_PARAMS", `label: the bearer ${outcome.deviceId.slice(0, 8)} has this name already`, {
        details: { deviceId: outcome.deviceId },
        remedy: `Take another name, or end that one: ./portreeve devices remove ${outcome.deviceId.slice(0, 8)}. For its next token: ./portreeve devices rotate ${outcome.deviceId.slice(0, 8)} --json`,
      });
    case "too-many":
      throw new ProtocolError("INVALID_PARAMS", `there are ${outcome.most} bearers, as many as there may be`, {
        remedy: "Remove some that are not used any more: ./portreeve devices list, then ./portreeve devices remove DEVICE",
      });
    case "issued": {
      const { deviceId, grants } = outcome.device;
      const generation = grants[0]?.generation ?? 0;
      deps.log.info({ deviceId, label, scopes, untilMs, by: issuer.id }, "bearer issued");
      deps.bus.publish("device.pair.changed", {});
      const token = deps.credentials.deviceToken({ deviceId, role: "operator", generation }).reveal();
      return { deviceId, label, scopes, token, expiresAtMs: untilMs };
    }
  }
}

/** A device like any other, but that nobody has its private key: no socket can ever prove to be it. */
function createKeylessDevice(): { readonly deviceId: string; readonly publicKey: string } {
  const publicKey = generateKeyPairSync("ed25519").publicKey.export({ format: "jwk" }).x ?? "";
  return { publicKey, deviceId: createHash("sha256").update(Buffer.from(publicKey, "base64url")).digest("hex") };
}

/** The token of `Authorization: Bearer …`; undefined when there is none. */
function readBearer(authorization: string | undefined): string | undefined {
  return /^bearer +(\S.*)$/i.exec(authorization ?? "")?.[1]?.trim();
}

function isSecret({ method }: Offered["access"]): boolean {
  return method === "token" || method === "password";
}
