/**
 * Who gets which scopes: the pairing policy as one pure function over facts. What a client calls itself (id, mode, user
 * agent, display name, Host) is not among the facts, so nothing can follow from it.
 */
import { coversAll, normaliseScopes, scopeNames } from "@portreeve/protocol";
import type { PairingReason } from "../store/device-store.ts";
import type { Match } from "./credentials.ts";
import { normaliseLabel } from "./device-proof.ts";
import type { SharedMethod } from "./shared-access.ts";

export interface Ask {
  readonly role: "operator" | "node";
  readonly scopes: readonly string[];
}

interface Peer {
  /** The TCP peer is loopback and no proxy stands between. */
  readonly directLoopback: boolean;
  /** A browser page, of an allowed origin: a foreign one never gets this far. */
  readonly hasOrigin: boolean;
}

/** What is stored of the device that proved its key. */
export type Standing =
  | {
      readonly kind: "unknown";
      /** Once rejected, removed or revoked by an operator. */ readonly refused: boolean;
      readonly hasPending: boolean;
    }
  | {
      readonly kind: "paired";
      /** The approved scopes of the asked role, undefined when that role is not approved. */
      readonly ceiling: readonly string[] | undefined;
      /** What the role's token covers of them. */
      readonly tokenScopes: readonly string[];
      readonly metadataChanged: boolean;
    }
  | { readonly kind: "corrupt" };

export type GrantFacts =
  | { readonly subject: "no-device"; readonly ask: Ask; readonly peer: Peer; readonly method: SharedMethod; readonly secret: Match }
  | {
      readonly subject: "device";
      readonly ask: Ask;
      readonly peer: Peer;
      /** What `secret` stands for: the shared secret, a proxy's word, or nothing asked. */
      readonly method: SharedMethod;
      readonly secret: Match;
      /** Against the token of the asked role; wrong when that role has none. */
      readonly token: Match;
      /** The field `deviceToken` was used, so a mismatch is the token's and not the secret's. */
      readonly offersDeviceToken: boolean;
      readonly standing: Standing;
      readonly autoApproveLocal: boolean;
    };

export type RefusalCode =
  | "AUTH_TOKEN_MISSING"
  | "AUTH_TOKEN_MISMATCH"
  | "AUTH_PASSWORD_MISSING"
  | "AUTH_PASSWORD_MISMATCH"
  | "AUTH_DEVICE_TOKEN_MISMATCH"
  | "AUTH_SCOPE_MISMATCH"
  | "DEVICE_IDENTITY_REQUIRED"
  | "DEVICE_RECORD_CORRUPT";

export type Decision =
  | { readonly kind: "admit"; readonly method: SharedMethod | "device-token"; readonly scopes: readonly string[] }
  /** Pair with exactly these scopes, then admit with them. */
  | { readonly kind: "approve-silently"; readonly scopes: readonly string[] }
  | { readonly kind: "pend"; readonly reason: PairingReason }
  | { readonly kind: "refuse"; readonly code: RefusalCode };

export function decide(facts: GrantFacts): Decision {
  return facts.subject === "no-device" ? decideWithoutDevice(facts) : decideForDevice(facts);
}

function decideWithoutDevice({ ask, peer, method, secret }: Extract<GrantFacts, { subject: "no-device" }>): Decision {
  if (secret === "wrong") return refuse(method === "password" ? "AUTH_PASSWORD_MISMATCH" : "AUTH_TOKEN_MISMATCH");
  if (secret === "absent" || ask.role === "node") return refuse("DEVICE_IDENTITY_REQUIRED");
  const keepsScopes = peer.directLoopback && !peer.hasOrigin && isSecret(method);
  return { kind: "admit", method, scopes: keepsScopes ? normaliseScopes(ask.scopes) : [] };
}

function decideForDevice(facts: Extract<GrantFacts, { subject: "device" }>): Decision {
  const { ask, method, secret, token, standing } = facts;
  const isPassword = method === "password";
  if (secret === "absent" && token === "absent") return refuse(isPassword ? "AUTH_PASSWORD_MISSING" : "AUTH_TOKEN_MISSING");
  // Its token cannot be judged without the row; a mismatch would make the client throw away a token that may be right.
  if (standing.kind === "corrupt") return refuse("DEVICE_RECORD_CORRUPT");
  if (secret !== "right" && token !== "right")
    return refuse(facts.offersDeviceToken ? "AUTH_DEVICE_TOKEN_MISMATCH" : isPassword ? "AUTH_PASSWORD_MISMATCH" : "AUTH_TOKEN_MISMATCH");
  if (standing.kind === "unknown") return decideForUnknown(facts, standing);

  const { ceiling, tokenScopes, metadataChanged } = standing;
  const isCovered = ceiling !== undefined && coversAll(ceiling, ask.scopes);
  if (secret !== "right" && ceiling !== undefined && !coversAll(tokenScopes, ask.scopes)) return refuse("AUTH_SCOPE_MISMATCH");
  if (metadataChanged) return { kind: "pend", reason: "metadata-upgrade" };
  if (ceiling === undefined) return { kind: "pend", reason: "role-upgrade" };
  if (!isCovered) return { kind: "pend", reason: "scope-upgrade" };
  return { kind: "admit", method: secret === "right" ? method : "device-token", scopes: normaliseScopes(ask.scopes) };
}

function decideForUnknown(facts: Extract<GrantFacts, { subject: "device" }>, standing: Extract<Standing, { kind: "unknown" }>): Decision {
  const { ask, peer, method, secret, autoApproveLocal } = facts;
  const scopes = normaliseScopes(ask.scopes);
  // Where no secret is asked for, a page could pair itself; and a proxy's word is about a user, not about this machine.
  const isProgram = isSecret(method) || (method === "none" && !peer.hasOrigin);
  const isLocal = secret === "right" && peer.directLoopback && autoApproveLocal && isProgram;
  const isClean = !standing.refused && !standing.hasPending;
  // A name without a meaning today may get one tomorrow: only a person grants it.
  const areKnown = scopes.every((scope) => ask.role === "operator" && scopeNames.some((name) => name === scope));
  return isLocal && isClean && areKnown ? { kind: "approve-silently", scopes } : { kind: "pend", reason: "not-paired" };
}

function isSecret(method: SharedMethod): boolean {
  return method === "token" || method === "password";
}

interface Metadata {
  readonly platform: string | undefined;
  readonly deviceFamily: string | undefined;
}

/** Whether what was pinned at approval is claimed otherwise. Something new where nothing was pinned is no change; leaving it out is. */
export function isMetadataChanged(pinned: Metadata, claimed: Metadata): boolean {
  const platform = toPlatform(pinned.platform);
  const family = normaliseLabel(pinned.deviceFamily);
  return (
    (platform !== "" && platform !== toPlatform(claimed.platform)) || (family !== "" && family !== normaliseLabel(claimed.deviceFamily))
  );
}

/** The operating system alone: `darwin` is `macos`, and its version is no part of it. */
function toPlatform(text: string | undefined): string {
  const name = normaliseLabel(text).replace(/[ /-]v?\d+(\.\d+)*$/, "");
  const aliases: Readonly<Record<string, string>> = { darwin: "macos", win32: "windows" };
  return Object.hasOwn(aliases, name) ? (aliases[name] ?? name) : name;
}

function refuse(code: RefusalCode): Decision {
  return { kind: "refuse", code };
}
