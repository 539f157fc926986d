/** The embedded store: one SQLite file, one process. A lock file beside it keeps a second gateway out. */
import { chmodSync, closeSync, openSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { Kysely } from "kysely";
import type { Ids } from "../kit/ids.ts";
import { StateFolderError, toFolderError } from "./folder-error.ts";
import type { Store } from "./store.ts";
import { createAttemptStore } from "./sql/attempts.ts";
import { createBearerStore } from "./sql/bearers.ts";
import { createApprovalStore } from "./sql/approvals.ts";
import { createAuditStore } from "./sql/audit-reads.ts";
import { createDeviceStore } from "./sql/devices.ts";
import { createConfigChangeStore } from "./sql/config-changes.ts";
import { createDialect, openDatabase } from "./sql/dialect.ts";
import { migrate } from "./sql/migrate.ts";
import { createRefusalStore } from "./sql/refusals.ts";
import { createNodeStore } from "./sql/nodes.ts";
import { createNodeWorkStore } from "./sql/node-work.ts";
import { createBudgetStore } from "./sql/budgets.ts";
import { createProcessStore } from "./sql/processes.ts";
import { createCronStore } from "./sql/cron.ts";
import { createImportStore } from "./sql/importing.ts";
import { createRunStore } from "./sql/runs.ts";
import { createRunViewStore } from "./sql/run-views.ts";
import type { Database } from "./sql/schema.ts";
import { createSessionStore } from "./sql/sessions.ts";
import { createSetupCodeStore } from "./sql/setup-codes.ts";
import { createSql } from "./sql/statement.ts";
import { createUsageStore } from "./sql/usage.ts";
import { WriteQueue, type WriteQueueOptions } from "./sql/write-queue.ts";

/**
 * Opens the database in `stateDir` and brings it to the newest schema. Holds the folder's lock until disposed.
 * @throws StateFolderError when another gateway holds the lock or the files cannot be opened.
 */
export async function openStore(stateDir: string, ids: Ids, options: Pick<StoreOptions, "onAppended"> = {}): Promise<Store> {
  const lock = lockStateFolder(stateDir);
  try {
    const file = join(stateDir, "portreeve.db");
    createPrivate(file);
    return await openStoreFile(file, ids, { ...options, onClose: () => lock.close() });
  } catch (error) {
    lock.close();
    throw toFolderError(stateDir, error);
  }
}

/** The store over one database file (or `:memory:`), without a lock. */
export async function openStoreFile(file: string, ids: Ids, options: Pick<StoreOptions, "onClose" | "onAppended"> = {}): Promise<Store> {
  const raw = openDatabase(file);
  const db = new Kysely<Database>({ dialect: createDialect(raw) });
  try {
    await migrate(db);
  } catch (error) {
    await db.destroy();
    throw error;
  }
  return createStore(raw, ids, options);
}

interface StoreOptions extends Pick<WriteQueueOptions, "onAppended"> {
  /** Runs after the database is closed. */
  readonly onClose?: () => void;
  /** Instead of the system's, for commits that take many writes. */
  readonly elapsedMs?: () => number;
}

/** The store over an open database of the newest schema, which it owns. */
export function createStore(raw: DatabaseSync, ids: Ids, { onClose, ...queueOptions }: StoreOptions = {}): Store {
  const db = new Kysely<Database>({ dialect: createDialect(raw) });
  const queue = new WriteQueue(db, createSql(raw), queueOptions);
  return {
    devices: createDeviceStore(db, queue),
    bearers: createBearerStore(db, queue),
    attempts: createAttemptStore(queue),
    setupCodes: createSetupCodeStore(db, queue),
    nodes: createNodeStore(db, queue),
    nodeWork: createNodeWorkStore(queue),
    approvals: createApprovalStore(queue),
    audit: createAuditStore(db),
    configChanges: createConfigChangeStore(queue),
    refusals: createRefusalStore(db, queue),
    sessions: createSessionStore(queue, ids),
    processes: createProcessStore(queue),
    runs: createRunStore(queue, ids),
    budgets: createBudgetStore(queue),
    usage: createUsageStore(queue),
    runViews: createRunViewStore(queue, ids),
    cron: createCronStore(queue, ids),
    imports: createImportStore(queue, ids),
    findRefusal: () => queue.findRefusal(),
    async [Symbol.asyncDispose]() {
      await queue.drain();
      await db.destroy();
      onClose?.();
    },
  };
}

/** SQLite's own file lock: the kernel frees it with the process, also after kill -9. */
export function lockStateFolder(stateDir: string): DatabaseSync {
  const file = join(stateDir, "lock.db");
  let lock: DatabaseSync | undefined;
  try {
    createPrivate(file);
    lock = new DatabaseSync(file, { timeout: 0 });
    lock.exec("pragma locking_mode = exclusive; begin exclusive; commit");
    return lock;
  } catch (error) {
    lock?.close();
    if (error instanceof Error && "errcode" in error && error.errcode === 5) {
      throw new StateFolderError(
        `another gateway is using the state folder ${stateDir}: stop it, or give this one a folder of its own with --state DIR`,
        { cause: error },
      );
    }
    throw toFolderError(stateDir, error);
  }
}

/** SQLite would create the file with the process's default mode. */
function createPrivate(file: string): void {
  closeSync(openSync(file, "a", 0o600));
  chmodSync(file, 0o600);
}
