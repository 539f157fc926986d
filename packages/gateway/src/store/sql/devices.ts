/** Devices and pairing requests in SQL. */
import { randomBytes } from "node:crypto";
import { covers, coversAll, limits, normaliseScopes } from "@portreeve/protocol";
import type { Kysely } from "kysely";
import type { Actor, ApprovalOutcome } from "../device-management.ts";
import { ceilingOf, liveGrant } from "../grants.ts";
import type { DeviceFacts, DeviceRecord, DeviceStore, PairingAsk, PairingRecord } from "../device-store.ts";
import { appendAudit } from "./audit.ts";
import { authorityOf, createDeviceManagement } from "./device-management.ts";
import {
  findState,
  pendingRequests,
  readDevice,
  readState,
  refuseKey,
  resolve,
  toDeviceColumns,
  toElevationColumns,
  toGrant,
  toPairingRecord,
  toRequestRow,
} from "./device-rows.ts";
import type { Database } from "./schema.ts";
import { type Args, statement } from "./statement.ts";
import type { WriteQueue } from "./write-queue.ts";

const pendingPerPeer = 16;
const pendingInAll = 256;
const keptAfterExpiryMs = 86_400_000;
const createdCounter = "pairing_requests_created";

export function createDeviceStore(db: Kysely<Database>, queue: WriteQueue): DeviceStore {
  return {
    ...createDeviceManagement(db, queue),
    find: (deviceId, publicKey) => queue.read((sql) => readState(sql, deviceId, publicKey)),

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

    requestPairing: (ask, nowMs, sawRequestId) => queue.write((tx) => requestPairing(tx, { ...ask, sawRequestId }, nowMs)),
    approve: (requestId, approver, nowMs, untilMs) => queue.write((tx) => approve(tx, { requestId, approver, untilMs }, nowMs)),

    reject: (requestId, rejecter, nowMs) =>
      queue.write(async (tx) => {
        const row = await pendingRequests(tx, nowMs).where("request_id", "=", requestId).executeTakeFirst();
        if (row === undefined) return { kind: "unknown" };
        const authority = await authorityOf(tx, rejecter, nowMs);
        if (authority === undefined || (rejecter.ownDeviceOnly && row.device_id !== rejecter.deviceId)) return { kind: "denied" };
        await resolve(tx, requestId, "rejected");
        await refuseKey(tx, row.public_key, nowMs);
        await appendAudit(
          tx,
          { kind: "device.rejected", actor: rejecter.id, subject: row.device_id, facts: { requestId, reason: row.reason } },
          nowMs,
        );
        return { kind: "rejected", deviceId: row.device_id };
      }),

    markSeen: (deviceId, nowMs) => queue.transact((sql) => void sql.run(markSeen, { deviceId, nowMs })),

    async counts(nowMs) {
      const created = await db.selectFrom("counters").select("value").where("name", "=", createdCounter).executeTakeFirst();
      const pending = await pendingRequests(db, nowMs).execute();
      return { requestsCreated: created?.value ?? 0, pending: pending.length };
    },
  };
}

const markSeen = statement((db, arg: Args<{ readonly deviceId: string; readonly nowMs: number }>) =>
  db
    .updateTable("devices")
    .set({ last_seen_at_ms: arg("nowMs") })
    .where("device_id", "=", arg("deviceId")),
);

type SeenAsk = PairingAsk & { readonly sawRequestId: string | undefined };

