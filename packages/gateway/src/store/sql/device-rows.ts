/** Devices, grants and requests between rows and records. */
import type { Kysely } from "kysely";
import type { Elevation } from "../device-management.ts";
import type { DeviceFacts, DeviceRecord, DeviceState, Grant, PairingReason, PairingRecord } from "../store.ts";
import type { Database, DeviceRow, GrantRow, PairingRequestRow } from "./schema.ts";

export function pendingRequests(db: Kysely<Database>, nowMs: number) {
  return db.selectFrom("pairing_requests").selectAll().where("state", "=", "pending").where("expires_at_ms", ">", nowMs);
}

/** `publicKey` names the key that is asking, which matters while no device row holds one. */
export async function findState(db: Kysely<Database>, deviceId: string, publicKey?: string): Promise<DeviceState> {
  const row = await db.selectFrom("devices").selectAll().where("device_id", "=", deviceId).executeTakeFirst();
  const asked = await db
    .selectFrom("pairing_requests")
    .selectAll()
    .where("device_id", "=", deviceId)
    .orderBy("created_at_ms", "desc")
    .execute();
  const pendingRow = asked.find((request) => request.state === "pending");
  const pending = pendingRow === undefined ? undefined : toPairingRecord(pendingRow);
  const keys = [publicKey, row?.public_key, ...asked.map((request) => request.public_key)].filter((key) => key !== undefined);
  const refusals =
    keys.length === 0 ? [] : await db.selectFrom("refused_keys").select("public_key").where("public_key", "in", keys).execute();
  const refused = refusals.length > 0;
  if (row === undefined) return { kind: "unknown", refused, pending };
  const device = await readDevice(db, row);
  return device === undefined ? { kind: "corrupt" } : { kind: "paired", device, refused, pending };
}

/** Undefined when the row or one of its grants cannot be read. */
export async function readDevice(db: Kysely<Database>, row: DeviceRow): Promise<DeviceRecord | undefined> {
  const rows = await db.selectFrom("device_grants").selectAll().where("device_id", "=", row.device_id).orderBy("role").execute();
  const grants = rows.map(toGrant);
  if (!isReadable(row) || !grants.every((one) => one !== undefined)) return undefined;
  return {
    ...toFacts(row),
    label: row.operator_label ?? undefined,
    approvedVia: row.approved_via,
    createdAtMs: row.created_at_ms,
    approvedAtMs: row.approved_at_ms,
    lastSeenAtMs: row.last_seen_at_ms ?? undefined,
    grants,
  };
}

function isReadable(row: DeviceRow): row is DeviceRow & { approved_via: DeviceRecord["approvedVia"] } {
  return /^[A-Za-z0-9_-]{43}$/.test(row.public_key) && ["silent", "owner", "bootstrap"].includes(row.approved_via);
}

export async function resolve(tx: Kysely<Database>, requestId: string, state: PairingRequestRow["state"]): Promise<void> {
  await tx.updateTable("pairing_requests").set({ state }).where("request_id", "=", requestId).execute();
}

/** Remembers that an operator refused the key. */
export async function refuseKey(tx: Kysely<Database>, publicKey: string, nowMs: number): Promise<void> {
  await tx
    .insertInto("refused_keys")
    .values({ public_key: publicKey, refused_at_ms: nowMs })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

export function toDeviceColumns(facts: DeviceFacts) {
  return {
    device_id: facts.deviceId,
    public_key: facts.publicKey,
    display_name: facts.displayName ?? null,
    platform: facts.platform ?? null,
    device_family: facts.deviceFamily ?? null,
    client_id: facts.clientId,
    client_mode: facts.clientMode,
    remote_ip: facts.remoteIp ?? null,
  };
}

function toFacts(
  row: Omit<DeviceRow, "approved_via" | "created_at_ms" | "approved_at_ms" | "last_seen_at_ms" | "operator_label">,
): DeviceFacts {
  return {
    deviceId: row.device_id,
    publicKey: row.public_key,
    displayName: row.display_name ?? undefined,
    platform: row.platform ?? undefined,
    deviceFamily: row.device_family ?? undefined,
    clientId: row.client_id,
    clientMode: row.client_mode,
    remoteIp: row.remote_ip ?? undefined,
  };
}

export function toRequestRow(request: PairingRecord): PairingRequestRow {
  return {
    ...toDeviceColumns(request),
    request_id: request.requestId,
    role: request.role,
    roles: JSON.stringify(request.roles),
    scopes: JSON.stringify(request.scopes),
    reason: request.reason,
    is_repair: request.isRepair ? 1 : 0,
    state: "pending",
    created_at_ms: request.createdAtMs,
    expires_at_ms: request.expiresAtMs,
    words: request.words ?? null,
  };
}

export function toPairingRecord(row: PairingRequestRow): PairingRecord {
  return {
    ...toFacts(row),
    requestId: row.request_id,
    role: row.role,
    roles: parseStrings(row.roles) ?? [],
    scopes: parseStrings(row.scopes) ?? [],
    // Only this module writes the column, from the same union.
    reason: row.reason as PairingReason,
    isRepair: row.is_repair === 1,
    silent: false,
    createdAtMs: row.created_at_ms,
    expiresAtMs: row.expires_at_ms,
    words: row.words ?? undefined,
  };
}

/** What an older schema has no columns for: a reader that must not migrate still meets such rows. */
const newerColumns = { token_scopes: null, elevated_scopes: null, elevated_until_ms: null, elevated_seen_ms: null };

/** Undefined when a column cannot be read. */
export function toGrant(row: GrantRow): Grant | undefined {
  const scopes = parseStrings(row.scopes);
  const { token_scopes, elevated_scopes, elevated_until_ms, elevated_seen_ms } = { ...newerColumns, ...row };
  const tokenScopes = token_scopes === null ? scopes : parseStrings(token_scopes);
  const elevated = elevated_scopes === null ? [] : parseStrings(elevated_scopes);
  if (scopes === undefined || tokenScopes === undefined || elevated === undefined || !Number.isInteger(row.generation)) return undefined;
  return {
    role: row.role,
    scopes,
    tokenScopes,
    elevation:
      elevated_until_ms === null
        ? undefined
        : { scopes: elevated, untilMs: elevated_until_ms, seenMs: elevated_seen_ms ?? elevated_until_ms },
    generation: row.generation,
    createdAtMs: row.created_at_ms,
    rotatedAtMs: row.rotated_at_ms ?? undefined,
    revokedAtMs: row.revoked_at_ms ?? undefined,
  };
}

export function toElevationColumns(
  elevation: Elevation | undefined,
): Pick<GrantRow, "elevated_scopes" | "elevated_until_ms" | "elevated_seen_ms"> {
  return {
    elevated_scopes: elevation === undefined ? null : JSON.stringify(elevation.scopes),
    elevated_until_ms: elevation?.untilMs ?? null,
    elevated_seen_ms: elevation?.seenMs ?? null,
  };
}

function parseStrings(text: string): readonly string[] | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return Array.isArray(value) && value.every((item) => typeof item === "string") ? value : undefined;
  } catch {
    return undefined;
  }
}
