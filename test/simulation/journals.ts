/** Every journal as it grows: read once, folded by the machine itself, and looked through for what happened twice. */
import type { JournalEntry } from "../../packages/gateway/src/store/journal.ts";
import { apply, type RunState } from "../../packages/gateway/src/runs/machine.ts";
import type { FaultyDatabase } from "./faulty-database.ts";

/** What calls of a model used, as entries say it. */
export interface Used {
  readonly tokens: number;
  readonly turns: number;
}

interface Journal {
  used: Used;
  state: RunState | "broken";
  seq: number;
  epoch: number;
}

export class Journals {
  readonly #database: FaultyDatabase;
  readonly #found: (problem: string) => void;
  readonly #journals = new Map<string, Journal>();
  readonly #read = new Set<string>();
  #row = 0;

  constructor(database: FaultyDatabase, found: (problem: string) => void) {
    this.#database = database;
    this.#found = found;
  }

  phaseOf(runId: string): RunState["phase"] | "broken" {
    const state = this.#journals.get(runId)?.state ?? { phase: "fresh" };
    return state === "broken" ? state : state.phase;
  }

  usedBy(runId: string): Used {
    return this.#journals.get(runId)?.used ?? { tokens: 0, turns: 0 };
  }

  read(): void {
    const rows = this.#database.statement("select row, run_id, seq, epoch, entry from entries where row > ? order by row").all(this.#row);
    for (const row of rows) {
      this.#row = Number(row["row"]);
      // Written by the store from an entry.
      this.#take(String(row["run_id"]), Number(row["seq"]), Number(row["epoch"]), JSON.parse(String(row["entry"])) as JournalEntry);
    }
  }

  #take(runId: string, seq: number, epoch: number, entry: JournalEntry): void {
    const journal = this.#journals.get(runId) ?? { state: { phase: "fresh" }, seq: 0, epoch: 0, used: { tokens: 0, turns: 0 } };
    this.#journals.set(runId, journal);
    if (seq !== journal.seq + 1) this.#found(`entry ${seq} of ${runId} follows entry ${journal.seq}`);
    if (epoch < journal.epoch) this.#found(`epoch ${epoch} of ${runId} writes after epoch ${journal.epoch}`);
    journal.seq = seq;
    journal.epoch = epoch;
    journal.used = addUsed(journal.used, entry);
    if (entry.kind === "completions") for (const { inboxId } of entry.completions) this.#takeCompletion(inboxId);
    if (journal.state === "broken") return;
    try {
      journal.state = apply(journal.state, entry);
    } catch (error) {
      journal.state = "broken";
      this.#found(`the journal of ${runId}: ${String(error)}`);
    }
  }

  #takeCompletion(inboxId: string): void {
    if (this.#read.has(inboxId)) this.#found(`${inboxId} was read by two turns`);
    this.#read.add(inboxId);
  }
}

function addUsed({ tokens, turns }: Used, entry: JournalEntry): Used {
  switch (entry.kind) {
    case "reply":
    case "compacted":
      return { tokens: tokens + entry.usage.totalTokens, turns: turns + 1 };
    case "model-error":
    case "compaction-failed":
      return { tokens: tokens + (entry.usage?.totalTokens ?? 0), turns };
    default:
      return { tokens, turns };
  }
}
