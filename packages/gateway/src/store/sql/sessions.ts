/** Sessions in SQL. */
import type { Ids } from "../../kit/ids.ts";
import type { SessionView } from "../../principal/principal.ts";
import type { RunToAdmit } from "../admitting.ts";
import type { Lineage, SessionFilter, SessionRecord, SessionStore } from "../store.ts";
import { sql as raw, type Kysely } from "kysely";
import { compactSession, readView } from "./compactions.ts";
import { areAround, isAround } from "./lineage.ts";
import { findMessage, listMessages, messagesBetween, placeOf, readEnds } from "./messages.ts";
import { archiveChildren, listToCleanUp, openRunIn } from "./quiet-sessions.ts";
import type { Database, RunTableRow, SessionTableRow } from "./schema.ts";
import { readScopes } from "./run-rows.ts";
import { deleteSession, injectMessage, isMeant, resetSession } from "./session-endings.ts";
import { findSession, openStatuses } from "./session-rows.ts";
import { type Args, type Optional, row, shaped, type Sql, statement } from "./statement.ts";
import { limitsOf, readTerms, type StoredTerms, writeTerms } from "./terms.ts";
import type { WriteQueue } from "./write-queue.ts";

/** A longer page is not worth its memory. */
const longestRemembered = 200;

export function createSessionStore(queue: WriteQueue, ids: Ids): SessionStore {
  return {
    ...createSessionReads(queue),
    patch: (key, patch, nowMs) => queue.transact((sql) => patchSession(sql, ids, key, patch, nowMs)),
    reset: (key, reset, nowMs) =>
      queue.transact((sql) => {
        const done = resetSession(sql, ids, { key, meant: {}, ...reset }, nowMs);
        return "kind" in done ? done : { kind: "reset", session: toSessionRecord(sql, done) };
      }),
    delete: (key, by, nowMs, meant = {}) => queue.transact((sql) => deleteSession(sql, { key, by, meant }, nowMs)),
    inject: (key, message, { by, nowMs }) => queue.transact((sql) => injectMessage(sql, ids, { key, message, by }, nowMs)),
    compact: (key, compaction, nowMs) => queue.transact((sql) => compactSession(sql, key, compaction, nowMs)),
    archiveChildren: (beforeMs, nowMs) => queue.transact((sql) => archiveChildren(sql, beforeMs, nowMs)),
  };
}

function createSessionReads(
  queue: WriteQueue,
): Omit<SessionStore, "patch" | "reset" | "delete" | "inject" | "compact" | "archiveChildren"> {
  const remembering = queue.remembering<Awaited<ReturnType<SessionStore["list"]>>>();
  return {
    find: (key, view) => queue.read((sql) => toVisible(sql, findSession(sql, key), view)),
    findById: (sessionId, view) => queue.read((sql) => toVisible(sql, sql.first(bySessionId, { sessionId }), view)),
    list: (filter) => {
      const read = (sql: Sql) => listSessions(sql, filter);
      return filter.limit > longestRemembered ? queue.read(read) : remembering(JSON.stringify(filter), read);
    },
    view: (key) => queue.read((sql) => readView(sql, key)),
    listMessages: (key, page) => queue.read((sql) => listMessages(sql, key, page)),
    messagesBetween: (key, range) => queue.read((sql) => messagesBetween(sql, key, range)),
    findMessage: (key, messageId) => queue.read((sql) => findMessage(sql, key, messageId)),
    ends: (keys) => queue.read((sql) => readEnds(sql, keys)),
    placeOf: (key, said) => queue.read((sql) => placeOf(sql, key, said)),
    listToCleanUp: () => queue.read(listToCleanUp),
    listAttachmentIds: () =>
      queue.read((sql) => sql.all(listWithAttachments, {}).flatMap(({ terms }) => readTerms(terms).attachments?.id ?? [])),
    count: () => queue.read((sql) => sql.first(countSessions, {})?.n ?? 0),
    countByAgent: () => queue.read((sql) => new Map(sql.all(countSessionsByAgent, {}).map(({ agent_id, n }) => [agent_id, n]))),
  };
}

function listSessions(sql: Sql, filter: SessionFilter): Awaited<ReturnType<SessionStore["list"]>> {
  const { limit, offset } = filter;
  const conditions = toConditions(filter);
  // One more than asked for: after the last of them nothing need be counted.
  const page = { ...conditions, limit: limit + 1, offset };
  const rows = sql.all(pageOf(page), page);
  const isLast = rows.length <= limit && (rows.length > 0 || offset === 0);
  const total = isLast ? offset + rows.length : (sql.first(countOf(conditions), conditions)?.n ?? 0);
  return { sessions: rows.slice(0, limit).map((one) => toSessionRecord(sql, one)), total };
}

