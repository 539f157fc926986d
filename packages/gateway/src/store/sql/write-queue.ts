/**
 * The commit path: writes queued in one turn of the event loop commit together, each in a savepoint of its own. What the
 * agents' work waits for is synchronous (`transact`); the rest may await its queries (`write`).
 */
import type { ControlledTransaction, Kysely } from "kysely";
import { ProtocolError } from "@portreeve/protocol";
import type { Database } from "./schema.ts";
import type { Appended, Sql } from "./statement.ts";

type Job = {
  readonly resolve: (value: never) => void;
  readonly reject: (error: unknown) => void;
} & (SyncJob | AsyncJob);

interface SyncJob {
  readonly isSync: true;
  readonly work: (sql: Sql) => unknown;
}

interface AsyncJob {
  readonly isSync: false;
  readonly work: (tx: Kysely<Database>) => Promise<unknown>;
}

/** A commit takes no more jobs after this long: the event loop must get its turn. */
const commitAfterMs = 10;

/** Changes nothing: the number is nobody's. */
const writeOnePage = "pragma user_version = 0";

/** Of one kind of read. */
const mostRemembered = 16;

export interface WriteQueueOptions {
  readonly elapsedMs?: (() => number) | undefined;
  /** Must not throw. */
  readonly onAppended?: ((appended: Appended) => void) | undefined;
}

export class WriteQueue {
  readonly #db: Kysely<Database>;
  readonly #sql: Sql;
  readonly #elapsedMs: () => number;
  readonly #onAppended: (appended: Appended) => void;
  #waiting: Job[] = [];
  #flushing: Promise<void> | undefined;
  readonly #remembered: { clear(): void }[] = [];
  #refusal: string | undefined;
  /** A transaction that awaits its queries is open: the connection shows what is not committed. */
  #mixed: Promise<void> | undefined;

  /** `elapsedMs` measures how long a commit has taken jobs; `onAppended` hears of every addition to a transcript, once durable. */
  constructor(
    db: Kysely<Database>,
    sql: Sql,
    { elapsedMs = () => performance.now(), onAppended = () => undefined }: WriteQueueOptions = {},
  ) {
    this.#elapsedMs = elapsedMs;
    this.#onAppended = onAppended;
    this.#db = db;
    this.#sql = sql;
  }

  /**
   * Runs `work` in a transaction and resolves with its value once that is durable. `work` must only query `tx`: it runs
   * to its end before the next one starts. What it throws undoes its own writes alone.
   */
  write<T>(work: (tx: Kysely<Database>) => Promise<T>): Promise<T> {
    return this.#enqueue((settle) => ({ isSync: false, work, ...settle }));
  }

  /** The same for work that never waits. */
  transact<T>(work: (sql: Sql) => T): Promise<T> {
    return this.#enqueue((settle) => ({ isSync: true, work, ...settle }));
  }

  /** Reads what is committed, at once unless a transaction is open that awaits its queries. */
  async read<T>(work: (sql: Sql) => T): Promise<T> {
    while (this.#mixed !== undefined) await this.#mixed;
    try {
      return work(this.#sql);
    } catch (error) {
      throw toStoreError(error, "read");
    }
  }

  /** Reads that are remembered until something is written, by the key of each: a change makes many ask for the same. */
  remembering<R>(): (key: string, work: (sql: Sql) => R) => Promise<R> {
    const known = new Map<string, R>();
    this.#remembered.push(known);
    return (key, work) =>
      this.read((sql) => {
        const remembered = known.get(key);
        if (remembered !== undefined) return remembered;
        if (known.size >= mostRemembered) known.clear();
        const result = work(sql);
        known.set(key, result);
        return result;
      });
  }

  /** Resolves when everything queued so far has committed or failed. */
  async drain(): Promise<void> {
    while (this.#flushing !== undefined) await this.#flushing;
  }

  /** Why nothing can be written, if a commit has failed for that; a small write tries it anew. */
  async findRefusal(): Promise<string | undefined> {
    if (this.#refusal === undefined) return undefined;
    this.#refusal = undefined;
    await this.transact((sql) => sql.exec(writeOnePage)).catch(() => undefined);
    return this.#refusal;
  }

  #refused(error: unknown): unknown {
    this.#refusal = storageFailure(error)?.reason ?? this.#refusal;
    return toStoreError(error);
  }

  #enqueue<T>(toJob: (settle: Pick<Job, "resolve" | "reject">) => Job): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#waiting.push(toJob({ resolve, reject }));
      this.#flushing ??= this.#flushAll();
    });
  }

