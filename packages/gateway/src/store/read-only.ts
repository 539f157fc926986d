/** A state folder's database as it stands, read and never written: beside a running gateway, after it, or after a crash. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { pathToFileURL } from "node:url";
import { Kysely } from "kysely";
import type { AuditStore, RefusalStore } from "./audit-store.ts";
import { createIds } from "../kit/ids.ts";
import { createAuditStore } from "./sql/audit-reads.ts";
import { createDeviceStore } from "./sql/devices.ts";
import { createDialect } from "./sql/dialect.ts";
import { createRefusalReads } from "./sql/refusals.ts";
import { createRunStore } from "./sql/runs.ts";
import { hasNoTable, inspectDatabase, readOpenJournals } from "./sql/inspect.ts";
import type { Database } from "./sql/schema.ts";
import { createSessionStore } from "./sql/sessions.ts";
import { createSql } from "./sql/statement.ts";
import { WriteQueue } from "./sql/write-queue.ts";
import type { DatabaseFacts } from "./inspection.ts";
import type { DeviceStore } from "./device-store.ts";
import type { RunStore, SessionStore } from "./store.ts";

/** The reading half of the store. */
export interface ReadOnlyStore extends AsyncDisposable {
  readonly audit: AuditStore;
  readonly refusals: Pick<RefusalStore, "list">;
  readonly devices: Pick<DeviceStore, "find" | "list">;
  readonly runs: Pick<RunStore, "find" | "findByWireId">;
  readonly sessions: Pick<SessionStore, "find">;
  /** It has no table of ours. @throws what SQLite throws for a file that is no database. */
  isEmpty(): Promise<boolean>;
  /** The database as a whole. */
  inspect(nowMs: number): Promise<DatabaseFacts>;
  openJournals(): ReturnType<typeof readOpenJournals>;
}

/** Undefined when the folder holds no database. @throws what SQLite throws for a file that is none. */
export function openReadOnlyStore(stateDir: string): ReadOnlyStore | undefined {
  const raw = openReadOnlyDatabase(stateDir);
  if (raw === undefined) return undefined;
  const db = new Kysely<Database>({ dialect: createDialect(raw) });
  const statements = createSql(raw);
  // The connection cannot write, so nothing that the queue would take can reach the file.
  const queue = new WriteQueue(db, statements);
  const ids = createIds();
  return {
    audit: createAuditStore(db),
    refusals: createRefusalReads(db),
    devices: createDeviceStore(db, queue),
    runs: createRunStore(queue, ids),
    sessions: createSessionStore(queue, ids),
    isEmpty: () => hasNoTable(db),
    inspect: (nowMs) => inspectDatabase(db, nowMs),
    openJournals: () => readOpenJournals(statements),
    [Symbol.asyncDispose]: () => db.destroy(),
  };
}

/** Undefined when the folder holds no database. */
export function openReadOnlyDatabase(stateDir: string): DatabaseSync | undefined {
  const file = join(stateDir, "portreeve.db");
  if (!existsSync(file)) return undefined;
  // Without a log beside it nobody has the file open; asked to read it plainly, SQLite would make one and leave it there.
  const isQuiet = !existsSync(`${file}-wal`);
  const url = pathToFileURL(file);
  if (isQuiet) url.search = "immutable=1";
  return new DatabaseSync(url, { readOnly: true, timeout: 2_000 });
}
