/** Writing the audit table: append-only, each row hashed over the one before. */
import { createHash } from "node:crypto";
import type { Kysely } from "kysely";
import type { AuditTableRow, Database } from "./schema.ts";
import { type Args, row, type Sql, statement } from "./statement.ts";

export interface AuditEntry {
  readonly kind:
    | "device.paired"
    | "device.approved"
    | "device.bearer-issued"
    | "device.rejected"
    | "setup.issued"
    | "device.removed"
    | "device.token-rotated"
    | "device.token-revoked"
    | "runs.cancelled"
    | "device.elevation-ended"
    | "node.approved"
    | "node.rejected"
    | "node.removed"
    | "approval.decided"
    | "approval.used"
    | "run.spawned"
    | "run.started-as-owner"
    | "result.redelivered"
    | "result.dismissed"
    | "cron.added"
    | "cron.changed"
    | "cron.removed"
    | "cron.disabled"
    | "session.deleted"
    | "session.injected"
    | "session.reset"
    | "state.restored"
    | "config.changed"
    | "device.imported"
    | "state.imported";
  readonly actor: string;
  readonly subject: string;
  readonly facts: Readonly<Record<string, unknown>>;
}

/** What the first row follows from. */
export const firstHash = "0".repeat(64);

/** Appends in the transaction of what is audited: a grant that cannot be written down is not made. */
export async function appendAudit(tx: Kysely<Database>, entry: AuditEntry, nowMs: number): Promise<void> {
  const last = await tx.selectFrom("audit").select(["seq", "hash"]).orderBy("seq", "desc").limit(1).executeTakeFirst();
  await tx
    .insertInto("audit")
    .values(toRow(last, entry, nowMs))
    .execute();
}

/** The same in a transaction that never waits. */
export function writeAudit(sql: Sql, entry: AuditEntry, nowMs: number): void {
  sql.run(insertRow, toRow(sql.first(findLast, {}), entry, nowMs));
}

const findLast = statement((db, _arg: Args<object>) => db.selectFrom("audit").select(["seq", "hash"]).orderBy("seq", "desc").limit(1));

const insertRow = statement((db, arg: Args<AuditTableRow>) =>
  db
    .insertInto("audit")
    .values(row(arg, { seq: true, at_ms: true, kind: true, actor: true, subject: true, facts: true, prev_hash: true, hash: true })),
);

function toRow(last: Pick<AuditTableRow, "seq" | "hash"> | undefined, entry: AuditEntry, nowMs: number): AuditTableRow {
  const content = {
    seq: (last?.seq ?? 0) + 1,
    at_ms: nowMs,
    kind: entry.kind,
    actor: entry.actor,
    subject: entry.subject,
    facts: JSON.stringify(entry.facts),
    prev_hash: last?.hash ?? firstHash,
  };
  return { ...content, hash: hashOf(content) };
}

export function hashOf(row: Omit<AuditTableRow, "hash">): string {
  const content = JSON.stringify([row.seq, row.at_ms, row.kind, row.actor, row.subject, row.facts, row.prev_hash]);
  return createHash("sha256").update(content).digest("hex");
}
