/** What a health check asks of a database as a whole; only reads. */
import { type Kysely, sql } from "kysely";
import type { DatabaseFacts, RunFacts } from "../inspection.ts";
import type { JournalEntry } from "../journal.ts";
import { isUnsettled } from "./deliveries.ts";
import { migrations } from "./migrate.ts";
import { readJournal } from "./run-rows.ts";
import type { Database } from "./schema.ts";
import type { Sql } from "./statement.ts";
import { openStatuses } from "./session-rows.ts";

/** Rows that are read of what may be many: a person is told of the first ones. */
const mostRows = 100;

/** @throws what SQLite throws when a table cannot be read at all. */
export async function inspectDatabase(db: Kysely<Database>, nowMs: number): Promise<DatabaseFacts> {
  const { rows: problems } = await sql<{ integrity_check: string }>`pragma integrity_check(20)`.execute(db);
  const { rows: executed } = await sql<{ name: string }>`select name from kysely_migration order by name`.execute(db);
  const names = executed.map(({ name }) => name);
  const known = Object.keys(migrations);
  return {
    integrityProblems: problems.map((row) => row.integrity_check).filter((text) => text !== "ok"),
    unknownMigrations: names.filter((name) => !known.includes(name)),
    missingMigrations: known.filter((name) => !names.includes(name)),
    newestMigration: names.at(-1),
    deviceIds: (await db.selectFrom("devices").select("device_id").orderBy("device_id").execute()).map((row) => row.device_id),
    unleasedRuns: await listUnleased(db, nowMs),
    ...(await listUndelivered(db, names.includes("008-deliveries"))),
    danglingRows: await listDangling(db),
    newestMs: await findNewest(db),
  };
}

/** Those that migrations are written down in do not count: they are made before any other. */
export async function hasNoTable(db: Kysely<Database>): Promise<boolean> {
  const { rows } = await sql<{ name: string }>`select name from sqlite_master where type = 'table'`.execute(db);
  return rows.every(({ name }) => /^(kysely|sqlite)_/.test(name));
}

/** Runs that are running for nobody: their worker has not renewed its claim. */
async function listUnleased(db: Kysely<Database>, nowMs: number): Promise<readonly RunFacts[]> {
  const rows = await db
    .selectFrom("runs")
    .select(["run_id", "session_key", "lease_until_ms"])
    .where("status", "=", "running")
    .where((build) => build.or([build("lease_until_ms", "is", null), build("lease_until_ms", "<", nowMs)]))
    .limit(mostRows)
    .execute();
  return rows.map((row) => ({ runId: row.run_id, sessionKey: row.session_key, sinceMs: row.lease_until_ms ?? 0 }));
}

/** Results of children that have not safely reached anybody, and no run of the parent's session is there to read what is unread. */
async function listUndelivered(
  db: Kysely<Database>,
  isDecidable: boolean,
): Promise<Pick<DatabaseFacts, "unreadResults" | "unconfirmedResults">> {
  const rows = await db
    .selectFrom("inbox")
    .select(["child_run_id", "session_key", "created_at_ms", "consumed_at_ms"])
    // Before that migration nobody could decide, and the row does not say so.
    .where((row) => (isDecidable ? isUnsettled(row) : row("consumed_at_ms", "is", null)))
    .where((build) =>
      build.or([
        build("consumed_at_ms", "is not", null),
        build.not(
          build.exists(
            build
              .selectFrom("runs")
              .select("run_id")
              .whereRef("runs.session_key", "=", "inbox.session_key")
              .where("status", "in", openStatuses),
          ),
        ),
      ]),
    )
    .limit(mostRows)
    .execute();
  const facts = (isRead: boolean): readonly RunFacts[] =>
    rows
      .filter((row) => (row.consumed_at_ms !== null) === isRead)
      .map((row) => ({ runId: row.child_run_id, sessionKey: row.session_key, sinceMs: row.created_at_ms }));
  return { unreadResults: facts(false), unconfirmedResults: facts(true) };
}

/** What no deletion of ours leaves: a session may go before its ended runs, and a parent's session before its child. */
async function listDangling(db: Kysely<Database>): Promise<readonly string[]> {
  const homeless = await db
    .selectFrom("runs")
    .leftJoin("sessions", "sessions.session_key", "runs.session_key")
    .select("run_id")
    .where("status", "in", openStatuses)
    .where("sessions.session_key", "is", null)
    .limit(mostRows)
    .execute();
  const orphaned = await db
    .selectFrom("runs as child")
    .leftJoin("runs as parent", "parent.run_id", "child.parent_run_id")
    .select("child.run_id")
    .where("child.parent_run_id", "is not", null)
    .where("parent.run_id", "is", null)
    .limit(mostRows)
    .execute();
  const results = await db
    .selectFrom("inbox")
    .leftJoin("runs", "runs.run_id", "inbox.child_run_id")
    .select("inbox_id")
    .where("run_id", "is", null)
    .limit(mostRows)
    .execute();
  const { rows: references } = await sql<{ table: string; parent: string }>`pragma foreign_key_check`.execute(db);
  return [
    ...homeless.map(({ run_id }) => `run ${run_id} has not ended and its session is gone`),
    ...orphaned.map(({ run_id }) => `run ${run_id} names a parent run that is gone`),
    ...results.map(({ inbox_id }) => `result ${inbox_id} names a child run that is gone`),
    ...references.slice(0, mostRows).map(({ table, parent }) => `a row of ${table} names a row of ${parent} that is gone`),
  ];
}

/** The journals of runs that have not ended: what the next process must be able to continue. */
export function readOpenJournals(statements: Sql): readonly { readonly runId: string; readonly entries: readonly JournalEntry[] }[] {
  const open = statements.query((db) => db.selectFrom("runs").select("run_id").where("status", "in", openStatuses));
  return open.map(({ run_id }) => ({ runId: run_id, entries: readJournal(statements, run_id) }));
}

async function findNewest(db: Kysely<Database>): Promise<number | undefined> {
  const audit = await db
    .selectFrom("audit")
    .select((build) => build.fn.max("at_ms").as("at"))
    .executeTakeFirst();
  const runs = await db
    .selectFrom("runs")
    .select((build) => build.fn.max("created_at_ms").as("at"))
    .executeTakeFirst();
  const times = [audit?.at, runs?.at].filter((at) => typeof at === "number");
  return times.length === 0 ? undefined : Math.max(...times);
}
