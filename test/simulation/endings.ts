/** What the row of a run that has ended says: it stays, but for what is erased with its session. */
import type { FaultyDatabase } from "./faulty-database.ts";

interface EndedRun {
  readonly run_id: string;
  readonly session_key: string;
  readonly status: string;
  readonly input: string;
  readonly ending: string | null;
}

export class Endings {
  readonly #database: FaultyDatabase;
  readonly #found: (problem: string) => void;
  /** As each stood when it was seen first, or after it was erased. */
  readonly #known = new Map<string, string>();

  constructor(database: FaultyDatabase, found: (problem: string) => void) {
    this.#database = database;
    this.#found = found;
  }

  look(run: EndedRun): void {
    const ending = `${run.status} ${run.ending}`;
    const known = this.#known.get(run.run_id);
    if (known !== undefined && known !== ending && !(ending === erase(known) && this.#wasErased(run)))
      this.#found(`${run.run_id} had ended as ${known} and is ${ending}`);
    this.#known.set(run.run_id, ending);
  }

  #wasErased({ session_key: key, input }: EndedRun): boolean {
    const erasing = "select seq from audit where kind in ('session.reset', 'session.deleted') and subject = ?";
    return input === "" && this.#database.statement(erasing).get(key) !== undefined;
  }
}

/** All of it but what had been said. */
function erase(known: string): string {
  const at = known.indexOf(" ") + 1;
  const { error: _, schemaError: __, ...kept } = JSON.parse(known.slice(at)) as Readonly<Record<string, unknown>>;
  return `${known.slice(0, at)}${JSON.stringify({ ...kept, text: "" })}`;
}
