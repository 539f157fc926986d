/**
 * SQL of the hot paths: built once with Kysely, prepared once by SQLite, run synchronously. A statement is data (how it is
 * built); a `Sql` runs it. Whatever runs between two statements of one synchronous function, nothing else can.
 */
import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite";
import {
  type Compilable,
  DummyDriver,
  Kysely,
  type LimitNode,
  type OffsetNode,
  type OperationNode,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
} from "kysely";
import { Prepared, toInput } from "./prepared.ts";
import type { Database } from "./schema.ts";

/** Stands for the argument `name` where a statement is built. */
export type Args<A> = <K extends keyof A & string>(name: K) => A[K];

/** `build` must not depend on anything but its parameters: its first result serves every call. */
export interface Statement<A, R> {
  readonly build: (db: Kysely<Database>, arg: Args<A>) => Compilable<R>;
}

/** `statement((db, arg: Args<{ runId: string }>) => db.selectFrom("runs").selectAll().where("run_id", "=", arg("runId")))` */
export function statement<A, R>(build: Statement<A, R>["build"]): Statement<A, R> {
  return { build };
}

export type Optional<A> = { readonly [K in keyof A]: A[K] | undefined };

/** Statements whose text depends on which arguments a call has: one is kept for each set of them. `arg` only what it `has`. */
export function shaped<A, R>(
  build: (db: Kysely<Database>, arg: Args<A>, has: (name: keyof A) => boolean) => Compilable<R>,
): (args: Optional<A>) => Statement<Optional<A>, R> {
  const shapes = new Map<string, Statement<Optional<A>, R>>();
  return (args) => {
    let shape = "";
    for (const name in args) if (args[name] !== undefined) shape += `${name},`;
    const known = shapes.get(shape);
    if (known !== undefined) return known;
    const present = shape.split(",");
    // What is missing is never asked for, so what is there is all that `arg` answers with.
    const made = statement<Optional<A>, R>((db, arg) => build(db, arg as Args<A>, (name) => present.includes(name as string)));
    shapes.set(shape, made);
    return made;
  };
}

/** Runs a statement in a transaction that awaits its queries. */
export async function runAwaited<A, R>(tx: Kysely<Database>, one: Statement<A, R>, args: A): Promise<readonly R[]> {
  const { rows } = await tx.executeQuery<R>(one.build(tx, (name) => args[name]).compile());
  return rows;
}

/** Every column of a row as an argument of the same name; one that is missing does not compile. */
export function row<T>(arg: Args<T>, columns: { readonly [K in keyof T & string]-?: true }): T {
  const names = Object.keys(columns) as (keyof T & string)[]; // Object.keys forgets what it was given.
  return Object.fromEntries(names.map((name) => [name, arg(name)])) as T;
}

/** Messages that were added to a session's transcript: those with the numbers `fromSeq` to `throughSeq`. */
export interface Appended {
  readonly sessionKey: string;
  readonly fromSeq: number;
  readonly throughSeq: number;
}

/** Runs statements on one connection. */
export interface Sql {
  all<A, R>(statement: Statement<A, R>, args: A): R[];
  first<A, R>(statement: Statement<A, R>, args: A): R | undefined;
  /** Answers how many rows were changed. */
  run<A>(statement: Statement<A, unknown>, args: A): number;
  /** A query whose shape depends on the call: compiled each time, prepared again only when its text is new. */
  query<R>(build: (db: Kysely<Database>) => Compilable<R>): R[];
  /** Transaction control and nothing else. */
  exec(command: string): void;
  /** What the open transaction has added to transcripts: told once it has committed. */
  readonly appended: Appended[];
}

export function createSql(raw: DatabaseSync): Sql {
  const dynamic = createBuilder(new SqliteQueryCompiler());
  const prepared = new Map<Statement<never, unknown>, Bindable>();
  const byText = new Map<string, Prepared>();
  const commands = new Map<string, StatementSync>();

  const prepare = <A, R>(one: Statement<A, R>): Bindable => {
    // The map forgets what a statement takes and gives; its own signature says so to callers.
    const key = one as unknown as Statement<never, unknown>;
    const known = prepared.get(key);
    if (known !== undefined) return known;
    const { text, names } = compile(one);
    const made = { statement: new Prepared(raw, text), names };
    prepared.set(key, made);
    return made;
  };
  const prepareText = (text: string): Prepared => {
    const known = byText.get(text);
    if (known !== undefined) return known;
    if (byText.size >= keptTexts) byText.clear();
    const made = new Prepared(raw, text);
    byText.set(text, made);
    return made;
  };
  return {
    all: (one, args) => {
      const { statement, names } = prepare(one);
      return statement.all(bind(names, args)) as never[];
    },
    first: (one, args) => {
      const { statement, names } = prepare(one);
      return statement.first(bind(names, args)) as never;
    },
    run: (one, args) => {
      const { statement, names } = prepare(one);
      return statement.run(bind(names, args));
    },
    query: (build) => {
      const { sql, parameters } = build(dynamic).compile();
      return prepareText(sql).all((parameters as SQLInputValue[]).map(toInput)) as never[];
    },
    exec: (command) => {
      let known = commands.get(command);
      if (known === undefined) commands.set(command, (known = raw.prepare(command)));
      known.run();
    },
    appended: [],
  };
}

interface Compiled {
  readonly text: string;
  /** Of the arguments, in the order of their places. */
  readonly names: readonly string[];
}

/** Every statement is built once, for however many connections. */
const compiled = new WeakMap<object, Compiled>();

function compile<A, R>(one: Statement<A, R>): Compiled {
  const known = compiled.get(one);
  if (known !== undefined) return known;
  const { sql: text, parameters } = one.build(builder, (name) => new Argument(name) as never).compile();
  // The compiler keeps no other parameters.
  const made = { text, names: (parameters as readonly Argument[]).map(({ name }) => name) };
  compiled.set(one, made);
  return made;
}

/** How many texts of `query` stay prepared. */
const keptTexts = 100;

interface Bindable extends Pick<Compiled, "names"> {
  readonly statement: Prepared;
}

class Argument {
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }
}

/** Writes constants into the text: SQLite uses a partial index only where it can see that the condition holds. */
class StatementCompiler extends SqliteQueryCompiler {
  protected override appendValue(value: unknown): void {
    if (value instanceof Argument) super.appendValue(value);
    else this.appendImmediateValue(value);
  }

  protected override visitLimit({ limit }: LimitNode): void {
    this.#appendBound("limit", limit);
  }

  protected override visitOffset({ offset }: OffsetNode): void {
    this.#appendBound("offset", offset);
  }

  /** SQLite would compile the statement anew at every call for the value of a bare parameter there. */
  #appendBound(word: "limit" | "offset", count: OperationNode): void {
    this.append(`${word} cast(`);
    this.visitNode(count);
    this.append(" as integer)");
  }
}

const builder = createBuilder(new StatementCompiler());

function createBuilder(compiler: SqliteQueryCompiler): Kysely<Database> {
  return new Kysely<Database>({
    dialect: {
      createAdapter: () => new SqliteAdapter(),
      createDriver: () => new DummyDriver(),
      createIntrospector: (db) => new SqliteIntrospector(db),
      createQueryCompiler: () => compiler,
    },
  });
}

// What our columns hold are strings, numbers and nulls: the types of the schema say so where the statement is built.
function bind(names: readonly string[], args: unknown): SQLInputValue[] {
  const values = args as Readonly<Record<string, SQLInputValue | undefined>>;
  return names.map((name) => toInput(values[name]));
}
