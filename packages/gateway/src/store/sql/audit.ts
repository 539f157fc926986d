/** The audit table: append-only, each row hashed over the one before. */
import { createHash } from "node:crypto";
import type { Kysely } from "kysely";
import type { AuditRow, AuditStore } from "../store.ts";
import type { AuditTableRow, Database } from "./schema.ts";

export interface AuditEntry {
  readonly kind:
    | "device.paired"
    | "device.approved"
    | "device.rejected"
    | "device.removed"
    | "device.token-rotated"
    | "device.token-revoked"
    | "device.elevation-ended"
    | "node.approved"
    | "node.rejected"
    | "node.removed"
    | "run.spawned"
    | "run.started-as-owner"
    | "session.deleted";
  readonly actor: string;
  readonly subject: string;
  readonly facts: Readonly<Record<string, unknown>>;
}

const firstHash = "0".repeat(64);

/** Appends in the transaction of what is audited: a grant that cannot be written down is not made. */
export async function appendAudit(tx: Kysely<Database>, entry: AuditEntry, nowMs: number): Promise<void> {
  const last = await tx.selectFrom("audit").select(["seq", "hash"]).orderBy("seq", "desc").limit(1).executeTakeFirst();
  const row = {
    seq: (last?.seq ?? 0) + 1,
    at_ms: nowMs,
    kind: entry.kind,
    actor: entry.actor,
    subject: entry.subject,
    facts: JSON.stringify(entry.facts),
    prev_hash: last?.hash ?? firstHash,
  };
  await tx
    .insertInto("audit")
    .values({ ...row, hash: hashOf(row) })
    .execute();
}

export function createAuditStore(db: Kysely<Database>): AuditStore {
  return {
    async list(limit) {
      const rows = await db.selectFrom("audit").selectAll().orderBy("seq", "desc").limit(limit).execute();
      return rows.reverse().map(toAuditRow);
    },
    async findBreak() {
      let previous = { seq: 0, hash: firstHash };
      for (const row of await db.selectFrom("audit").selectAll().orderBy("seq").execute()) {
        if (row.seq !== previous.seq + 1 || row.prev_hash !== previous.hash || row.hash !== hashOf(row)) return row.seq;
        previous = row;
      }
      return undefined;
    },
  };
}

function hashOf(row: Omit<AuditTableRow, "hash">): string {
  const content = JSON.stringify([row.seq, row.at_ms, row.kind, row.actor, row.subject, row.facts, row.prev_hash]);
  return createHash("sha256").update(content).digest("hex");
}

function toAuditRow(row: AuditTableRow): AuditRow {
  const { seq, kind, actor, subject, hash } = row;
  return { seq, atMs: row.at_ms, kind, actor, subject, facts: JSON.parse(row.facts) as Record<string, unknown>, hash };
}
