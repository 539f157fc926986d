/** What the gateway knows of a device that proved its key, as facts for the policy. Pure. */
import type { ConnectParams } from "@portreeve/protocol";
import { ceilingOf, liveGrant, tokenCeilingOf } from "../store/grants.ts";
import type { DeviceState, Grant } from "../store/device-store.ts";
import { isMetadataChanged, type Standing } from "./grant.ts";

interface ProvedKey {
  readonly publicKey: string;
}

export function findGrant(state: DeviceState, role: string): Grant | undefined {
  if (state.kind !== "paired") return undefined;
  return liveGrant(state.device, role);
}

/** The id is the hash of the key: another key under it can only be a damaged row. */
export function isCorrupt(state: DeviceState, device: ProvedKey): boolean {
  return state.kind === "corrupt" || (state.kind === "paired" && state.device.publicKey !== device.publicKey);
}

export function toStanding(
  state: DeviceState,
  { device, client, grant, nowMs }: { device: ProvedKey; client: ConnectParams["client"]; grant: Grant | undefined; nowMs: number },
): Standing {
  if (state.kind === "corrupt" || isCorrupt(state, device)) return { kind: "corrupt" };
  if (state.kind === "unknown")
    return { kind: "unknown", refused: state.refused, hasPending: state.pending !== undefined && state.pending.expiresAtMs > nowMs };
  return {
    kind: "paired",
    ceiling: grant && ceilingOf(grant, nowMs),
    tokenScopes: grant === undefined ? [] : tokenCeilingOf(grant, nowMs),
    metadataChanged: isMetadataChanged(state.device, { platform: client.platform, deviceFamily: client.deviceFamily }),
  };
}
