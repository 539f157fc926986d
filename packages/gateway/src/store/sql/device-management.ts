/** Managing paired devices in SQL: removing, renaming, rotating and revoking tokens, ending elevations. */
import { covers, coversAll, meet, normaliseScopes } from "@portreeve/protocol";
import type { Kysely } from "kysely";
import type { Actor, Denied, DeviceManagement, TokenSubject } from "../device-management.ts";
import { ceilingOf, elevationLeftMs, liveGrant } from "../grants.ts";
import type { DeviceStore } from "../device-store.ts";
import { endApprovalsOf } from "./approvals.ts";
import { appendAudit } from "./audit.ts";
import { deviceIsGone, disableJobsOf } from "./cron-rows.ts";
import { newestTimeMs, noteTime } from "./expiries.ts";
import { findState, refuseKey, resolve, toElevationColumns, toGrant } from "./device-rows.ts";
import type { Database, GrantRow } from "./schema.ts";
import { runAwaited } from "./statement.ts";
import type { WriteQueue } from "./write-queue.ts";

export function createDeviceManagement(db: Kysely<Database>, queue: WriteQueue): DeviceManagement {
  return {
    remove: (deviceId, actor, nowMs) => queue.write((tx) => remove(tx, deviceId, actor, nowMs)),

    rename: ({ deviceId, label }, actor, nowMs) =>
      queue.write(async (tx) => {
        if (!(await mayManage(tx, deviceId, actor, nowMs))) return "unknown";
        const done = await tx.updateTable("devices").set({ operator_label: label }).where("device_id", "=", deviceId).executeTakeFirst();
        return done.numUpdatedRows === 0n ? "unknown" : "renamed";
      }),

    rotateToken: (subject, actor, nowMs) => queue.write((tx) => rotateToken(tx, subject, actor, nowMs)),
    revokeToken: (subject, actor, nowMs) => queue.write((tx) => revokeToken(tx, subject, actor, nowMs)),

    async findRequest(requestId) {
      const row = await db.selectFrom("pairing_requests").selectAll().where("request_id", "=", requestId).executeTakeFirst();
      return row === undefined ? undefined : { deviceId: row.device_id, state: row.state, expiresAtMs: row.expires_at_ms };
    },

    sweepExpiries: (nowMs) => queue.write((tx) => sweepExpiries(tx, nowMs)),
    newestTimeMs: () => newestTimeMs(db),
  };
}

/** What an actor holds at one moment. */
interface Authority {
  /** What it may hand on until then; undefined: for good. What it holds for a time it hands on for no longer. */
  heldUntil(untilMs: number | undefined): readonly string[];
}

/** Read in the transaction that uses it; undefined when the actor's device was removed or its role revoked. */
export async function authorityOf(tx: Kysely<Database>, actor: Actor, nowMs: number): Promise<Authority | undefined> {
  if (actor.deviceId === undefined) return { heldUntil: () => actor.scopes };
  const state = await findState(tx, actor.deviceId);
  const grant = state.kind === "paired" ? liveGrant(state.device, "operator") : undefined;
  if (grant === undefined) return undefined;
  return {
    heldUntil(untilMs) {
      const isWithin = untilMs !== undefined && grant.elevation !== undefined && untilMs <= grant.elevation.untilMs;
      return meet(actor.scopes, isWithin ? ceilingOf(grant, nowMs) : grant.scopes);
    },
  };
}

async function mayManage(tx: Kysely<Database>, deviceId: string, actor: Actor, nowMs: number): Promise<boolean> {
  if (actor.ownDeviceOnly && deviceId !== actor.deviceId) return false;
  return (await authorityOf(tx, actor, nowMs)) !== undefined;
}

