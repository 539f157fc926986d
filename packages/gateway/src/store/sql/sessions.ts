/** Sessions and their transcripts in SQL. */
import type { Message } from "@portreeve/protocol";
import { type ExpressionBuilder, type Kysely, sql } from "kysely";
import type { Ids } from "../../kit/ids.ts";
import type { Lineage, SessionFilter, SessionRecord, SessionStore, TranscriptMessage } from "../store.ts";
import { appendAudit } from "./audit.ts";
import type { Database, SessionTableRow } from "./schema.ts";
import type { WriteQueue } from "./write-queue.ts";

/** Statuses of a run that has not ended. */
export const openStatuses = ["queued", "running", "waiting"] as const;

export function createSessionStore(db: Kysely<Database>, queue: WriteQueue, ids: Ids): SessionStore {
  return {
    ...createSessionReads(db),
    patch: (key, patch, nowMs) => queue.write((tx) => patchSession(tx, ids, key, patch, nowMs)),
    delete: (key, by, nowMs) => queue.write((tx) => deleteSession(tx, key, by, nowMs)),
    archiveChildren: (beforeMs, nowMs) => queue.write((tx) => archiveChildren(tx, beforeMs, nowMs)),
  };
}

function createSessionReads(db: Kysely<Database>): Omit<SessionStore, "patch" | "delete" | "archiveChildren"> {
  return {
    async find(key, rootKey) {
      const row = await db.selectFrom("sessions").selectAll().where("session_key", "=", key).executeTakeFirst();
      return row === undefined || isHidden(row, rootKey) ? undefined : readSession(db, row);
    },

    async findById(sessionId, rootKey) {
      const row = await db.selectFrom("sessions").selectAll().where("session_id", "=", sessionId).executeTakeFirst();
      return row === undefined || isHidden(row, rootKey) ? undefined : readSession(db, row);
    },

    async list(filter) {
      const matching = select(db, filter);
      const total = await matching.select((build) => build.fn.countAll<number>().as("n")).executeTakeFirstOrThrow();
      const rows = await matching
        .selectAll()
        .orderBy("updated_at_ms", "desc")
        .orderBy("session_key")
        .limit(filter.limit)
        .offset(filter.offset)
        .execute();
      return { sessions: await Promise.all(rows.map((row) => readSession(db, row))), total: total.n };
    },

    async listMessages(key, page) {
      const total = await db
        .selectFrom("messages")
        .select((build) => build.fn.countAll<number>().as("n"))
        .where("session_key", "=", key)
        .executeTakeFirstOrThrow();
      const rows = await db
        .selectFrom("messages")
        .selectAll()
        .where("session_key", "=", key)
        .orderBy("seq", "desc")
        .limit(page.limit)
        .offset(page.offset)
        .execute();
      const messages = rows
        .reverse()
        .map(
          (row) => ({ ...(JSON.parse(row.body) as TranscriptMessage), __openclaw: { id: row.message_id, seq: row.seq } }) satisfies Message,
        );
      return { messages, total: total.n };
    },

    listToCleanUp: () => listToCleanUp(db),

    async count() {
      const counted = await db
        .selectFrom("sessions")
        .select((build) => build.fn.countAll<number>().as("n"))
        .executeTakeFirstOrThrow();
      return counted.n;
    },
  };
}

async function patchSession(
  tx: Kysely<Database>,
  ids: Ids,
  key: string,
  patch: Parameters<SessionStore["patch"]>[1],
  nowMs: number,
): ReturnType<SessionStore["patch"]> {
  const before = await tx.selectFrom("sessions").selectAll().where("session_key", "=", key).executeTakeFirst();
  if (patch.lineage !== undefined && before !== undefined && before.parent_key !== null) return { kind: "lineage-fixed" };
  const created = before === undefined;
  const row = before ?? (await insertSession(tx, { key, agentId: patch.agentId, createdBy: patch.by, sessionId: ids.uuid() }, nowMs));
  const changed = {
    ...(patch.label === undefined ? {} : { label: patch.label }),
    ...(patch.model === undefined ? {} : { model: patch.model }),
    ...(patch.archived === undefined ? {} : { archived_at_ms: patch.archived ? nowMs : null }),
    ...(patch.lineage === undefined ? {} : await toLineageColumns(tx, patch.lineage)),
    updated_at_ms: nowMs,
  };
  await tx.updateTable("sessions").set(changed).where("session_key", "=", key).execute();
  return { kind: "patched", session: await readSession(tx, { ...row, ...changed }), created };
}

