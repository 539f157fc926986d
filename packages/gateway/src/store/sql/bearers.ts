/** Bearers in SQL: devices that were issued and not met. */
import { covers, normaliseScopes } from "@portreeve/protocol";
import type { Kysely } from "kysely";
import type { BearerOutcome, BearerStore, BearerToIssue } from "../bearer-store.ts";
import type { Actor } from "../device-management.ts";
import { appendAudit } from "./audit.ts";
import { authorityOf } from "./device-management.ts";
import { grant } from "./devices.ts";
import type { Database } from "./schema.ts";
import type { WriteQueue } from "./write-queue.ts";

const most = 256;

export function createBearerStore(db: Kysely<Database>, queue: WriteQueue): BearerStore {
  return {
    issue: (bearer, issuer, nowMs) => queue.write((tx) => issue(tx, bearer, issuer, nowMs)),

    async list() {
      const rows = await db
        .selectFrom("device_grants")
        .innerJoin("devices", "devices.device_id", "device_grants.device_id")
        .select(["device_grants.device_id", "device_grants.role", "device_grants.generation"])
        .where("devices.approved_via", "=", "bearer")
        .where("device_grants.role", "=", "operator")
        .where("device_grants.revoked_at_ms", "is", null)
        .execute();
      return rows.map(({ device_id: deviceId, role, generation }) => ({ deviceId, role, generation }));
    },
  };
}

async function issue(tx: Kysely<Database>, bearer: BearerToIssue, issuer: Actor, nowMs: number): Promise<BearerOutcome> {
  const { device, label, untilMs } = bearer;
  const scopes = normaliseScopes(bearer.scopes);
  const held = (await authorityOf(tx, issuer, nowMs))?.heldUntil(untilMs);
  if (held === undefined) return { kind: "denied", rule: "the issuer is not paired any more" };
  if (issuer.ownDeviceOnly) return { kind: "denied", rule: "another device's token" };
  const beyond = scopes.find((scope) => !covers(held, scope));
  if (beyond !== undefined) return { kind: "exceeds-issuer", scope: beyond };
  const known = await tx
    .selectFrom("devices")
    .select(["device_id", "display_name", "operator_label"])
    .where("approved_via", "=", "bearer")
    .execute();
  const namesake = known.find((row) => (row.operator_label ?? row.display_name) === label);
  if (namesake !== undefined) return { kind: "name-taken", deviceId: namesake.device_id };
  if (known.length >= most) return { kind: "too-many", most };

  const unsaid = { platform: undefined, deviceFamily: undefined, remoteIp: undefined };
  const facts = { ...device, ...unsaid, displayName: label, clientId: "bearer", clientMode: "http" };
  const record = await grant(tx, { ...facts, roles: ["operator"], scopes, approvedVia: "bearer", untilMs }, nowMs);
  const audited = { label, scopes, ...(untilMs === undefined ? {} : { untilMs }) };
  await appendAudit(tx, { kind: "device.bearer-issued", actor: issuer.id, subject: device.deviceId, facts: audited }, nowMs);
  return { kind: "issued", device: record };
}
