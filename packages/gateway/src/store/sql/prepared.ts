/** A prepared statement of node:sqlite, giving rows of one shape. */
import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite";

type Value = string | number | null;

/**
 * A value that may be bound. @throws RangeError for an integer beyond 2^53: node:sqlite refuses to read it, and with it every list
 * that has its row.
 */
export function toInput(value: SQLInputValue | undefined): SQLInputValue {
  if (typeof value === "number" && Math.abs(value) > Number.MAX_SAFE_INTEGER) throw new RangeError(`${value} cannot be stored`);
  return value ?? null;
}

export class Prepared {
  readonly #statement: StatementSync;
  readonly #columns: readonly string[];
  /** Node's own rows are dictionaries: twice as slow to make and to read as objects that begin as copies of one. */
  readonly #blank: Readonly<Record<string, Value>>;

  constructor(raw: DatabaseSync, text: string) {
    this.#statement = raw.prepare(text);
    this.#statement.setReturnArrays(true);
    this.#columns = this.#statement.columns().map(({ name }) => name);
    this.#blank = Object.fromEntries(this.#columns.map((name) => [name, null]));
  }

  all(values: readonly SQLInputValue[]): object[] {
    // `setReturnArrays` is not in the type.
    return (this.#statement.all(...values) as unknown as Value[][]).map((row) => this.#toObject(row));
  }

  first(values: readonly SQLInputValue[]): object | undefined {
    const row = this.#statement.get(...values) as Value[] | undefined;
    return row === undefined ? undefined : this.#toObject(row);
  }

  /** Answers how many rows were changed. */
  run(values: readonly SQLInputValue[]): number {
    return Number(this.#statement.run(...values).changes);
  }

  #toObject(values: readonly Value[]): object {
    const row: Record<string, Value> = { ...this.#blank };
    const columns = this.#columns;
    for (let index = 0; index < columns.length; index += 1) row[columns[index] ?? ""] = values[index] ?? null;
    return row;
  }
}
