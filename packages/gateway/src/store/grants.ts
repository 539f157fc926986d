/** What a grant covers at a moment. Pure. */
import { covers, normaliseScopes } from "@portreeve/protocol";
import type { DeviceRecord, Grant } from "./device-store.ts";

/** The grant of a role as long as it is not revoked. */
export function liveGrant(device: DeviceRecord, role: string): Grant | undefined {
  return device.grants.find((grant) => grant.role === role && grant.revokedAtMs === undefined);
}

/** Until its elevation ends; undefined when there is none, or none any more. */
export function elevationLeftMs({ elevation }: Grant, nowMs: number): number | undefined {
  if (elevation === undefined) return undefined;
  const leftMs = elevation.untilMs - Math.max(nowMs, elevation.seenMs);
  return leftMs > 0 ? leftMs : undefined;
}

/** Everything the device may ask for in this role now. */
export function ceilingOf(grant: Grant, nowMs: number): readonly string[] {
  return normaliseScopes([...grant.scopes, ...elevatedScopes(grant, nowMs)]);
}

/** What its token alone lets it ask for now. */
export function tokenCeilingOf(grant: Grant, nowMs: number): readonly string[] {
  return normaliseScopes([...grant.tokenScopes, ...elevatedScopes(grant, nowMs)]);
}

/** How long `scopes` may be held; undefined: as long as the grant lives. */
export function timeLeftMs(grant: Grant, scopes: readonly string[], nowMs: number): number | undefined {
  return scopes.every((scope) => covers(grant.scopes, scope)) ? undefined : (elevationLeftMs(grant, nowMs) ?? 0);
}

function elevatedScopes(grant: Grant, nowMs: number): readonly string[] {
  return elevationLeftMs(grant, nowMs) === undefined ? [] : (grant.elevation?.scopes ?? []);
}
