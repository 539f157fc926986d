/** Devices and pairing requests in SQL. */
import { randomBytes } from "node:crypto";
import { coversAll, limits, normaliseScopes } from "@portreeve/protocol";
import type { Kysely } from "kysely";
import type {
  ApprovalOutcome,
  DeviceFacts,
  DeviceRecord,
  DeviceState,
  DeviceStore,
  Grant,
  PairingAsk,
  PairingRecord,
  PairingReason,
} from "../store.ts";
import { appendAudit } from "./audit.ts";
import type { Database, DeviceRow, GrantRow, PairingRequestRow } from "./schema.ts";
import type { WriteQueue } from "./write-queue.ts";

const pendingPerPeer = 16;
const pendingInAll = 256;
const keptAfterExpiryMs = 86_400_000;
const createdCounter = "pairing_requests_created";

export function createDeviceStore(db: Kysely<Database>, queue: WriteQueue): DeviceStore {
  return {
    find: (deviceId, publicKey) => findState(db, deviceId, publicKey),

    async list(nowMs) {
      const pending = await pendingRequests(db, nowMs).orderBy("created_at_ms", "desc").execute();
      const devices = await db.selectFrom("devices").selectAll().orderBy("approved_at_ms", "desc").execute();
      const paired = await Promise.all(devices.map((row) => readDevice(db, row)));
      return { pending: pending.map(toPairingRecord), paired: paired.filter((device) => device !== undefined) };
    },

    approveSilently: (ask, nowMs) =>
      queue.write(async (tx) => {
        const state = await findState(tx, ask.deviceId, ask.publicKey);
        if (state.kind !== "unknown" || state.refused || (state.pending !== undefined && state.pending.expiresAtMs > nowMs))
          return { kind: "not-new" };
        const device = await grant(tx, { ...ask, roles: [ask.role], approvedVia: "silent" }, nowMs);
        await appendAudit(
          tx,
          { kind: "device.paired", actor: `device:${ask.deviceId}`, subject: ask.deviceId, facts: { role: ask.role, scopes: ask.scopes } },
          nowMs,
        );
        return { kind: "approved", device };
      }),

    requestPairing: (ask, nowMs) => queue.write((tx) => requestPairing(tx, ask, nowMs)),
    approve: (requestId, approver, nowMs) => queue.write((tx) => approve(tx, requestId, approver, nowMs)),

    reject: (requestId, rejecter, nowMs) =>
      queue.write(async (tx) => {
        const row = await pendingRequests(tx, nowMs).where("request_id", "=", requestId).executeTakeFirst();
        if (row === undefined) return { kind: "unknown" };
        await resolve(tx, requestId, "rejected");
        await tx
          .insertInto("refused_keys")
          .values({ public_key: row.public_key, refused_at_ms: nowMs })
          .onConflict((conflict) => conflict.doNothing())
          .execute();
        await appendAudit(
          tx,
          { kind: "device.rejected", actor: rejecter.id, subject: row.device_id, facts: { requestId, reason: row.reason } },
          nowMs,
        );
        return { kind: "rejected", deviceId: row.device_id };
      }),

    markSeen: (deviceId, nowMs) =>
      queue.write(async (tx) => {
        await tx.updateTable("devices").set({ last_seen_at_ms: nowMs }).where("device_id", "=", deviceId).execute();
      }),

    async counts(nowMs) {
      const created = await db.selectFrom("counters").select("value").where("name", "=", createdCounter).executeTakeFirst();
      const pending = await pendingRequests(db, nowMs).execute();
      return { requestsCreated: created?.value ?? 0, pending: pending.length };
    },
  };
}

