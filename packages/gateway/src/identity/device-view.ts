/** Devices and requests as the wire shows them: listed fields only. */
import type { PairedDevice, PairingRequest } from "@portreeve/protocol";
import type { DeviceFacts, DeviceRecord, PairingRecord } from "../store/device-store.ts";

export function toPairingRequest(record: PairingRecord): PairingRequest {
  return {
    requestId: record.requestId,
    ...toFacts(record),
    role: record.role,
    roles: [...record.roles],
    scopes: [...record.scopes],
    silent: record.silent,
    isRepair: record.isRepair,
    reason: record.reason,
    ts: record.createdAtMs,
    expiresAtMs: record.expiresAtMs,
    ...(record.words === undefined ? {} : { words: record.words }),
  };
}

export function toPairedDevice(record: DeviceRecord, connected: boolean): PairedDevice {
  const live = record.grants.filter((grant) => grant.revokedAtMs === undefined);
  const roles = live.map((grant) => grant.role);
  return {
    ...toFacts(record),
    ...(record.label === undefined ? {} : { displayName: record.label, operatorLabel: record.label }),
    role: roles[0] ?? "",
    roles,
    scopes: [...new Set(live.flatMap((grant) => grant.scopes))].sort(),
    approvedVia: record.approvedVia,
    createdAtMs: record.createdAtMs,
    approvedAtMs: record.approvedAtMs,
    ...(record.lastSeenAtMs === undefined ? {} : { lastSeenAtMs: record.lastSeenAtMs }),
    connected,
    tokens: record.grants.map((grant) => ({
      role: grant.role,
      scopes: [...grant.tokenScopes],
      ...(grant.elevation === undefined ? {} : { elevatedScopes: [...grant.elevation.scopes], elevatedUntilMs: grant.elevation.untilMs }),
      createdAtMs: grant.createdAtMs,
      ...(grant.rotatedAtMs === undefined ? {} : { rotatedAtMs: grant.rotatedAtMs }),
      ...(grant.revokedAtMs === undefined ? {} : { revokedAtMs: grant.revokedAtMs }),
    })),
  };
}

function toFacts(
  facts: DeviceFacts,
): Pick<PairingRequest, "deviceId" | "publicKey" | "displayName" | "platform" | "deviceFamily" | "clientId" | "clientMode" | "remoteIp"> {
  return {
    deviceId: facts.deviceId,
    publicKey: facts.publicKey,
    ...(facts.displayName === undefined ? {} : { displayName: facts.displayName }),
    ...(facts.platform === undefined ? {} : { platform: facts.platform }),
    ...(facts.deviceFamily === undefined ? {} : { deviceFamily: facts.deviceFamily }),
    clientId: facts.clientId,
    clientMode: facts.clientMode,
    ...(facts.remoteIp === undefined ? {} : { remoteIp: facts.remoteIp }),
  };
}