async function remove(tx: Kysely<Database>, deviceId: string, actor: Actor, nowMs: number): ReturnType<DeviceStore["remove"]> {
  const authority = await authorityOf(tx, actor, nowMs);
  if (authority === undefined) return denied("the actor is not paired any more");
  const device = await tx.selectFrom("devices").selectAll().where("device_id", "=", deviceId).executeTakeFirst();
  // Whoever sees one device alone does not learn which others there are.
  if (device === undefined || (actor.ownDeviceOnly && deviceId !== actor.deviceId)) return { kind: "unknown" };
  const grants = await tx.selectFrom("device_grants").selectAll().where("device_id", "=", deviceId).execute();
  const hasOtherRole = grants.some((grant) => grant.role !== "operator" && grant.revoked_at_ms === null);
  if (hasOtherRole && !covers(authority.heldUntil(undefined), "operator.admin")) return denied("a role other than operator needs admin");

  for (const { role, generation } of grants) {
    await tx
      .insertInto("past_generations")
      .values({ device_id: deviceId, role, generation })
      .onConflict((conflict) => conflict.columns(["device_id", "role"]).doUpdateSet({ generation }))
      .execute();
  }
  const requests = await tx
    .selectFrom("pairing_requests")
    .select("request_id")
    .where("device_id", "=", deviceId)
    .where("state", "=", "pending")
    .execute();
  for (const { request_id } of requests) await resolve(tx, request_id, "rejected");
  await dropCodes(tx, deviceId);
  await tx.deleteFrom("nodes").where("node_id", "=", deviceId).execute();
  await tx.deleteFrom("node_requests").where("node_id", "=", deviceId).execute();
  await tx.deleteFrom("node_work").where("node_id", "=", deviceId).execute();
  await runAwaited(tx, endApprovalsOf, { requester: `device:${deviceId}`, nodeId: deviceId, now: nowMs });
  await tx.deleteFrom("device_grants").where("device_id", "=", deviceId).execute();
  await tx.deleteFrom("devices").where("device_id", "=", deviceId).execute();
  await refuseKey(tx, device.public_key, nowMs);
  const facts = { roles: grants.map((grant) => grant.role) };
  await disableJobs(tx, deviceId, actor, nowMs);
  await appendAudit(tx, { kind: "device.removed", actor: actor.id, subject: deviceId, facts }, nowMs);
  return { kind: "removed", rejectedRequests: requests.map((request) => request.request_id) };
}

type Rotation = Parameters<DeviceStore["rotateToken"]>[0];

async function rotateToken(tx: Kysely<Database>, rotation: Rotation, actor: Actor, nowMs: number): ReturnType<DeviceStore["rotateToken"]> {
  const held = await findManaged(tx, rotation, actor, nowMs);
  if (held.kind === "denied") return held;
  const { row, scopes } = held;
  const grant = toGrant(row);
  if (grant === undefined || grant.revokedAtMs !== undefined) return denied("the role has no token");
  const asked = normaliseScopes(rotation.scopes ?? grant.tokenScopes);
  if (!coversAll(grant.scopes, asked)) return denied("beyond what is approved");
  if (!coversAll(scopes, asked)) return denied("beyond what the actor holds");

  const next = {
    generation: row.generation + 1,
    rotated_at_ms: nowMs,
    token_scopes: JSON.stringify(asked),
    ...toElevationColumns(undefined),
  };
  await updateGrant(tx, rotation, next);
  const { deviceId, role } = rotation;
  await appendAudit(tx, { kind: "device.token-rotated", actor: actor.id, subject: deviceId, facts: { role, scopes: asked } }, nowMs);
  return {
    kind: "rotated",
    grant: { ...grant, generation: next.generation, rotatedAtMs: nowMs, tokenScopes: asked, elevation: undefined },
    mayReceive: deviceId === actor.deviceId || covers(scopes, "operator.admin"),
  };
}

async function revokeToken(
  tx: Kysely<Database>,
  subject: TokenSubject,
  actor: Actor,
  nowMs: number,
): ReturnType<DeviceStore["revokeToken"]> {
  const held = await findManaged(tx, subject, actor, nowMs);
  if (held.kind === "denied") return held;
  const { row } = held;
  if (row.revoked_at_ms !== null) return { kind: "revoked", revokedAtMs: row.revoked_at_ms };

  await updateGrant(tx, subject, { generation: row.generation + 1, revoked_at_ms: nowMs, ...toElevationColumns(undefined) });
  const { deviceId, role } = subject;
  const device = await tx.selectFrom("devices").select("public_key").where("device_id", "=", deviceId).executeTakeFirst();
  if (device !== undefined) await refuseKey(tx, device.public_key, nowMs);
  if (role === "operator") {
    await disableJobs(tx, deviceId, actor, nowMs);
    await dropCodes(tx, deviceId);
  }
  await runAwaited(tx, endApprovalsOf, { requester: `device:${deviceId}`, nodeId: deviceId, now: nowMs });
  await appendAudit(tx, { kind: "device.token-revoked", actor: actor.id, subject: deviceId, facts: { role } }, nowMs);
  return { kind: "revoked", revokedAtMs: nowMs };
}

