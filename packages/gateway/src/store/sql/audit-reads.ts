/** Reading the audit table: pages of it, and whether the chain holds. */
import { isRecord } from "@portreeve/protocol";
import type { Kysely } from "kysely";
import type { AuditRow, AuditStore, BreakReason, ChainVerdict } from "../audit-store.ts";
import { firstHash, hashOf } from "./audit.ts";
import { toPairingRecord } from "./device-rows.ts";
import type { AuditTableRow, Database } from "./schema.ts";

export function createAuditStore(db: Kysely<Database>): AuditStore {
  return {
    async list(limit, { beforeSeq, kind, subject } = {}) {
      const rows = await db
        .selectFrom("audit")
        .selectAll()
        .$if(beforeSeq !== undefined, (query) => query.where("seq", "<", beforeSeq ?? 0))
        .$if(kind !== undefined, (query) => query.where("kind", "=", kind ?? ""))
        .$if(subject !== undefined, (query) => query.where("subject", "=", subject ?? ""))
        .orderBy("seq", "desc")
        .limit(limit)
        .execute();
      return rows.reverse().map(toAuditRow);
    },
    verify: () => verifyChain(db),
    findBreak: async () => (await verifyChain(db)).firstBreak?.seq,
    async findRequest(requestId) {
      const row = await db.selectFrom("pairing_requests").selectAll().where("request_id", "=", requestId).executeTakeFirst();
      return row === undefined ? undefined : { request: toPairingRecord(row), state: row.state };
    },
    findIds: (part, limit) => findIds(db, part, limit),
  };
}

async function findIds(db: Kysely<Database>, part: string, limit: number): Promise<readonly string[]> {
  // No id has a character as high.
  const end = `${part}\uffff`;
  const found = await Promise.all([
    db
      .selectFrom("audit")
      .select("subject as id")
      .distinct()
      .where("subject", ">=", part)
      .where("subject", "<", end)
      .orderBy("subject")
      .limit(limit)
      .execute(),
    db.selectFrom("devices").select("device_id as id").where("device_id", ">=", part).where("device_id", "<", end).limit(limit).execute(),
    db
      .selectFrom("pairing_requests")
      .select("request_id as id")
      .where("request_id", ">=", part)
      .where("request_id", "<", end)
      .limit(limit)
      .execute(),
    db.selectFrom("runs").select("run_id as id").where("run_id", ">=", part).where("run_id", "<", end).limit(limit).execute(),
    db
      .selectFrom("runs")
      .select("run_id as id")
      .where((build) => build(build.fn<string>("substr", ["run_id", build.val(-part.length)]), "=", part))
      .limit(limit)
      .execute(),
  ]);
  return [...new Set(found.flat().map(({ id }) => id))].toSorted().slice(0, limit);
}

const rowsAtOnce = 500;

/** In parts, with the event loop's other work in between: a chain may be long, and nobody else waits for it. */
async function verifyChain(db: Kysely<Database>): Promise<ChainVerdict> {
  let last: ChainVerdict["head"];
  let rows = 0;
  for (;;) {
    const part = await db
      .selectFrom("audit")
      .selectAll()
      .$if(last !== undefined, (query) => query.where("seq", ">", last?.seq ?? 0))
      .orderBy("seq")
      .limit(rowsAtOnce)
      .execute();
    for (const row of part) {
      const reason = findReason(last, row);
      if (reason !== undefined) return { rows, head: last, firstBreak: { seq: row.seq, reason } };
      last = { seq: row.seq, hash: row.hash };
      rows += 1;
    }
    if (part.length < rowsAtOnce) return { rows, head: last, firstBreak: undefined };
    await new Promise(setImmediate);
  }
}

/** Why `row` does not follow from the one before it, or undefined. Pure. */
function findReason(before: ChainVerdict["head"], row: AuditTableRow): BreakReason | undefined {
  if (row.seq !== (before?.seq ?? 0) + 1) return "missing-rows";
  if (row.prev_hash !== (before?.hash ?? firstHash)) return "broken-link";
  return row.hash === hashOf(row) ? undefined : "changed-row";
}

function toAuditRow(row: AuditTableRow): AuditRow {
  const { seq, kind, actor, subject, hash } = row;
  const stored = { factsText: row.facts, prevHash: row.prev_hash, hash };
  return { seq, atMs: row.at_ms, kind, actor, subject, facts: parseFacts(row.facts), ...stored };
}

function parseFacts(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    return isRecord(value) ? value : {};
  } catch {
    return {};
  }
}
