/**
 * Databases that are copied: out of a state folder, also beside a gateway that writes, and on their way back into one.
 * A copy that goes back is a step back in time, so what could be used once, or had ended, must not be there again.
 */
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { Kysely, sql } from "kysely";
import { createDialect, openDatabase } from "./sql/dialect.ts";
import { migrate } from "./sql/migrate.ts";
import { openReadOnlyDatabase } from "./read-only.ts";
import { appendRestored, type Ended, endWhatWasOpen, type SinceThen, takeOver, toSinceThen } from "./sql/restoring.ts";
import type { Database } from "./sql/schema.ts";

export type { Ended, SinceThen } from "./sql/restoring.ts";

/**
 * Writes the database of `stateDir`, as it stands at one moment, into the empty file `target`. What was deleted is not in it.
 * Reads through the log like any other reader, so it neither stops a gateway nor misses what that has acknowledged.
 */
export function copyDatabase(stateDir: string, target: string): void {
  using db = new DatabaseSync(join(stateDir, "portreeve.db"), { readOnly: true, timeout: 5_000 });
  db.prepare("vacuum into ?").run(target);
}

/** How many rows there are of what people count. */
export function countRows(stateDir: string): Readonly<Record<"sessions" | "messages" | "runs" | "devices", number>> {
  using db = openReadOnlyDatabase(stateDir);
  const count = (table: string): number => Number(db?.prepare(`select count(*) as n from ${table}`).get()?.["n"]);
  return { sessions: count("sessions"), messages: count("messages"), runs: count("runs"), devices: count("devices") };
}

/** Who has lost something by now in the state that is replaced. @throws what SQLite throws when it cannot be read. */
export function readSinceThen(stateDir: string): SinceThen | undefined {
  using db = openReadOnlyDatabase(stateDir);
  if (db === undefined) return undefined;
  // The rows of our own tables, as an older version may have left them.
  const all = <T>(text: string): readonly T[] => db.prepare(text).all() as unknown as readonly T[];
  const hasJobs = all("select name from sqlite_master where name = 'cron_jobs'").length > 0;
  return toSinceThen({
    devices: all("select device_id from devices"),
    grants: all("select * from device_grants"),
    refusedKeys: all("select public_key from refused_keys"),
    jobs: hasJobs ? all("select job_id, disabled_reason from cron_jobs where enabled = 0 and disabled_reason is not null") : [],
  });
}

export interface Restoring {
  /** For the audit: which state this is, and from when. */
  readonly gatewayId: string;
  readonly backupAtMs: number;
  /** Undefined: nothing is known of what happened since. */
  readonly since: SinceThen | undefined;
}

/** The schema is not the one that this version's migrations make: somebody else has been at it. */
export class ForeignSchemaError extends Error {
  override readonly name = "ForeignSchemaError";
}

/**
 * Makes the database of `stateDir` fit to be started on: newest schema, nothing one-time open, and an audit row that says so.
 * @throws ForeignSchemaError, NewerSchemaError
 */
export async function settleRestored(stateDir: string, { gatewayId, backupAtMs, since }: Restoring, nowMs: number): Promise<Ended> {
  const raw = openDatabase(join(stateDir, "portreeve.db"));
  const db = new Kysely<Database>({ dialect: createDialect(raw) });
  try {
    await migrate(db);
    await assertOwnSchema(db);
    return await db.transaction().execute(async (tx) => {
      const ended = { ...(await endWhatWasOpen(tx, nowMs)), ...(await takeOver(tx, since, nowMs)) };
      await appendRestored(tx, { gatewayId, backupAtMs, ended }, nowMs);
      return ended;
    });
  } finally {
    await db.destroy();
  }
}

/** Triggers and views would act on what the gateway writes. */
async function assertOwnSchema(db: Kysely<Database>): Promise<void> {
  const own = new Kysely<Database>({ dialect: createDialect(openDatabase(":memory:")) });
  try {
    await migrate(own);
    const [found, expected] = [await readSchema(db), await readSchema(own)];
    const foreign = [...found].find((line) => !expected.has(line)) ?? [...expected].find((line) => !found.has(line));
    if (foreign !== undefined) throw new ForeignSchemaError(`its schema is not this version's: ${foreign.slice(0, 100)}`);
  } finally {
    await own.destroy();
  }
}

async function readSchema(db: Kysely<Database>): Promise<ReadonlySet<string>> {
  const { rows } = await sql<{ type: string; name: string; sql: string | null }>`select type, name, sql from sqlite_master`.execute(db);
  return new Set(rows.map(({ type, name, sql: text }) => `${type} ${name} ${text ?? ""}`));
}