/** Inserts a session that belongs to nobody's tree but its own, unless `lineage` says otherwise. */
export function insertSession(
  sql: Sql,
  session: {
    key: string;
    agentId: string;
    createdBy: string;
    sessionId: string;
    label?: string | undefined;
    model?: string | undefined;
    lineage?: Lineage;
    cleanup?: "keep" | "delete";
    terms?: StoredTerms;
  },
  nowMs: number,
): SessionTableRow {
  const inserted: SessionTableRow = {
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
      : toLineageColumns(sql, session.lineage)),
    cleanup: session.cleanup ?? "keep",
    terms: writeTerms(session.terms ?? {}),
  };
  sql.run(insertRow, inserted);
  return inserted;
}

/** The session with what is given; that it was touched is written by whoever does something in it. */
export function changeSession(sql: Sql, session: SessionTableRow, change: NonNullable<RunToAdmit["session"]> = {}): SessionTableRow {
  const [label, model] = [change.label ?? session.label, change.model ?? session.model];
  if (label === session.label && model === session.model) return session;
  sql.run(updateSession, { key: session.session_key, label, model });
  return { ...session, label, model };
}

export function toSessionRecord(sql: Sql, session: SessionTableRow): SessionRecord {
  const key = session.session_key;
  const newest = sql.first(newestRun, { key });
  return {
    key,
    sessionId: session.session_id,
    agentId: session.agent_id,
    label: session.label ?? undefined,
    model: session.model ?? undefined,
    createdAtMs: session.created_at_ms,
    updatedAtMs: session.updated_at_ms,
    archivedAtMs: session.archived_at_ms ?? undefined,
    createdBy: session.created_by,
    limits: limitsOf(readTerms(session.terms)),
    rootKey: session.root_key,
    parentKey: session.parent_key ?? undefined,
    depth: session.depth,
    role: session.role,
    newestRun: newest === undefined ? undefined : toNewestRun(newest),
    activeRunIds: newest === undefined ? [] : sql.all(activeRuns, { key }).map((run) => run.wire_id),
  };
}

function toNewestRun(
  run: Pick<RunTableRow, "wire_id" | "status" | "scopes" | "started_at_ms" | "ended_at_ms">,
): NonNullable<SessionRecord["newestRun"]> {
  return {
    runId: run.wire_id,
    status: run.status,
    scopes: readScopes(run.scopes),
    startedAtMs: run.started_at_ms ?? undefined,
    endedAtMs: run.ended_at_ms ?? undefined,
  };
}

/** A session that whoever asks may not see is not there. */
function toVisible(sql: Sql, found: SessionTableRow | undefined, view: SessionView = {}): SessionRecord | undefined {
  if (found === undefined || !isInView(sql, found, view)) return undefined;
  return toSessionRecord(sql, found);
}

function isInView(sql: Sql, session: SessionTableRow, { key, rootKey, around, agentId }: SessionView): boolean {
  return (
    (key ?? session.session_key) === session.session_key &&
    (rootKey ?? session.root_key) === session.root_key &&
    (around === undefined || isAround(sql, session.session_key, around)) &&
    (agentId ?? session.agent_id) === session.agent_id
  );
}

function patchSession(
  sql: Sql,
  ids: Ids,
  key: string,
  patch: Parameters<SessionStore["patch"]>[1],
  nowMs: number,
): Awaited<ReturnType<SessionStore["patch"]>> {
  const before = findSession(sql, key);
  if (patch.meant !== undefined && (before === undefined || !isMeant(before, patch.meant))) return { kind: "other" };
  if (patch.lineage !== undefined && before !== undefined && before.parent_key !== null) return { kind: "lineage-fixed" };
  const found = before ?? insertSession(sql, { key, agentId: patch.agentId, createdBy: patch.by, sessionId: ids.orderedUuid() }, nowMs);
  const changed: SessionTableRow = {
    ...found,
    ...(patch.label === undefined ? {} : { label: patch.label }),
    ...(patch.model === undefined ? {} : { model: patch.model }),
    ...(patch.archived === undefined ? {} : { archived_at_ms: patch.archived ? nowMs : null }),
    ...(patch.lineage === undefined ? {} : toLineageColumns(sql, patch.lineage)),
    updated_at_ms: nowMs,
  };
  sql.query((db) => db.updateTable("sessions").set(changed).where("session_key", "=", key));
  return { kind: "patched", session: toSessionRecord(sql, changed), created: before === undefined };
}

function toLineageColumns(sql: Sql, lineage: Lineage) {
  const parent = findSession(sql, lineage.parentKey);
  return { root_key: parent?.root_key ?? lineage.parentKey, parent_key: lineage.parentKey, depth: lineage.depth, role: lineage.role };
}

// ---- statements

const bySessionId = statement((db, arg: Args<{ sessionId: string }>) =>
  db.selectFrom("sessions").selectAll().where("session_id", "=", arg("sessionId")),
);

const countSessions = statement((db, _arg: Args<object>) =>
  db.selectFrom("sessions").select((build) => build.fn.countAll<number>().as("n")),
);

