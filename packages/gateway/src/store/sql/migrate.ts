/** Brings a database to the newest schema, each migration in one transaction. */
import type { Kysely } from "kysely";
import { type Migration, Migrator } from "kysely/migration";
import type { Database } from "./schema.ts";
import * as first from "./migrations/001-first.ts";

/** By name, in order; a released migration is never edited. */
export const migrations: Readonly<Record<string, Migration>> = { "001-first": first };

/** @throws when a migration fails, or when the database was written by a newer version that has migrations unknown here. */
export async function migrate(db: Kysely<Database>): Promise<void> {
  const migrator = new Migrator({ db, provider: { getMigrations: () => Promise.resolve({ ...migrations }) } });
  const { error } = await migrator.migrateToLatest();
  if (error !== undefined) throw error;
}
