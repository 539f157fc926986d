/** What ends when a database goes back in time, in SQL. */
import type { Kysely } from "kysely";
import { appendAudit } from "./audit.ts";
import type { Database } from "./schema.ts";

/** What was taken from whom after the backup, as far as the state that is replaced still knows. */
export interface SinceThen {
  readonly pairedIds: readonly string[];
  readonly revoked: readonly { readonly deviceId: string; readonly role: string }[];
  readonly refusedKeys: readonly string[];
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
}

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

/** Removed, revoked and refused stays so. */
export async function takeOver(
  tx: Kysely<Database>,
  since: SinceThen | undefined,
  nowMs: number,
): Promise<Pick<Ended, "removedDevices" | "revokedGrants">> {
  if (since === undefined) return { removedDevices: [], revokedGrants: 0 };
  const paired = new Set(since.pairedIds);
  const rows = await tx.selectFrom("devices").select("device_id").orderBy("device_id").execute();
  const removedDevices = rows.map((row) => row.device_id).filter((id) => !paired.has(id));
  for (const id of removedDevices) {
    await tx.deleteFrom("devices").where("device_id", "=", id).execute();
    await tx.deleteFrom("nodes").where("node_id", "=", id).execute();
    await tx.deleteFrom("node_work").where("node_id", "=", id).execute();
  }
  let revokedGrants = 0;
  for (const { deviceId, role } of since.revoked) {
    const revoked = await tx
      .updateTable("device_grants")
      .set({ revoked_at_ms: nowMs })
      .where("device_id", "=", deviceId)
      .where("role", "=", role)
      .where("revoked_at_ms", "is", null)
      .executeTakeFirst();
    revokedGrants += Number(revoked.numUpdatedRows);
  }
  for (const publicKey of since.refusedKeys) {
    await tx
      .insertInto("refused_keys")
      .values({ public_key: publicKey, refused_at_ms: nowMs })
      .onConflict((conflict) => conflict.doNothing())
      .execute();
  }
  return { removedDevices, revokedGrants };
}

export function appendRestored(
  tx: Kysely<Database>,
  { gatewayId, backupAtMs, ended }: { readonly gatewayId: string; readonly backupAtMs: number; readonly ended: Ended },
  nowMs: number,
): Promise<void> {
  return appendAudit(tx, { kind: "state.restored", actor: "host", subject: gatewayId, facts: { backupAtMs, ...ended } }, nowMs);
}