async function requestPairing(
  tx: Kysely<Database>,
  { sawRequestId, ...ask }: SeenAsk,
  nowMs: number,
): ReturnType<DeviceStore["requestPairing"]> {
  if (await isCovered(tx, ask, nowMs)) return { kind: "covered" };
  if (sawRequestId !== undefined && (await isRejected(tx, sawRequestId))) return { kind: "rejected" };
  const known = await pendingRequests(tx, nowMs).where("device_id", "=", ask.deviceId).executeTakeFirst();
  if (known !== undefined && known.public_key === ask.publicKey) {
    const record = toPairingRecord(known);
    if (record.roles.includes(ask.role) && coversAll(record.scopes, ask.scopes)) {
      // The words belong to the newest connect: its nonce is the one the device shows.
      const renewed = { expires_at_ms: nowMs + limits.pairingRequestTtlMs, words: ask.words ?? null };
      await tx.updateTable("pairing_requests").set(renewed).where("request_id", "=", known.request_id).execute();
      return { kind: "pending", request: toPairingRecord({ ...known, ...renewed }), created: false, superseded: undefined };
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

/** Approved since the device was judged: there is nothing left to ask for. */
async function isCovered(tx: Kysely<Database>, ask: PairingAsk, nowMs: number): Promise<boolean> {
  const state = await findState(tx, ask.deviceId);
  if (state.kind !== "paired" || state.device.publicKey !== ask.publicKey) return false;
  if (state.device.platform !== ask.platform || state.device.deviceFamily !== ask.deviceFamily) return false;
  const grant = liveGrant(state.device, ask.role);
  return grant !== undefined && coversAll(ceilingOf(grant, nowMs), ask.scopes);
}

async function isRejected(tx: Kysely<Database>, requestId: string): Promise<boolean> {
  const row = await tx.selectFrom("pairing_requests").select("state").where("request_id", "=", requestId).executeTakeFirst();
  return row?.state === "rejected";
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

interface Approval {
  readonly requestId: string;
  readonly approver: Actor;
  /** Undefined: for good. */
  readonly untilMs: number | undefined;
}

async function approve(tx: Kysely<Database>, { requestId, approver, untilMs }: Approval, nowMs: number): Promise<ApprovalOutcome> {
  const row = await tx.selectFrom("pairing_requests").selectAll().where("request_id", "=", requestId).executeTakeFirst();
  const authority = await authorityOf(tx, approver, nowMs);
  if (authority === undefined) return { kind: "denied" };
  if (row !== undefined && approver.ownDeviceOnly && row.device_id !== approver.deviceId) return { kind: "denied" };
  const decided = row?.state === "approved" ? await findState(tx, row.device_id) : undefined;
  const isOpen = row?.state === "pending" && row.expires_at_ms > nowMs;
  if (row === undefined || (!isOpen && decided?.kind !== "paired")) return { kind: "unknown" };

  const request = toPairingRecord(row);
  const role = request.roles.find((one) => one !== "operator");
  if (role !== undefined && untilMs !== undefined) return { kind: "role-for-a-time", role };
  const held = authority.heldUntil(untilMs);
  const granted = [...request.scopes, ...(request.roles.includes("operator") ? await keptScopes(tx, request) : [])];
  const needs = role === undefined ? granted : [...granted, "operator.admin"];
  const beyond = needs.find((scope) => !coversAll(held, [scope]));
  if (beyond !== undefined) return { kind: "exceeds-approver", scope: beyond };
  if (decided?.kind === "paired") return { kind: "approved", device: decided.device };

  const device = await grant(tx, { ...request, approvedVia: "owner", untilMs }, nowMs);
  await resolve(tx, requestId, "approved");
  await tx.deleteFrom("refused_keys").where("public_key", "=", request.publicKey).execute();
  const { roles, scopes, reason } = request;
  const facts = { requestId, roles, scopes, reason, ...(untilMs === undefined ? {} : { untilMs }) };
  await appendAudit(tx, { kind: "device.approved", actor: approver.id, subject: request.deviceId, facts }, nowMs);
  return { kind: "approved", device };
}

/** What an approval hands back of before: the operator scopes that the same key holds. */
async function keptScopes(tx: Kysely<Database>, { deviceId, publicKey }: PairingRecord): Promise<readonly string[]> {
  const state = await findState(tx, deviceId);
  if (state.kind !== "paired" || state.device.publicKey !== publicKey) return [];
  return liveGrant(state.device, "operator")?.scopes ?? [];
}

type GrantAsk = DeviceFacts & {
  readonly roles: readonly string[];
  readonly scopes: readonly string[];
  readonly approvedVia: DeviceRecord["approvedVia"];
  /** When the scopes beyond those held before end; absent: never. */
  readonly untilMs?: number | undefined;
};

/** Writes the device and one grant a role. Scopes are united with what the same key had; the token's generation rises. */
export async function grant(tx: Kysely<Database>, ask: GrantAsk, nowMs: number): Promise<DeviceRecord> {
  const before = await tx.selectFrom("devices").selectAll().where("device_id", "=", ask.deviceId).executeTakeFirst();
  const facts = toDeviceColumns(ask);
  const times = { created_at_ms: before?.created_at_ms ?? nowMs, approved_at_ms: nowMs, approved_via: ask.approvedVia };
  await tx
    .insertInto("devices")
    .values({ ...facts, ...times, last_seen_at_ms: null, operator_label: null })
    .onConflict((conflict) => conflict.column("device_id").doUpdateSet({ ...facts, ...times }))
    .execute();
  for (const role of ask.roles) await grantRole(tx, { ...ask, role, isSameKey: before?.public_key === ask.publicKey }, nowMs);
  const state = await findState(tx, ask.deviceId);
  if (state.kind !== "paired") throw new Error(`device ${ask.deviceId} cannot be read back after its approval`);
  return state.device;
}

async function grantRole(
  tx: Kysely<Database>,
  { deviceId, role, scopes, untilMs, isSameKey }: GrantAsk & { readonly role: string; readonly isSameKey: boolean },
  nowMs: number,
): Promise<void> {
  const stored = await tx
    .selectFrom("device_grants")
    .selectAll()
    .where("device_id", "=", deviceId)
    .where("role", "=", role)
    .executeTakeFirst();
  const past = await tx
    .selectFrom("past_generations")
    .select("generation")
    .where("device_id", "=", deviceId)
    .where("role", "=", role)
    .executeTakeFirst();
  const kept = isSameKey && stored !== undefined && stored.revoked_at_ms === null ? toGrant(stored) : undefined;
  const asked = role === "operator" ? scopes : [];
  const row = {
    scopes: JSON.stringify(normaliseScopes([...(kept?.scopes ?? []), ...(untilMs === undefined ? asked : [])])),
    generation: (stored?.generation ?? past?.generation ?? 0) + 1,
    created_at_ms: stored?.created_at_ms ?? nowMs,
    rotated_at_ms: stored === undefined ? null : nowMs,
    revoked_at_ms: null,
    token_scopes: null,
    ...(untilMs === undefined
      ? toElevationColumns(kept?.elevation)
      : toElevationColumns({ scopes: asked.filter((scope) => !covers(kept?.scopes ?? [], scope)), untilMs, seenMs: nowMs })),
  };
  await tx
    .insertInto("device_grants")
    .values({ device_id: deviceId, role, ...row })
    .onConflict((conflict) => conflict.columns(["device_id", "role"]).doUpdateSet(row))
    .execute();
}
