/** The commit path: writes queued in one turn of the event loop commit together, each in a savepoint of its own. */
import type { ControlledTransaction, Kysely } from "kysely";
import { ProtocolError } from "@portreeve/protocol";
import type { Database } from "./schema.ts";

interface Job {
  readonly work: (tx: Kysely<Database>) => Promise<unknown>;
  readonly resolve: (value: never) => void;
  readonly reject: (error: unknown) => void;
}

export class WriteQueue {
  readonly #db: Kysely<Database>;
  #waiting: Job[] = [];
  #flushing: Promise<void> | undefined;

  constructor(db: Kysely<Database>) {
    this.#db = db;
  }

  /**
   * Runs `work` in a transaction and resolves with its value once that is durable. `work` must only query `tx`: it runs
   * to its end before the next one starts. What it throws undoes its own writes alone.
   */
  write<T>(work: (tx: Kysely<Database>) => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#waiting.push({ work, resolve, reject });
      this.#flushing ??= this.#flushSoon();
    });
  }

  /** Resolves when everything queued so far has committed or failed. */
  async drain(): Promise<void> {
    while (this.#flushing !== undefined) await this.#flushing;
  }

  async #flushSoon(): Promise<void> {
    await new Promise(setImmediate);
    try {
      while (this.#waiting.length > 0) await this.#flush(this.#waiting.splice(0));
    } finally {
      this.#flushing = undefined;
    }
  }

  async #flush(jobs: readonly Job[]): Promise<void> {
    const settle: (() => void)[] = [];
    try {
      const transaction = await this.#db.startTransaction().execute();
      try {
        for (const job of jobs) settle.push(await runJob(await transaction.savepoint("job").execute(), job));
        await transaction.commit().execute();
      } catch (error) {
        // A full disk may have ended the transaction already: then there is nothing to roll back.
        await transaction
          .rollback()
          .execute()
          .catch(() => undefined);
        throw error;
      }
    } catch (error) {
      for (const job of jobs) job.reject(toStoreError(error));
      return;
    }
    for (const tell of settle) tell();
  }
}

type Savepoint = ControlledTransaction<Database, ["job"]>;

async function runJob(savepoint: Savepoint, job: Job): Promise<() => void> {
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
export function toStoreError(error: unknown): unknown {
  const failure = storageFailure(error);
  if (failure === undefined) return error;
  return new ProtocolError("STORE_UNAVAILABLE", `the state cannot be written: ${failure.reason}`, { remedy: failure.remedy, cause: error });
}
