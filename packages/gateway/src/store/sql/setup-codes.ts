/** Setup codes in SQL. */
import { coversAll, type SetupAccess } from "@portreeve/protocol";
import type { Kysely } from "kysely";
import type { SetupCodePresentation, SetupCodeStore, SetupCompletion, SetupOutcome } from "../setup-codes.ts";
import { appendAudit } from "./audit.ts";
import { findState } from "./device-rows.ts";
import { grant } from "./devices.ts";
import type { Database, SetupCodeRow } from "./schema.ts";
import type { WriteQueue } from "./write-queue.ts";

const keptAfterExpiryMs = 86_400_000;
const refusedCounter = "setup_codes_refused";

export function createSetupCodeStore(db: Kysely<Database>, queue: WriteQueue): SetupCodeStore {
  return {
    issue: (code, nowMs) =>
      queue.write(async (tx) => {
        await tx
          .deleteFrom("setup_codes")
          .where("expires_at_ms", "<", nowMs - keptAfterExpiryMs)
          .execute();
        const { setupId, role, scopes, access, issuedBy, expiresAtMs } = code;
        const unused = { bound_key: null, used_at_ms: null, device_id: null, device_name: null, heard_at_ms: null };
        const times = { created_at_ms: nowMs, expires_at_ms: expiresAtMs };
        await tx
          .insertInto("setup_codes")
          .values({
            setup_id: setupId,
            token_hash: code.tokenHash,
            role,
            scopes: JSON.stringify(scopes),
            access,
            issued_by: issuedBy,
            ...times,
            ...unused,
          })
          .execute();
        await appendAudit(tx, { kind: "setup.issued", actor: issuedBy, subject: setupId, facts: { role, scopes, expiresAtMs } }, nowMs);
      }),

    isGood: async ({ tokenHash, publicKey }, nowMs) => whyNot(await findCode(db, tokenHash), publicKey, nowMs) === undefined,

    async redeem(presentation, nowMs) {
      // Whoever guesses costs a read, not a write.
      const known = await findCode(db, presentation.tokenHash);
      return known === undefined ? { kind: "refused", why: "unknown" } : queue.write((tx) => redeem(tx, presentation, nowMs));
    },

    async status(setupId, nowMs) {
      const row = await db.selectFrom("setup_codes").selectAll().where("setup_id", "=", setupId).executeTakeFirst();
      if (row === undefined) return { state: "unknown" };
      const completion = toCompletion(row);
      if (completion !== undefined) return { state: "completed", completion, isHeard: await isHeard(db, row, completion) };
      return { state: row.expires_at_ms > nowMs ? "waiting" : "expired" };
    },

    markHeard: (setupId, nowMs) =>
      queue.write(async (tx) => {
        await tx.updateTable("setup_codes").set({ heard_at_ms: nowMs }).where("setup_id", "=", setupId).execute();
      }),

    countRefusal: () =>
      queue.write(async (tx) => {
        await tx
          .insertInto("counters")
          .values({ name: refusedCounter, value: 1 })
          .onConflict((conflict) => conflict.column("name").doUpdateSet((sql) => ({ value: sql("counters.value", "+", 1) })))
          .execute();
      }),
  };
}

async function redeem(
  tx: Kysely<Database>,
  { tokenHash, device, role, scopes }: SetupCodePresentation,
  nowMs: number,
): Promise<SetupOutcome> {
  const row = await findCode(tx, tokenHash);
  const why = whyNot(row, device.publicKey, nowMs);
  if (row === undefined || why !== undefined) return { kind: "refused", why: why ?? "unknown" };
  await tx.updateTable("setup_codes").set({ bound_key: device.publicKey }).where("setup_id", "=", row.setup_id).execute();

  // Only this module writes the column.
  const granted = JSON.parse(row.scopes) as readonly string[];
  if (role !== row.role || !coversAll(granted, scopes)) return { kind: "refused", why: "beyond" };
  if ((await findState(tx, device.deviceId, device.publicKey)).kind === "corrupt") return { kind: "corrupt" };

  const record = await grant(tx, { ...device, roles: [row.role], scopes: granted, approvedVia: "bootstrap" }, nowMs);
  const used = { used_at_ms: nowMs, device_id: device.deviceId, device_name: device.displayName ?? null };
  await tx.updateTable("setup_codes").set(used).where("setup_id", "=", row.setup_id).execute();
  await tx.deleteFrom("refused_keys").where("public_key", "=", device.publicKey).execute();
  const facts = { role: row.role, scopes: granted, setupId: row.setup_id, issuer: row.issued_by };
  await appendAudit(tx, { kind: "device.paired", actor: `device:${device.deviceId}`, subject: device.deviceId, facts }, nowMs);
  const completion = toCompletion({ ...row, ...used });
  if (completion === undefined) throw new Error(`setup code ${row.setup_id} was used and is not complete`);
  return { kind: "approved", device: record, completion, issuedBy: row.issued_by };
}

/** A device that was let in again since has been told by then. */
async function isHeard(db: Kysely<Database>, row: SetupCodeRow, { deviceId, ts }: SetupCompletion): Promise<boolean> {
  if (row.heard_at_ms !== null) return true;
  const again = db.selectFrom("devices").select("device_id").where("device_id", "=", deviceId).where("last_seen_at_ms", ">", ts);
  return (await again.executeTakeFirst()) !== undefined;
}

function findCode(db: Kysely<Database>, tokenHash: string): Promise<SetupCodeRow | undefined> {
  return db.selectFrom("setup_codes").selectAll().where("token_hash", "=", tokenHash).executeTakeFirst();
}

function whyNot(row: SetupCodeRow | undefined, publicKey: string, nowMs: number): "unknown" | "used" | "expired" | "other-key" | undefined {
  if (row === undefined) return "unknown";
  if (row.used_at_ms !== null) return "used";
  if (row.expires_at_ms <= nowMs) return "expired";
  return row.bound_key !== null && row.bound_key !== publicKey ? "other-key" : undefined;
}

function toCompletion(row: SetupCodeRow): SetupCompletion | undefined {
  if (row.used_at_ms === null || row.device_id === null) return undefined;
  return {
    setupId: row.setup_id,
    deviceId: row.device_id,
    deviceName: row.device_name ?? undefined,
    // Only this module writes the column, from the same union.
    access: row.access as SetupAccess,
    ts: row.used_at_ms,
  };
}