  async #flushAll(): Promise<void> {
    try {
      while (this.#waiting.length > 0) {
        await new Promise(setImmediate);
        // Before: nobody reads until it is committed.
        for (const known of this.#remembered) known.clear();
        const firstAsync = this.#waiting.findIndex((job) => !job.isSync);
        const settled = firstAsync === 0 ? await this.#flushMixed(this.#waiting.splice(0)) : this.#flushSync(firstAsync);
        for (const appended of this.#sql.appended.splice(0)) this.#onAppended(appended);
        for (const tell of settled) tell();
      }
    } finally {
      this.#flushing = undefined;
    }
  }

  /** Commits the synchronous jobs before `firstAsync` (-1: all); what did not fit into the time stays queued. Answers how to tell. */
  #flushSync(firstAsync: number): readonly (() => void)[] {
    const sql = this.#sql;
    const count = firstAsync < 0 ? this.#waiting.length : firstAsync;
    const startedAt = this.#elapsedMs();
    const taken: Job[] = [];
    const settle: (() => void)[] = [];
    try {
      sql.exec("begin immediate");
      try {
        while (taken.length < count && (taken.length === 0 || this.#elapsedMs() - startedAt < commitAfterMs)) {
          const job = this.#waiting.shift();
          if (job?.isSync !== true) break;
          taken.push(job);
          settle.push(runSync(sql, job));
        }
        sql.exec("commit");
      } catch (error) {
        rollBack(sql);
        sql.appended.length = 0;
        throw error;
      }
    } catch (error) {
      if (taken.length === 0) taken.push(...this.#waiting.splice(0, count));
      return taken.map((job) => () => job.reject(this.#refused(error)));
    }
    return settle;
  }

  async #flushMixed(jobs: readonly Job[]): Promise<readonly (() => void)[]> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#mixed = promise;
    const settle: (() => void)[] = [];
    try {
      const transaction = await this.#db.startTransaction().execute();
      try {
        for (const job of jobs)
          settle.push(job.isSync ? runSync(this.#sql, job) : await runAsync(await transaction.savepoint("job").execute(), job));
        await transaction.commit().execute();
      } catch (error) {
        // A full disk may have ended the transaction already: then there is nothing to roll back.
        await transaction
          .rollback()
          .execute()
          .catch(() => undefined);
        this.#sql.appended.length = 0;
        throw error;
      }
    } catch (error) {
      return jobs.map((job) => () => job.reject(this.#refused(error)));
    } finally {
      this.#mixed = undefined;
      resolve();
    }
    return settle;
  }
}

function runSync(sql: Sql, job: Job & SyncJob): () => void {
  const before = sql.appended.length;
  sql.exec("savepoint job");
  try {
    const value = job.work(sql);
    sql.exec("release job");
    return () => job.resolve(value as never);
  } catch (error) {
    if (isStorageFailure(error)) throw error;
    sql.exec("rollback to job");
    sql.exec("release job");
    sql.appended.length = before;
    return () => job.reject(error);
  }
}

/** A full disk may have ended the transaction already: then there is nothing to roll back. */
function rollBack(sql: Sql): void {
  try {
    sql.exec("rollback");
  } catch {
    // Nothing is open.
  }
}

type Savepoint = ControlledTransaction<Database, ["job"]>;

async function runAsync(savepoint: Savepoint, job: Job & AsyncJob): Promise<() => void> {
  try {
    const value = await job.work(savepoint);
    await savepoint.releaseSavepoint("job").execute();
    return () => job.resolve(value as never);
  } catch (error) {
    if (isStorageFailure(error)) throw error;
    await savepoint.rollbackToSavepoint("job").execute();
    await savepoint.releaseSavepoint("job").execute();
    return () => job.reject(error);
  }
}
interface StorageFailure {
  readonly reason: string;
  readonly remedy: string;
}

const makeRoom = "free space on the disk of the state folder, or make the folder writable; then try again";

/** Primary SQLite result codes after which nothing of the batch may be taken as written: busy, readonly, I/O, full, cannot open. */
const storageFailures: ReadonlyMap<number, StorageFailure> = new Map([
  [
    5,
    {
      reason: "the database is locked by another program",
      remedy: "close the program that has the gateway's database open for writing; then try again",
    },
  ],
  [8, { reason: "the database is read-only", remedy: makeRoom }],
  [10, { reason: "the disk reports an input/output error", remedy: makeRoom }],
  [13, { reason: "the disk is full", remedy: makeRoom }],
  [14, { reason: "the database file cannot be opened", remedy: makeRoom }],
]);

function storageFailure(error: unknown): StorageFailure | undefined {
  if (!(error instanceof Error) || !("errcode" in error) || typeof error.errcode !== "number") return undefined;
  return storageFailures.get(error.errcode & 0xff);
}

function isStorageFailure(error: unknown): boolean {
  return storageFailure(error) !== undefined;
}

/** A storage failure as callers may know it; every other error as it is. */
export function toStoreError(error: unknown, doing: "written" | "read" = "written"): unknown {
  const failure = storageFailure(error);
  if (failure === undefined) return error;
  return new ProtocolError("STORE_UNAVAILABLE", `the state cannot be ${doing}: ${failure.reason}`, {
    remedy: failure.remedy,
    cause: error,
  });
}
