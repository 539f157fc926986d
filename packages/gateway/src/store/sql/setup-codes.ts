/** Setup codes in SQL. */
import { covers, coversAll, meet, type SetupAccess } from "@portreeve/protocol";
import type { Kysely } from "kysely";
import type { Actor } from "../device-management.ts";
import type {
  IssueOutcome,
  SetupCodePresentation,
  SetupCodeStore,
  SetupCodeToIssue,
  SetupCompletion,
  SetupOutcome,
} from "../setup-codes.ts";
import { appendAudit } from "./audit.ts";
import { authorityOf } from "./device-management.ts";
import { findState } from "./device-rows.ts";
import { grant } from "./devices.ts";
import type { Database, SetupCodeRow } from "./schema.ts";
import type { WriteQueue } from "./write-queue.ts";

const keptAfterExpiryMs = 86_400_000;
const refusedCounter = "setup_codes_refused";

export function createSetupCodeStore(db: Kysely<Database>, queue: WriteQueue): SetupCodeStore {
  return {
    issue: (code, issuer, nowMs) => queue.write((tx) => issue(tx, code, issuer, nowMs)),
    isGood: async ({ tokenHash, publicKey }, nowMs) => (await whyNot(db, await findCode(db, tokenHash), publicKey, nowMs)) === undefined,

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

async function issue(tx: Kysely<Database>, code: SetupCodeToIssue, issuer: Actor, nowMs: number): Promise<IssueOutcome> {
  await tx
    .deleteFrom("setup_codes")
    .where("expires_at_ms", "<", nowMs - keptAfterExpiryMs)
    .execute();
  // What a code pairs, it pairs for good.
  const held = (await authorityOf(tx, issuer, nowMs))?.heldUntil(undefined);
  if (held === undefined) return { kind: "denied", rule: "the issuer is not paired any more" };
  const { setupId, role, expiresAtMs } = code;
  const scopes = meet(held, code.scopes);
  const beyond = needsOf(role, scopes).find((scope) => !covers(held, scope));
  if (beyond !== undefined) return { kind: "exceeds-issuer", scope: beyond };

  const access = role === "node" ? "node" : covers(scopes, "operator.admin") ? "full" : "limited";
  const unused = { bound_key: null, used_at_ms: null, device_id: null, device_name: null, heard_at_ms: null };
  const times = { created_at_ms: nowMs, expires_at_ms: expiresAtMs };
  const granted = { role, scopes: JSON.stringify(scopes), access, issued_by: issuer.id };
  await tx
    .insertInto("setup_codes")
    .values({ setup_id: setupId, token_hash: code.tokenHash, ...granted, ...times, ...unused })
    .execute();
  await appendAudit(tx, { kind: "setup.issued", actor: issuer.id, subject: setupId, facts: { role, scopes, expiresAtMs } }, nowMs);
  return { kind: "issued", scopes, access };
}

/** What whoever lets such a device in must hold for good. */
function needsOf(role: string, scopes: readonly string[]): readonly string[] {
  return role === "operator" ? scopes : [...scopes, "operator.admin"];
}

async function redeem(
  tx: Kysely<Database>,
  { tokenHash, device, role, scopes }: SetupCodePresentation,
  nowMs: number,
): Promise<SetupOutcome> {
  const row = await findCode(tx, tokenHash);
  const why = await whyNot(tx, row, device.publicKey, nowMs);
  if (row === undefined || why !== undefined) return { kind: "refused", why: why ?? "unknown" };
  await tx.updateTable("setup_codes").set({ bound_key: device.publicKey }).where("setup_id", "=", row.setup_id).execute();

  const granted = scopesOf(row);
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

async function whyNot(
  db: Kysely<Database>,
  row: SetupCodeRow | undefined,
  publicKey: string,
  nowMs: number,
): Promise<"unknown" | "used" | "expired" | "other-key" | "issuer" | undefined> {
  if (row === undefined) return "unknown";
  if (row.used_at_ms !== null) return "used";
  if (row.expires_at_ms <= nowMs) return "expired";
  if (row.bound_key !== null && row.bound_key !== publicKey) return "other-key";
  const needs = needsOf(row.role, scopesOf(row));
  const issuer = { id: row.issued_by, scopes: needs, deviceId: /^device:(.*)$/.exec(row.issued_by)?.[1], ownDeviceOnly: false };
  const held = (await authorityOf(db, issuer, nowMs))?.heldUntil(undefined);
  return held === undefined || !coversAll(held, needs) ? "issuer" : undefined;
}

function scopesOf(row: SetupCodeRow): readonly string[] {
  // Only this module writes the column.
  return JSON.parse(row.scopes) as readonly string[];
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