function pendingRequests(db: Kysely<Database>, nowMs: number) {
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
async function readDevice(db: Kysely<Database>, row: DeviceRow): Promise<DeviceRecord | undefined> {
  const rows = await db.selectFrom("device_grants").selectAll().where("device_id", "=", row.device_id).orderBy("role").execute();
  const grants = rows.map(toGrant);
  if (!isReadable(row) || !grants.every((one) => one !== undefined)) return undefined;
  return {
    ...toFacts(row),
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

async function requestPairing(tx: Kysely<Database>, ask: PairingAsk, nowMs: number): ReturnType<DeviceStore["requestPairing"]> {
  const known = await pendingRequests(tx, nowMs).where("device_id", "=", ask.deviceId).executeTakeFirst();
  if (known !== undefined && known.public_key === ask.publicKey) {
    const record = toPairingRecord(known);
    if (record.roles.includes(ask.role) && coversAll(record.scopes, ask.scopes)) {
      const refreshed = { expires_at_ms: nowMs + limits.pairingRequestTtlMs, words: ask.words ?? null };
      await tx.updateTable("pairing_requests").set(refreshed).where("request_id", "=", known.request_id).execute();
      return {
        kind: "pending",
        request: { ...record, words: ask.words, expiresAtMs: refreshed.expires_at_ms },
        created: false,
        superseded: undefined,
      };
    }
  } else if (known === undefined && (await isFull(tx, ask.remoteIp, nowMs))) {
    return { kind: "dropped" };
  }
  // Roles and scopes of a replaced request are kept only when the same key asked for them.
  const before = known !== undefined && known.public_key === ask.publicKey ? toPairingRecord(known) : undefined;
  if (known !== undefined) await resolve(tx, known.request_id, "superseded");
  const request: PairingRecord = {
    ...ask,
    // Short enough to stand whole in a close reason of 120 bytes, where some clients read it.
    requestId: randomBytes(12).toString("hex"),
    roles: [...new Set([...(before?.roles ?? []), ask.role])],
    scopes: normaliseScopes([...(before?.scopes ?? []), ...ask.scopes]),
    silent: false,
    createdAtMs: nowMs,
    expiresAtMs: nowMs + limits.pairingRequestTtlMs,
  };
  await tx.insertInto("pairing_requests").values(toRequestRow(request)).execute();
  await countRequest(tx, nowMs);
  return { kind: "pending", request, created: true, superseded: known?.request_id };
}

/** Decided and expired requests go after a day: whoever keeps asking must not fill the disk. */
async function countRequest(tx: Kysely<Database>, nowMs: number): Promise<void> {
  await tx
    .insertInto("counters")
    .values({ name: createdCounter, value: 1 })
    .onConflict((conflict) => conflict.column("name").doUpdateSet((sql) => ({ value: sql("counters.value", "+", 1) })))
    .execute();
  await tx
    .deleteFrom("pairing_requests")
    .where("expires_at_ms", "<", nowMs - keptAfterExpiryMs)
    .execute();
}

async function isFull(tx: Kysely<Database>, remoteIp: string | undefined, nowMs: number): Promise<boolean> {
  const pending = await pendingRequests(tx, nowMs).execute();
  return pending.length >= pendingInAll || pending.filter((row) => (row.remote_ip ?? undefined) === remoteIp).length >= pendingPerPeer;
}

async function approve(
  tx: Kysely<Database>,
  requestId: string,
  approver: { id: string; scopes: readonly string[] },
  nowMs: number,
): Promise<ApprovalOutcome> {
  const row = await tx.selectFrom("pairing_requests").selectAll().where("request_id", "=", requestId).executeTakeFirst();
  const decided = row?.state === "approved" ? await findState(tx, row.device_id) : undefined;
  if (decided?.kind === "paired") return { kind: "approved", device: decided.device };
  if (row === undefined || row.state !== "pending" || row.expires_at_ms <= nowMs) return { kind: "unknown" };

  const request = toPairingRecord(row);
  const kept = request.roles.includes("operator") ? await keptScopes(tx, request, "operator") : [];
  const granted = [...request.scopes, ...kept];
  const needs = request.roles.some((role) => role !== "operator") ? [...granted, "operator.admin"] : granted;
  const beyond = needs.find((scope) => !coversAll(approver.scopes, [scope]));
  if (beyond !== undefined) return { kind: "exceeds-approver", scope: beyond };

  const device = await grant(tx, { ...request, approvedVia: "owner" }, nowMs);
  await resolve(tx, requestId, "approved");
  await tx.deleteFrom("refused_keys").where("public_key", "=", request.publicKey).execute();
  await appendAudit(
    tx,
    {
      kind: "device.approved",
      actor: approver.id,
      subject: request.deviceId,
      facts: { requestId, roles: request.roles, scopes: request.scopes, reason: request.reason },
    },
    nowMs,
  );
  return { kind: "approved", device };
}

/** Writes the device and one grant a role. Scopes are united with what the same key had; the token's generation rises. */
export async function grant(
  tx: Kysely<Database>,
  ask: DeviceFacts & { roles: readonly string[]; scopes: readonly string[]; approvedVia: DeviceRecord["approvedVia"] },
  nowMs: number,
): Promise<DeviceRecord> {
  const before = await tx.selectFrom("devices").selectAll().where("device_id", "=", ask.deviceId).executeTakeFirst();
  const earlier = new Map<string, readonly string[]>();
  for (const role of ask.roles) earlier.set(role, await keptScopes(tx, ask, role));
  const facts = toDeviceColumns(ask);
  const times = { created_at_ms: before?.created_at_ms ?? nowMs, approved_at_ms: nowMs, approved_via: ask.approvedVia };
  await tx
    .insertInto("devices")
    .values({ ...facts, ...times, last_seen_at_ms: null })
    .onConflict((conflict) => conflict.column("device_id").doUpdateSet({ ...facts, ...times }))
    .execute();
  for (const role of ask.roles) {
    const held = await tx
      .selectFrom("device_grants")
      .selectAll()
      .where("device_id", "=", ask.deviceId)
      .where("role", "=", role)
      .executeTakeFirst();
    const kept = earlier.get(role) ?? [];
    const row = {
      scopes: JSON.stringify(role === "operator" ? normaliseScopes([...kept, ...ask.scopes]) : []),
      generation: (held?.generation ?? 0) + 1,
      created_at_ms: held?.created_at_ms ?? nowMs,
      rotated_at_ms: held === undefined ? null : nowMs,
      revoked_at_ms: null,
    };
    await tx
      .insertInto("device_grants")
      .values({ device_id: ask.deviceId, role, ...row })
      .onConflict((conflict) => conflict.columns(["device_id", "role"]).doUpdateSet(row))
      .execute();
  }
  const state = await findState(tx, ask.deviceId);
  if (state.kind !== "paired") throw new Error(`device ${ask.deviceId} cannot be read back after its approval`);
  return state.device;
}

/** What an approval hands back of before: the live scopes of the role, when the same key held them. */
async function keptScopes(
  tx: Kysely<Database>,
  ask: Pick<DeviceFacts, "deviceId" | "publicKey">,
  role: string,
): Promise<readonly string[]> {
  const held = await tx
    .selectFrom("device_grants")
    .innerJoin("devices", "devices.device_id", "device_grants.device_id")
    .selectAll("device_grants")
    .where("device_grants.device_id", "=", ask.deviceId)
    .where("devices.public_key", "=", ask.publicKey)
    .where("device_grants.role", "=", role)
    .where("device_grants.revoked_at_ms", "is", null)
    .executeTakeFirst();
  return held === undefined ? [] : (toGrant(held)?.scopes ?? []);
}

async function resolve(tx: Kysely<Database>, requestId: string, state: PairingRequestRow["state"]): Promise<void> {
  await tx.updateTable("pairing_requests").set({ state }).where("request_id", "=", requestId).execute();
}

function toDeviceColumns(facts: DeviceFacts) {
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

function toFacts(row: Omit<DeviceRow, "approved_via" | "created_at_ms" | "approved_at_ms" | "last_seen_at_ms">): DeviceFacts {
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

function toRequestRow(request: PairingRecord): PairingRequestRow {
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

function toGrant(row: GrantRow): Grant | undefined {
  const scopes = parseStrings(row.scopes);
  if (scopes === undefined || !Number.isInteger(row.generation)) return undefined;
  return {
    role: row.role,
    scopes,
    generation: row.generation,
    createdAtMs: row.created_at_ms,
    rotatedAtMs: row.rotated_at_ms ?? undefined,
    revokedAtMs: row.revoked_at_ms ?? undefined,
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