async function deleteSession(tx: Kysely<Database>, key: string, by: string, nowMs: number): ReturnType<SessionStore["delete"]> {
  const open = await tx
    .selectFrom("runs")
    .select("run_id")
    .where("session_key", "=", key)
    .where("status", "in", openStatuses)
    .executeTakeFirst();
  if (open !== undefined) return "busy";
  const deleted = await tx.deleteFrom("sessions").where("session_key", "=", key).executeTakeFirst();
  if (deleted.numDeletedRows === 0n) return "missing";
  await appendAudit(tx, { kind: "session.deleted", actor: by, subject: key, facts: {} }, nowMs);
  return "deleted";
}

async function archiveChildren(tx: Kysely<Database>, beforeMs: number, nowMs: number): Promise<readonly string[]> {
  const rows = await tx
    .updateTable("sessions")
    .set({ archived_at_ms: nowMs })
    .where("parent_key", "is not", null)
    .where("archived_at_ms", "is", null)
    .where("updated_at_ms", "<=", beforeMs)
    .where((build) => build.not(build.exists(openRunIn(build))))
    .returning("session_key")
    .execute();
  return rows.map((row) => row.session_key);
}

/** A run of the session at hand that has not ended. */
function openRunIn(build: ExpressionBuilder<Database, "sessions">) {
  return build
    .selectFrom("runs")
    .select("run_id")
    .whereRef("runs.session_key", "=", "sessions.session_key")
    .where("status", "in", openStatuses);
}

/** A child's session is cleaned up when its result was read and nothing runs in it. */
async function listToCleanUp(db: Kysely<Database>): Promise<readonly string[]> {
  const rows = await db
    .selectFrom("sessions")
    .select("session_key")
    .where("cleanup", "=", "delete")
    .where("parent_key", "is not", null)
    .where((build) =>
      build.exists(
        build
          .selectFrom("runs")
          .innerJoin("inbox", "inbox.child_run_id", "runs.run_id")
          .select("run_id")
          .whereRef("runs.session_key", "=", "sessions.session_key")
          .where("consumed_at_ms", "is not", null),
      ),
    )
    .where((build) => build.not(build.exists(openRunIn(build))))
    .execute();
  return rows.map((row) => row.session_key);
}

/** Inserts a session that belongs to nobody's tree but its own, unless `lineage` says otherwise. */
export async function insertSession(
  tx: Kysely<Database>,
  session: {
    key: string;
    agentId: string;
    createdBy: string;
    sessionId: string;
    label?: string | undefined;
    model?: string | undefined;
    lineage?: Lineage;
    cleanup?: "keep" | "delete";
  },
  nowMs: number,
): Promise<SessionTableRow> {
  const row: SessionTableRow = {
    session_key: session.key,
    session_id: session.sessionId,
    agent_id: session.agentId,
    label: session.label ?? null,
    model: session.model ?? null,
    created_at_ms: nowMs,
    updated_at_ms: nowMs,
    archived_at_ms: null,
    created_by: session.createdBy,
    ...(session.lineage === undefined
      ? { root_key: session.key, parent_key: null, depth: 0, role: "main" }
      : await toLineageColumns(tx, session.lineage)),
    cleanup: session.cleanup ?? "keep",
  };
  await tx.insertInto("sessions").values(row).execute();
  return row;
}

