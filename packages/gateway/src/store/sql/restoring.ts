/** What ends when a database goes back in time, in SQL. */
import { coversAll, meet, normaliseScopes } from "@portreeve/protocol";
import type { Kysely } from "kysely";
import type { Grant } from "../device-store.ts";
import { appendAudit } from "./audit.ts";
import { deviceIsGone, disableJobsOf } from "./cron-rows.ts";
import { refuseKey, toGrant } from "./device-rows.ts";
import type { CronJobRow, Database, GrantRow } from "./schema.ts";
import { runAwaited } from "./statement.ts";

/** What was taken from whom after the backup, as far as the state that is replaced still knows. */
export interface SinceThen {
  readonly pairedIds: readonly string[];
  readonly grants: readonly HeldGrant[];
  readonly refusedKeys: readonly string[];
  /** Jobs that the gateway disabled, with the reason. */
  readonly disabledJobs: readonly { readonly jobId: string; readonly reason: string }[];
}

interface HeldGrant {
  readonly deviceId: string;
  readonly role: string;
  /** Undefined: it cannot be read, and says nothing. */
  readonly grant: Grant | undefined;
}

export function toSinceThen(rows: {
  readonly devices: readonly { readonly device_id: string }[];
  readonly grants: readonly GrantRow[];
  readonly refusedKeys: readonly { readonly public_key: string }[];
  readonly jobs: readonly Pick<CronJobRow, "job_id" | "disabled_reason">[];
}): SinceThen {
  return {
    pairedIds: rows.devices.map((row) => row.device_id),
    grants: rows.grants.map((row) => ({ deviceId: row.device_id, role: row.role, grant: toGrant(row) })),
    refusedKeys: rows.refusedKeys.map((row) => row.public_key),
    disabledJobs: rows.jobs.map((row) => ({ jobId: row.job_id, reason: row.disabled_reason ?? deviceIsGone })),
  };
}

export interface Ended {
  readonly setupCodes: number;
  readonly pairingRequests: number;
  readonly elevations: number;
  /** Whose only time has passed since: it may have come to pass. */
  readonly jobs: number;
  /** Devices that were paired at the time of the backup and are not any more. */
  readonly removedDevices: readonly string[];
  readonly revokedGrants: number;
  /** What of them is left. */
  readonly narrowedGrants: readonly { readonly deviceId: string; readonly role: string; readonly scopes: readonly string[] }[];
  /** Which the gateway had disabled since, or whose device was removed, revoked or narrowed. */
  readonly disabledJobs: number;
}

type TakenOver = Pick<Ended, "removedDevices" | "revokedGrants" | "narrowedGrants" | "disabledJobs">;

/** A setup code may have been used since, a request rejected, an elevation ended: each would come back to life. */
export async function endWhatWasOpen(
  tx: Kysely<Database>,
  nowMs: number,
): Promise<Pick<Ended, "setupCodes" | "pairingRequests" | "elevations" | "jobs">> {
  const codes = await tx.deleteFrom("setup_codes").where("used_at_ms", "is", null).executeTakeFirst();
  const requests = await tx
    .updateTable("pairing_requests")
    .set({ state: "superseded" })
    .where("state", "=", "pending")
    .where("expires_at_ms", ">", nowMs)
    .executeTakeFirst();
  await tx.deleteFrom("node_requests").execute();
  // Decided otherwise since, or used.
  await tx.deleteFrom("exec_approvals").execute();
  const elevations = await tx
    .updateTable("device_grants")
    .set({ elevated_scopes: null, elevated_until_ms: null, elevated_seen_ms: null })
    .where("elevated_until_ms", "is not", null)
    .executeTakeFirst();
  const jobs = await tx
    .updateTable("cron_jobs")
    .set({ enabled: 0, next_run_at_ms: null, disabled_reason: "its time passed between the backup and the restore" })
    .where("schedule_kind", "=", "at")
    .where("enabled", "=", 1)
    .where("next_run_at_ms", "<=", nowMs)
    .executeTakeFirst();
  return {
    setupCodes: Number(codes.numDeletedRows),
    pairingRequests: Number(requests.numUpdatedRows),
    elevations: Number(elevations.numUpdatedRows),
    jobs: Number(jobs.numUpdatedRows),
  };
}