/** What acted for the device starts nothing any more, also when somebody pairs it again. */
async function disableJobs(tx: Kysely<Database>, deviceId: string, actor: Actor, nowMs: number): Promise<void> {
  const jobs = await runAwaited(tx, disableJobsOf, { actsFor: `device:${deviceId}`, reason: deviceIsGone });
  if (jobs.length === 0) return;
  const facts = { reason: deviceIsGone, jobs: jobs.length };
  await appendAudit(tx, { kind: "cron.disabled", actor: actor.id, subject: `device:${deviceId}`, facts }, nowMs);
}

/** Nobody comes in on its word any more, also when somebody pairs it again. */
async function dropCodes(tx: Kysely<Database>, deviceId: string): Promise<void> {
  await tx.deleteFrom("setup_codes").where("issued_by", "=", `device:${deviceId}`).where("used_at_ms", "is", null).execute();
}

/** The grant if `actor` may manage its token, and what `actor` itself holds for good. */
async function findManaged(
  tx: Kysely<Database>,
  { deviceId, role }: TokenSubject,
  actor: Actor,
  nowMs: number,
): Promise<{ readonly kind: "managed"; readonly row: GrantRow; readonly scopes: readonly string[] } | Denied> {
  const scopes = (await authorityOf(tx, actor, nowMs))?.heldUntil(undefined);
  if (scopes === undefined) return denied("the actor is not paired any more");
  if (actor.ownDeviceOnly && deviceId !== actor.deviceId) return denied("another device's token");
  if (role !== "operator" && !covers(scopes, "operator.admin")) return denied("a role other than operator needs admin");
  const row = await tx
    .selectFrom("device_grants")
    .selectAll()
    .where("device_id", "=", deviceId)
    .where("role", "=", role)
    .executeTakeFirst();
  return row === undefined ? denied("no such device or role") : { kind: "managed", row, scopes };
}

async function sweepExpiries(tx: Kysely<Database>, nowMs: number): ReturnType<DeviceStore["sweepExpiries"]> {
  const ended: TokenSubject[] = [];
  const left: number[] = [];
  for (const row of await tx.selectFrom("device_grants").selectAll().where("elevated_until_ms", "is not", null).execute()) {
    const grant = toGrant(row);
    const subject = { deviceId: row.device_id, role: row.role };
    const leftMs = grant === undefined ? undefined : elevationLeftMs(grant, nowMs);
    if (leftMs !== undefined) {
      left.push(leftMs);
      await updateGrant(tx, subject, { elevated_seen_ms: Math.max(nowMs, grant?.elevation?.seenMs ?? nowMs) });
      continue;
    }
    ended.push(subject);
    await updateGrant(tx, subject, toElevationColumns(undefined));
    const facts = { role: row.role, scopes: grant?.elevation?.scopes ?? [] };
    await appendAudit(tx, { kind: "device.elevation-ended", actor: "gateway", subject: row.device_id, facts }, nowMs);
  }
  const nextMs = await noteTime(tx, nowMs, left.length > 0);
  if (nextMs !== undefined) left.push(nextMs - nowMs);
  return { ended, nextInMs: left.length === 0 ? undefined : Math.min(...left) };
}

async function updateGrant(tx: Kysely<Database>, { deviceId, role }: TokenSubject, columns: Partial<GrantRow>): Promise<void> {
  await tx.updateTable("device_grants").set(columns).where("device_id", "=", deviceId).where("role", "=", role).execute();
}

function denied(rule: string): Denied {
  return { kind: "denied", rule };
}