/** Appends to the transcript and marks the session as changed. */
export async function appendMessages(
  tx: Kysely<Database>,
  key: string,
  messages: readonly TranscriptMessage[],
  ids: Ids,
  nowMs: number,
): Promise<void> {
  await tx.updateTable("sessions").set({ updated_at_ms: nowMs }).where("session_key", "=", key).execute();
  if (messages.length === 0) return;
  const last = await tx
    .selectFrom("messages")
    .select("seq")
    .where("session_key", "=", key)
    .orderBy("seq", "desc")
    .limit(1)
    .executeTakeFirst();
  const first = (last?.seq ?? 0) + 1;
  await tx
    .insertInto("messages")
    .values(
      messages.map((message, index) => ({
        message_id: ids.next("msg"),
        session_key: key,
        seq: first + index,
        body: JSON.stringify(message),
      })),
    )
    .execute();
}

export async function readSession(db: Kysely<Database>, row: SessionTableRow): Promise<SessionRecord> {
  const newest = await db
    .selectFrom("runs")
    .select(["wire_id", "status", "scopes", "started_at_ms", "ended_at_ms"])
    .where("session_key", "=", row.session_key)
    .orderBy("created_at_ms", "desc")
    .orderBy("run_id", "desc")
    .limit(1)
    .executeTakeFirst();
  const active = await db
    .selectFrom("runs")
    .select("wire_id")
    .where("session_key", "=", row.session_key)
    .where("status", "in", openStatuses)
    .orderBy("created_at_ms")
    .execute();
  return {
    key: row.session_key,
    sessionId: row.session_id,
    agentId: row.agent_id,
    label: row.label ?? undefined,
    model: row.model ?? undefined,
    createdAtMs: row.created_at_ms,
    updatedAtMs: row.updated_at_ms,
    archivedAtMs: row.archived_at_ms ?? undefined,
    createdBy: row.created_by,
    rootKey: row.root_key,
    parentKey: row.parent_key ?? undefined,
    depth: row.depth,
    role: row.role,
    newestRun:
      newest === undefined
        ? undefined
        : {
            runId: newest.wire_id,
            status: newest.status,
            scopes: JSON.parse(newest.scopes) as string[],
            startedAtMs: newest.started_at_ms ?? undefined,
            endedAtMs: newest.ended_at_ms ?? undefined,
          },
    activeRunIds: active.map((run) => run.wire_id),
  };
}

/** A session of another tree is not there for whoever sees only one. */
function isHidden(row: SessionTableRow, rootKey: string | undefined): boolean {
  return rootKey !== undefined && row.root_key !== rootKey;
}

async function toLineageColumns(tx: Kysely<Database>, lineage: Lineage) {
  const parent = await tx.selectFrom("sessions").select("root_key").where("session_key", "=", lineage.parentKey).executeTakeFirst();
  return { root_key: parent?.root_key ?? lineage.parentKey, parent_key: lineage.parentKey, depth: lineage.depth, role: lineage.role };
}

function select(db: Kysely<Database>, filter: SessionFilter) {
  const pattern = filter.search === undefined || filter.search === "" ? undefined : `%${filter.search.replace(/[%_\\]/g, "\\$&")}%`;
  return db
    .selectFrom("sessions")
    .$if(filter.rootKey !== undefined, (query) => query.where("root_key", "=", filter.rootKey ?? ""))
    .$if(filter.parentKey !== undefined, (query) => query.where("parent_key", "=", filter.parentKey ?? ""))
    .$if(filter.agentId !== undefined, (query) => query.where("agent_id", "=", filter.agentId ?? ""))
    .$if(filter.label !== undefined, (query) => query.where("label", "=", filter.label ?? ""))
    .$if(filter.updatedSinceMs !== undefined, (query) => query.where("updated_at_ms", ">=", filter.updatedSinceMs ?? 0))
    .$if(filter.excludeChildren === true, (query) => query.where("parent_key", "is", null))
    .$if(filter.archived !== "all", (query) => query.where("archived_at_ms", filter.archived === true ? "is not" : "is", null))
    .$if(pattern !== undefined, (query) =>
      query.where(sql<boolean>`(session_key like ${pattern} escape '\\' or label like ${pattern} escape '\\')`),
    );
}