/** Removed, revoked, narrowed, refused and disabled stays so. */
export async function takeOver(tx: Kysely<Database>, since: SinceThen | undefined, nowMs: number): Promise<TakenOver> {
  if (since === undefined) return { removedDevices: [], revokedGrants: 0, narrowedGrants: [], disabledJobs: 0 };
  const removedDevices = await dropRemoved(tx, since);
  const { revoked, narrowedGrants } = await meetGrants(tx, since, nowMs);
  const gone = [...removedDevices, ...revoked.flatMap(({ deviceId, role }) => (role === "operator" ? [deviceId] : []))];
  let disabledJobs = 0;
  for (const deviceId of gone) disabledJobs += await disableJobs(tx, deviceId, deviceIsGone);
  for (const { deviceId, role } of narrowedGrants)
    if (role === "operator") disabledJobs += await disableJobs(tx, deviceId, "the device that it acts for holds less by now");
  for (const { jobId, reason } of since.disabledJobs) {
    const disabled = await tx
      .updateTable("cron_jobs")
      .set({ enabled: 0, next_run_at_ms: null, disabled_reason: reason })
      .where("job_id", "=", jobId)
      .where("enabled", "=", 1)
      .executeTakeFirst();
    disabledJobs += Number(disabled.numUpdatedRows);
  }
  for (const publicKey of since.refusedKeys) await refuseKey(tx, publicKey, nowMs);
  return { removedDevices, revokedGrants: revoked.length, narrowedGrants, disabledJobs };
}

async function dropRemoved(tx: Kysely<Database>, { pairedIds }: SinceThen): Promise<readonly string[]> {
  const paired = new Set(pairedIds);
  const rows = await tx.selectFrom("devices").select("device_id").orderBy("device_id").execute();
  const removed = rows.map((row) => row.device_id).filter((id) => !paired.has(id));
  for (const id of removed) {
    await tx.deleteFrom("devices").where("device_id", "=", id).execute();
    await tx.deleteFrom("nodes").where("node_id", "=", id).execute();
    await tx.deleteFrom("node_work").where("node_id", "=", id).execute();
  }
  return removed;
}

/** No device holds more than it did before the restore, nor more than it did at the backup. */
async function meetGrants(
  tx: Kysely<Database>,
  { grants }: SinceThen,
  nowMs: number,
): Promise<Pick<Ended, "narrowedGrants"> & { readonly revoked: readonly { readonly deviceId: string; readonly role: string }[] }> {
  const held = new Map(grants.map((one) => [JSON.stringify([one.deviceId, one.role]), one]));
  const revoked: { deviceId: string; role: string }[] = [];
  const narrowedGrants: Ended["narrowedGrants"][number][] = [];
  const rows = await tx.selectFrom("device_grants").selectAll().where("revoked_at_ms", "is", null).orderBy("device_id").execute();
  for (const row of rows) {
    const [then, known] = [toGrant(row), held.get(JSON.stringify([row.device_id, row.role]))];
    if (then === undefined || (known !== undefined && known.grant === undefined)) continue;
    const subject = { deviceId: row.device_id, role: row.role };
    const left = known?.grant?.revokedAtMs === undefined ? known?.grant : undefined;
    const next = left === undefined ? undefined : toMet(then, left);
    if (next === undefined) {
      await changeGrant(tx, subject, { revoked_at_ms: nowMs });
      revoked.push(subject);
    } else if (next !== "same") {
      await changeGrant(tx, subject, { scopes: JSON.stringify(next.scopes), token_scopes: JSON.stringify(next.tokenScopes) });
      if (next.isNarrowed) narrowedGrants.push({ ...subject, scopes: next.scopes });
    }
  }
  return { revoked, narrowedGrants };
}

/** Undefined: nothing is left of it. A role that has no scopes is not less for it. */
function toMet(then: Grant, left: Grant) {
  const isNarrowed = !coversAll(left.scopes, then.scopes);
  if (!isNarrowed && coversAll(left.tokenScopes, then.tokenScopes)) return "same";
  const scopes = isNarrowed ? meet(then.scopes, left.scopes) : normaliseScopes(then.scopes);
  return scopes.length === 0 ? undefined : { isNarrowed, scopes, tokenScopes: meet(then.tokenScopes, left.tokenScopes) };
}

async function changeGrant(
  tx: Kysely<Database>,
  { deviceId, role }: { readonly deviceId: string; readonly role: string },
  columns: Partial<GrantRow>,
): Promise<void> {
  await tx.updateTable("device_grants").set(columns).where("device_id", "=", deviceId).where("role", "=", role).execute();
}

async function disableJobs(tx: Kysely<Database>, deviceId: string, reason: string): Promise<number> {
  return (await runAwaited(tx, disableJobsOf, { actsFor: `device:${deviceId}`, reason })).length;
}

export function appendRestored(
  tx: Kysely<Database>,
  { gatewayId, backupAtMs, ended }: { readonly gatewayId: string; readonly backupAtMs: number; readonly ended: Ended },
  nowMs: number,
): Promise<void> {
  return appendAudit(tx, { kind: "state.restored", actor: "host", subject: gatewayId, facts: { backupAtMs, ...ended } }, nowMs);
}
