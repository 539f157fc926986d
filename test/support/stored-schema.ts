/** Databases as earlier versions left them: what a release wrote, brought as far as any later schema. */
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { Kysely } from "kysely";
import { Migrator } from "kysely/migration";
import { createDialect, openDatabase } from "../../packages/gateway/src/store/sql/dialect.ts";
import { migrations } from "../../packages/gateway/src/store/sql/migrate.ts";

/** The schemas that a release has written; add one, with its fixture, when a release is made. */
export const releasedSchemas = ["001"] as const;
export type ReleasedSchema = (typeof releasedSchemas)[number];

/** Every schema a database can stand at, by the name of its last migration. */
export const everySchema: readonly string[] = Object.keys(migrations);

export interface OldState extends AsyncDisposable {
  /** What `startGateway` calls root. */
  readonly root: string;
  readonly stateDir: string;
}

/** A state folder that holds the fixture of a release; `change` runs on it before it is opened. */
export async function createOldState(schema: ReleasedSchema, change: (db: DatabaseSync) => void = () => undefined): Promise<OldState> {
  const root = await mkdtemp(join(tmpdir(), "portreeve-schema-"));
  const stateDir = join(root, "state");
  await mkdir(stateDir, { mode: 0o700 });
  const db = new DatabaseSync(join(stateDir, "portreeve.db"));
  db.exec(await readFile(join(import.meta.dirname, "../fixtures", `schema-${schema}.sql`), "utf8"));
  change(db);
  db.close();
  return { root, stateDir, [Symbol.asyncDispose]: () => rm(root, { recursive: true, force: true }) };
}

/** Runs the migrations up to the one named `last`, and no further. */
export async function migrateTo(stateDir: string, last: string): Promise<void> {
  const known = Object.fromEntries(Object.entries(migrations).filter(([name]) => name <= last));
  const db = new Kysely<unknown>({ dialect: createDialect(openDatabase(join(stateDir, "portreeve.db"))) });
  const { error } = await new Migrator({ db, provider: { getMigrations: () => Promise.resolve(known) } }).migrateToLatest();
  await db.destroy();
  if (error !== undefined) throw error;
}
