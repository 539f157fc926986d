/** Brings a database to the newest schema, each migration in one transaction. */
import { type Kysely, sql } from "kysely";
import { type Migration, Migrator } from "kysely/migration";
import type { Database } from "./schema.ts";
import * as first from "./migrations/001-first.ts";
import * as pairing from "./migrations/002-pairing.ts";
import * as attempts from "./migrations/003-attempts.ts";
import * as setupCodes from "./migrations/004-setup-codes.ts";
import * as refusals from "./migrations/005-refusals.ts";
import * as runIndexes from "./migrations/006-run-indexes.ts";
import * as usage from "./migrations/007-usage.ts";
import * as deliveries from "./migrations/008-deliveries.ts";
import * as terms from "./migrations/009-terms.ts";
import * as queueModes from "./migrations/010-queue-modes.ts";
import * as compactions from "./migrations/011-compactions.ts";
import * as budgets from "./migrations/012-budgets.ts";
import * as expectedResults from "./migrations/013-expected-results.ts";
import * as runProcesses from "./migrations/014-run-processes.ts";
import * as notes from "./migrations/015-notes.ts";
import * as nodeWork from "./migrations/016-node-work.ts";
import * as dayBudgets from "./migrations/017-day-budgets.ts";
import * as cron from "./migrations/018-cron.ts";
import * as execApprovals from "./migrations/019-exec-approvals.ts";
import * as setupDelivery from "./migrations/020-setup-delivery.ts";
import * as leanIndexes from "./migrations/021-lean-indexes.ts";
import * as queuedMessages from "./migrations/022-queued-messages.ts";
import * as cronOwnRuns from "./migrations/023-cron-own-runs.ts";
import * as cronLastRuns from "./migrations/024-cron-last-runs.ts";

/** By name, in order; a released migration is never edited. */
export const migrations: Readonly<Record<string, Migration>> = {
  "001-first": first,
  "002-pairing": pairing,
  "003-attempts": attempts,
  "004-setup-codes": setupCodes,
  "005-refusals": refusals,
  "006-run-indexes": runIndexes,
  "007-usage": usage,
  "008-deliveries": deliveries,
  "009-terms": terms,
  "010-queue-modes": queueModes,
  "011-compactions": compactions,
  "012-budgets": budgets,
  "013-expected-results": expectedResults,
  "014-run-processes": runProcesses,
  "015-notes": notes,
  "016-node-work": nodeWork,
  "017-day-budgets": dayBudgets,
  "018-cron": cron,
  "019-exec-approvals": execApprovals,
  "020-setup-delivery": setupDelivery,
  "021-lean-indexes": leanIndexes,
  "022-queued-messages": queuedMessages,
  "023-cron-own-runs": cronOwnRuns,
  "024-cron-last-runs": cronLastRuns,
};

/** A newer version has changed the schema in a way this one does not know. */
export class NewerSchemaError extends Error {
  override readonly name = "NewerSchemaError";
}

/** @throws NewerSchemaError, or whatever makes a migration fail; the database is then as it was before that migration. */
export async function migrate(db: Kysely<Database>): Promise<void> {
  const migrator = new Migrator({ db, provider: { getMigrations: () => Promise.resolve({ ...migrations }) } });
  const unknown = (await readExecutedNames(db)).find((name) => !Object.hasOwn(migrations, name));
  if (unknown !== undefined)
    throw new NewerSchemaError(`its schema (${unknown}) was written by a newer version of Portreeve: use that version`);
  const { error } = await migrator.migrateToLatest();
  if (error !== undefined) throw error;
}

async function readExecutedNames(db: Kysely<Database>): Promise<readonly string[]> {
  const table = await sql`select name from sqlite_master where name = 'kysely_migration'`.execute(db);
  if (table.rows.length === 0) return [];
  const { rows } = await sql<{ name: string }>`select name from kysely_migration`.execute(db);
  return rows.map((row) => row.name);
}
