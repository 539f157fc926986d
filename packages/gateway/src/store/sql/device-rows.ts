/** Devices, grants and requests between rows and records. */
import type { Kysely } from "kysely";
import type { Elevation } from "../device-management.ts";
import type { DeviceFacts, DeviceRecord, DeviceState, Grant, PairingReason, PairingRecord } from "../device-store.ts";
import type { Database, DeviceRow, GrantRow, PairingRequestRow } from "./schema.ts";
import { type Args, runAwaited, type Sql, statement } from "./statement.ts";

export function pendingRequests(db: Kysely<Database>, nowMs: number) {
  return db.selectFrom("pairing_requests").selectAll().where("state", "=", "pending").where("expires_at_ms", ">", nowMs);
}

/** `publicKey` names the key that is asking, which matters while no device row holds one. */
export async function findState(tx: Kysely<Database>, deviceId: string, publicKey: string = noKey): Promise<DeviceState> {
  const [device] = await runAwaited(tx, findDevice, { deviceId });
  const requests = await runAwaited(tx, listRequests, { deviceId });
  const refused = await runAwaited(tx, listRefused, { deviceId, publicKey });
  const grants = device === undefined ? [] : await runAwaited(tx, listGrants, { deviceId });
  return toState({ device, requests, refused, grants });
}

/** The same where nothing awaits. */
export function readState(sql: Sql, deviceId: string, publicKey: string = noKey): DeviceState {
  const device = sql.first(findDevice, { deviceId });
  const requests = sql.all(listRequests, { deviceId });
  const refused = sql.all(listRefused, { deviceId, publicKey });
  const grants = device === undefined ? [] : sql.all(listGrants, { deviceId });
  return toState({ device, requests, refused, grants });
}

/** Undefined when the row or one of its grants cannot be read. */
export async function readDevice(db: Kysely<Database>, row: DeviceRow): Promise<DeviceRecord | undefined> {
  return toDevice(row, await runAwaited(db, listGrants, { deviceId: row.device_id }));
}

/** No device has it. */
const noKey = "";

interface DeviceArgs {
  readonly deviceId: string;
}

const findDevice = statement((db, arg: Args<DeviceArgs>) => db.selectFrom("devices").selectAll().where("device_id", "=", arg("deviceId")));

const listRequests = statement((db, arg: Args<DeviceArgs>) =>
  db.selectFrom("pairing_requests").selectAll().where("device_id", "=", arg("deviceId")).orderBy("created_at_ms", "desc"),
);

const listGrants = statement((db, arg: Args<DeviceArgs>) =>
  db.selectFrom("device_grants").selectAll().where("device_id", "=", arg("deviceId")).orderBy("role"),
);

/** Of the key that asks and of every key that the device is known by. */
const listRefused = statement((db, arg: Args<{ readonly deviceId: string; readonly publicKey: string }>) =>
  db
    .selectFrom("refused_keys")
    .select("public_key")
    .where((row) =>
      row.or([
        row("public_key", "=", arg("publicKey")),
        row("public_key", "in", row.selectFrom("devices").select("devices.public_key").where("device_id", "=", arg("deviceId"))),
        row(
          "public_key",
          "in",
          row.selectFrom("pairing_requests").select("pairing_requests.public_key").where("device_id", "=", arg("deviceId")),
        ),
      ]),
    ),
);

interface StateRows {
  readonly device: DeviceRow | undefined;
  /** The newest first. */
  readonly requests: readonly PairingRequestRow[];
  readonly refused: readonly unknown[];
  readonly grants: readonly GrantRow[];
}

function toState({ device: row, requests, refused: keys, grants }: StateRows): DeviceState {
  const pendingRow = requests.find((request) => request.state === "pending");
  const pending = pendingRow === undefined ? undefined : toPairingRecord(pendingRow);
  const refused = keys.length > 0;
  if (row === undefined) return { kind: "unknown", refused, pending };
  const device = toDevice(row, grants);
  return device === undefined ? { kind: "corrupt" } : { kind: "paired", device, refused, pending };
}

function toDevice(row: DeviceRow, grantRows: readonly GrantRow[]): DeviceRecord | undefined {
  const grants = grantRows.map(toGrant);
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
  return /^[A-Za-z0-9_-]{43}$/.test(row.public_key) && ["silent", "owner", "bootstrap", "bearer"].includes(row.approved_via);
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
