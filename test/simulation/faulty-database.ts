/**
 * A database in memory that outlives the processes using it. A process's handle can be made to die at any statement, before
 * it runs or after, and the disk to be full for a while.
 */
import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite";
import { Kysely } from "kysely";
import { createDialect, openDatabase } from "../../packages/gateway/src/store/sql/dialect.ts";
import { migrate } from "../../packages/gateway/src/store/sql/migrate.ts";
import type { Database } from "../../packages/gateway/src/store/sql/schema.ts";

/** What a dead process's statements throw; nobody is left to see it. */
class ProcessDied extends Error {
  override readonly name = "ProcessDied";
}

class DiskFull extends Error {
  override readonly name = "DiskFull";
  readonly errcode = 13;
}

export interface CrashPoint {
  /** So many statements more that match. */
  readonly inStatements: number;
  readonly matching: RegExp;
  readonly when: "before" | "after";
}

/** The table that a statement writes to. */
const written = /^\s*(?:insert into|replace into|update|delete from) "(\w+)"/;

/** Every entry of a journal that was committed, also when its session, and what its runs keep, was erased since. */
const keepEntries = `
  create temp table entries (row integer primary key, run_id text, seq integer, epoch integer, entry text);
  create temp trigger keep_entries after insert on main.journal begin
    insert into entries (run_id, seq, epoch, entry) values (new.run_id, new.seq, new.epoch, new.entry);
  end`;

/** What a full disk refuses. */
export const writes = /^\s*(?:insert|replace|update|delete|commit)/i;

/** What a disk that cannot be read refuses. */
export const reads = /^\s*(?:select|with)/i;

export class FaultyDatabase {
  readonly raw: DatabaseSync;
  readonly #tables: readonly string[];
  readonly #prepared = new Map<string, StatementSync>();
  readonly #givingArrays = new Map<string, StatementSync>();
  /** Tables that processes have written to since somebody looked, committed or not. */
  readonly changed = new Set<string>();
  #generation = 0;
  #crash: { left: number; readonly point: CrashPoint; readonly onCrash: () => void } | undefined;
  #refusals: { left: number; readonly matching: RegExp; readonly rollsBack: () => boolean } | undefined;

  private constructor(raw: DatabaseSync) {
    this.raw = raw;
    const rows = raw.prepare("select name from sqlite_master where type = 'table' and name not like 'kysely%'").all();
    raw.exec(keepEntries);
    this.#tables = [...rows.map((row) => String(row["name"])), "entries"];
  }

  static async open(): Promise<FaultyDatabase> {
    const raw = openDatabase(":memory:");
    await migrate(new Kysely<Database>({ dialect: createDialect(raw) }));
    return new FaultyDatabase(raw);
  }

  /** Nothing in it, as after the migrations. */
  empty(): void {
    this.raw.exec("pragma foreign_keys = off");
    for (const table of this.#tables) this.statement(`delete from ${table}`).run();
    this.raw.exec("pragma foreign_keys = on");
  }

  statement(text: string): StatementSync {
    let known = this.#prepared.get(text);
    if (known === undefined) this.#prepared.set(text, (known = this.raw.prepare(text)));
    return known;
  }

  #givingArraysOf(text: string): StatementSync {
    let known = this.#givingArrays.get(text);
    if (known === undefined) this.#givingArrays.set(text, (known = this.raw.prepare(text)));
    known.setReturnArrays(true);
    return known;
  }

  crashAt(point: CrashPoint, onCrash: () => void): void {
    this.#crash = { left: point.inStatements, point, onCrash };
  }

  /** The next `count` statements that match are refused; `rollsBack`: whether SQLite ends the transaction by itself, as it may. */
  refuse(count: number, matching: RegExp, rollsBack: () => boolean): void {
    this.#refusals = { left: count, matching, rollsBack };
  }

  heal(): void {
    this.#crash = undefined;
    this.#refusals = undefined;
  }

  /** The process that uses the current handle is gone: what it had not committed never was. */
  die(): void {
    this.#generation += 1;
    this.#crash = undefined;
    if (this.raw.isTransaction) this.raw.exec("rollback");
  }

  /** The database as a process opens it. */
  open(): DatabaseSync {
    const generation = this.#generation;
    const guarded = <T>(text: string, run: () => T): T => {
      this.#assertAlive(generation);
      this.#countDown("before", text, generation);
      this.#refuse(text);
      const result = run();
      this.#countDown("after", text, generation);
      return result;
    };
    const prepare = (text: string): StatementSync => {
      let statement = this.statement(text);
      const table = written.exec(text)?.[1];
      const wrapped = {
        columns: () => statement.columns(),
        setReturnArrays: () => (statement = this.#givingArraysOf(text)),
        all: (...values: SQLInputValue[]) => guarded(text, () => statement.all(...values)),
        get: (...values: SQLInputValue[]) => guarded(text, () => statement.get(...values)),
        run: (...values: SQLInputValue[]) => {
          if (table !== undefined) this.changed.add(table);
          return guarded(text, () => statement.run(...values));
        },
        iterate: (...values: SQLInputValue[]) => guarded(text, () => statement.iterate(...values)),
      };
      // What the store uses of a statement.
      return wrapped as unknown as StatementSync;
    };
    // What the store uses of a database.
    return { prepare, exec: (text: string) => guarded(text, () => this.raw.exec(text)), close: () => undefined } as unknown as DatabaseSync;
  }

  #assertAlive(generation: number): void {
    if (generation !== this.#generation) throw new ProcessDied("the process is gone");
  }

  #countDown(when: CrashPoint["when"], text: string, generation: number): void {
    const crash = this.#crash;
    if (crash?.point.when !== when || !crash.point.matching.test(text)) return;
    if (crash.left > 0) {
      crash.left -= 1;
      return;
    }
    crash.onCrash();
    this.#assertAlive(generation);
  }

  #refuse(text: string): void {
    const refusals = this.#refusals;
    if (refusals === undefined || !refusals.matching.test(text)) return;
    if ((refusals.left -= 1) <= 0) this.#refusals = undefined;
    if (this.raw.isTransaction && refusals.rollsBack()) this.raw.exec("rollback");
    throw new DiskFull("database or disk is full");
  }
}