const countSessionsByAgent = statement((db, _arg: Args<object>) =>
  db
    .selectFrom("sessions")
    .select((build) => ["agent_id", build.fn.countAll<number>().as("n")])
    .groupBy("agent_id"),
);

const insertRow = statement((db, arg: Args<SessionTableRow>) =>
  db.insertInto("sessions").values(
    row(arg, {
      session_key: true,
      session_id: true,
      agent_id: true,
      label: true,
      model: true,
      created_at_ms: true,
      updated_at_ms: true,
      archived_at_ms: true,
      created_by: true,
      root_key: true,
      parent_key: true,
      depth: true,
      role: true,
      cleanup: true,
      terms: true,
    }),
  ),
);

const updateSession = statement((db, arg: Args<{ key: string; label: string | null; model: string | null }>) =>
  db
    .updateTable("sessions")
    .set({ label: arg("label"), model: arg("model") })
    .where("session_key", "=", arg("key")),
);

const newestRun = statement((db, arg: Args<{ key: string }>) =>
  db
    .selectFrom("runs")
    .select(["wire_id", "status", "scopes", "started_at_ms", "ended_at_ms"])
    .where("session_key", "=", arg("key"))
    .orderBy("created_at_ms", "desc")
    .orderBy("run_id", "desc")
    .limit(1),
);

const activeRuns = statement((db, arg: Args<{ key: string }>) =>
  db
    .selectFrom("runs")
    .select("wire_id")
    .where("session_key", "=", arg("key"))
    .where("status", "in", openStatuses)
    .orderBy("created_at_ms"),
);

const listWithAttachments = statement((db, _arg: Args<object>) =>
  db
    .selectFrom("sessions")
    .select("terms")
    .where("terms", "like", '%"attachments"%')
    .where((build) => build.or([build("archived_at_ms", "is", null), build.exists(openRunIn(build))])),
);

/** What a listing may ask for; the flags only say that they are there. */
interface Conditions {
  readonly key: string;
  readonly rootKey: string;
  readonly around: string;
  readonly viewedAgentId: string;
  readonly parentKey: string;
  readonly agentId: string;
  readonly label: string;
  readonly updatedSinceMs: number;
  readonly pattern: string;
  readonly isTopLevel: true;
  readonly isNoJobs: true;
  readonly isArchived: true;
  readonly isCurrent: true;
}

function toConditions({ view = {}, search = "", excludeChildren, excludeJobs, archived, ...filter }: SessionFilter): Optional<Conditions> {
  return {
    key: view.key,
    rootKey: view.rootKey,
    around: view.around,
    viewedAgentId: view.agentId,
    parentKey: filter.parentKey,
    agentId: filter.agentId,
    label: filter.label,
    updatedSinceMs: filter.updatedSinceMs,
    pattern: search === "" ? undefined : `%${search.replace(/[%_\\]/g, "\\$&")}%`,
    isTopLevel: excludeChildren === true ? true : undefined,
    isNoJobs: excludeJobs === true ? true : undefined,
    isArchived: archived === true ? true : undefined,
    isCurrent: archived === false ? true : undefined,
  };
}

const pageOf = shaped((db, arg: Args<Conditions & { limit: number; offset: number }>, has) =>
  select(db, arg, has).selectAll().orderBy("updated_at_ms", "desc").orderBy("session_key").limit(arg("limit")).offset(arg("offset")),
);

const countOf = shaped((db, arg: Args<Conditions>, has) => select(db, arg, has).select((build) => build.fn.countAll<number>().as("n")));

function select(db: Kysely<Database>, arg: Args<Conditions>, has: (name: keyof Conditions) => boolean) {
  return db
    .selectFrom("sessions")
    .$if(has("key"), (query) => query.where("session_key", "=", arg("key")))
    .$if(has("rootKey"), (query) => query.where("root_key", "=", arg("rootKey")))
    .$if(has("around"), (query) => query.where((build) => areAround(build, db, arg("around"))))
    .$if(has("viewedAgentId"), (query) => query.where("agent_id", "=", arg("viewedAgentId")))
    .$if(has("parentKey"), (query) => query.where("parent_key", "=", arg("parentKey")))
    .$if(has("agentId"), (query) => query.where("agent_id", "=", arg("agentId")))
    .$if(has("label"), (query) => query.where("label", "=", arg("label")))
    .$if(has("updatedSinceMs"), (query) => query.where("updated_at_ms", ">=", arg("updatedSinceMs")))
    .$if(has("isNoJobs"), (query) => query.where("session_key", "not like", "agent:%:cron:%"))
    .$if(has("isTopLevel"), (query) => query.where("parent_key", "is", null))
    .$if(has("isArchived"), (query) => query.where("archived_at_ms", "is not", null))
    .$if(has("isCurrent"), (query) => query.where("archived_at_ms", "is", null))
    .$if(has("pattern"), (query) =>
      query.where(raw<boolean>`(session_key like ${arg("pattern")} escape '\\' or label like ${arg("pattern")} escape '\\')`),
    );
}
