/** node:sqlite under Kysely: one connection, statements prepared once. */
import { DatabaseSync, type SQLInputValue, type StatementSync } from "node:sqlite";
import { type Dialect, SqliteAdapter, SqliteDialect } from "kysely";
import { toInput } from "./prepared.ts";

const cachedStatements = 200;
/** The whole gateway stands still meanwhile, and no other gateway can be the one that holds the lock. */
const lockWaitMs = 250;

/** A checkpoint writes each page that changed once, however often it did, and everybody waits meanwhile: seldom is cheaper. 16 MB. */
const checkpointAfterPages = 4_000;

/** Opens `file` (or `:memory:`) with write-ahead log and full durability. */
export function openDatabase(file: string): DatabaseSync {
  const raw = new DatabaseSync(file, { timeout: lockWaitMs });
  raw.exec("pragma journal_mode = wal; pragma synchronous = full; pragma foreign_keys = on; pragma temp_store = memory");
  raw.exec(`pragma wal_autocheckpoint = ${checkpointAfterPages}`);
  return raw;
}

export function createDialect(raw: DatabaseSync): Dialect {
  const statements = new Map<string, Statement>();
  const prepare = (text: string): Statement | typeof nothing => {
    // A full disk may have ended the transaction already: what ended it is what is to be known.
    if (text === "rollback" && raw.isTransaction === false) return nothing;
    const known = statements.get(text);
    if (known !== undefined) return known;
    const statement = new Statement(raw.prepare(text));
    if (statements.size >= cachedStatements) statements.clear();
    statements.set(text, statement);
    return statement;
  };
  const dialect = new SqliteDialect({ database: { prepare, close: () => raw.close() } });
  return {
    createDriver: () => dialect.createDriver(),
    createQueryCompiler: () => dialect.createQueryCompiler(),
    createIntrospector: (db) => dialect.createIntrospector(db),
    createAdapter: () => new TransactionalAdapter(),
  };
}

/** SQLite rolls schema changes back like any other; Kysely's own adapter does not say so. */
class TransactionalAdapter extends SqliteAdapter {
  override get supportsTransactionalDdl(): boolean {
    return true;
  }
}

/** A statement that does nothing, in the same shape. */
const nothing = {
  reader: false,
  all: (): unknown[] => [],
  run: () => ({ changes: 0, lastInsertRowid: 0 }),
  iterate: (): IterableIterator<unknown> => [].values(),
};

/** A prepared statement in the shape Kysely's SQLite driver expects. */
class Statement {
  readonly reader: boolean;
  readonly #statement: StatementSync;

  constructor(statement: StatementSync) {
    this.#statement = statement;
    this.reader = statement.columns().length > 0;
  }

  all(parameters: readonly unknown[]): unknown[] {
    return this.#statement.all(...toInputs(parameters));
  }

  run(parameters: readonly unknown[]): { changes: number | bigint; lastInsertRowid: number | bigint } {
    return this.#statement.run(...toInputs(parameters));
  }

  iterate(parameters: readonly unknown[]): IterableIterator<unknown> {
    return this.#statement.iterate(...toInputs(parameters));
  }
}

// Kysely types parameters as unknown; what our queries bind are strings, numbers and nulls.
function toInputs(parameters: readonly unknown[]): SQLInputValue[] {
  return (parameters as SQLInputValue[]).map(toInput);
}
