/** Imports in SQL. */
import { createHash } from "node:crypto";
import type { Kysely } from "kysely";
import type { Ids } from "../../kit/ids.ts";
import { cronBounds } from "../cron-store.ts";
import type { ImportStore, SessionToImport } from "../importing.ts";
import { appendAudit, writeAudit } from "./audit.ts";
import { findJob, toJobColumns, writeJob } from "./cron-rows.ts";
import { findState } from "./device-rows.ts";
import { grant } from "./devices.ts";
import { appendMessages } from "./messages.ts";
import type { Database } from "./schema.ts";
import { findSession } from "./session-rows.ts";
import { insertSession } from "./sessions.ts";
import { type Args, type Sql, statement } from "./statement.ts";
import type { WriteQueue } from "./write-queue.ts";

/** Whoever may write the state folder. */
const host = "host";

export function createImportStore(queue: WriteQueue, ids: Ids): ImportStore {
  return {
    device: (device, from, nowMs) => queue.write((tx) => importDevice(tx, { device, from }, nowMs)),
    session: (session) => queue.transact((sql) => importSession(sql, ids, session)),
    hasSession: (key) => queue.read((sql) => findSession(sql, key) !== undefined),
    job: (job, sourceId, nowMs) =>
      queue.transact((sql) => {
        const jobId = `cron_${createHash("sha256").update(`import|${sourceId}`).digest("hex").slice(0, 33)}`;
        if (findJob(sql, jobId) !== undefined) return { kind: "exists" };
        if ((sql.first(countJobs, {})?.n ?? 0) >= cronBounds.jobs) return { kind: "too-many" };
        const times = { created_at_ms: nowMs, updated_at_ms: nowMs };
        writeJob(sql, {
          ...toJobColumns(job),
          job_id: jobId,
          ...times,
          fired: 0,
          last_seq: null,
          disabled_reason: null,
          own_run_id: null,
          last_run_seq: null,
        });
        writeAudit(sql, { kind: "cron.added", actor: host, subject: jobId, facts: { name: job.spec.name, enabled: job.enabled } }, nowMs);
        return { kind: "imported", jobId };
      }),
    record: (from, counts, nowMs) =>
      queue.transact((sql) => writeAudit(sql, { kind: "state.imported", actor: host, subject: from, facts: counts }, nowMs)),
  };
}

async function importDevice(
  tx: Kysely<Database>,
  { device, from }: { readonly device: Parameters<ImportStore["device"]>[0]; readonly from: string },
  nowMs: number,
): ReturnType<ImportStore["device"]> {
  const state = await findState(tx, device.deviceId, device.publicKey);
  if (state.kind !== "unknown") return "paired";
  if (state.refused) return "refused";
  if (state.pending !== undefined && state.pending.expiresAtMs > nowMs) return "waiting";
  await grant(tx, { ...device, approvedVia: "owner" }, nowMs);
  const facts = { roles: device.roles, scopes: device.scopes, from };
  await appendAudit(tx, { kind: "device.imported", actor: host, subject: device.deviceId, facts }, nowMs);
  return "imported";
}

function importSession(sql: Sql, ids: Ids, session: SessionToImport): "imported" | "exists" {
  const { key, agentId, label, model, createdAtMs, updatedAtMs, archivedAtMs, messages } = session;
  if (findSession(sql, key) !== undefined) return "exists";
  const sessionId = sql.first(bySessionId, { sessionId: session.sessionId }) === undefined ? session.sessionId : ids.orderedUuid();
  insertSession(sql, { key, agentId, createdBy: host, sessionId, label, model }, createdAtMs);
  appendMessages(sql, key, messages, ids, updatedAtMs);
  sql.query((db) =>
    db
      .updateTable("sessions")
      .set({ updated_at_ms: updatedAtMs, archived_at_ms: archivedAtMs ?? null })
      .where("session_key", "=", key),
  );
  return "imported";
}

const bySessionId = statement((db, arg: Args<{ sessionId: string }>) =>
  db.selectFrom("sessions").select("session_key").where("session_id", "=", arg("sessionId")),
);

const countJobs = statement((db, _arg: Args<object>) => db.selectFrom("cron_jobs").select((build) => build.fn.countAll<number>().as("n")));
