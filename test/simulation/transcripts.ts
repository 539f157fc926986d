/** Every transcript as it grows: in order without gaps, and nothing said twice. */
import type { TranscriptMessage } from "../../packages/gateway/src/store/store.ts";
import type { FaultyDatabase } from "./faulty-database.ts";

const asked = /asked\d+\./g;
/** A child is given a word that its parent said. */
const askedOrTask = /(?:asked|said)\d+\./g;
const said = /said\d+\./g;
const quoted = /<subagent_result session="([^"]+)"/g;

export class Transcripts {
  readonly #database: FaultyDatabase;
  readonly #found: (problem: string) => void;
  readonly #lastSeq = new Map<string, number>();
  readonly #said = new Set<string>();
  readonly #asked = new Map<string, number>();
  readonly #quoted = new Map<string, number>();
  /** Where the copy of another ends with which a session begins. */
  readonly #copies = new Map<string, number>();
  readonly #begun = new Set<string>();
  #newest = "";

  constructor(database: FaultyDatabase, found: (problem: string) => void) {
    this.#database = database;
    this.#found = found;
  }

  timesAsked(text: string): number {
    return this.#asked.get(text) ?? 0;
  }

  /** How often the result of the child with this session stands anywhere. */
  timesQuoted(childSessionKey: string): number {
    return this.#quoted.get(childSessionKey) ?? 0;
  }

  read(): void {
    const rows = this.#database
      .statement("select message_id, session_key, seq, body from messages where message_id > ? order by message_id")
      .all(this.#newest);
    for (const row of rows) {
      this.#newest = String(row["message_id"]);
      // Written by the store from a message.
      this.#take(String(row["session_key"]), Number(row["seq"]), JSON.parse(String(row["body"])) as TranscriptMessage);
    }
  }

  #take(key: string, seq: number, message: TranscriptMessage): void {
    const last = this.#lastSeq.get(key) ?? 0;
    // A session that was deleted and came again begins again.
    if (seq !== last + 1 && seq !== 1) this.#found(`message ${seq} of ${key} follows message ${last}`);
    // Emptied: what it was a copy of is gone.
    if (seq === 1 && last > 0) this.#copies.delete(key);
    this.#lastSeq.set(key, seq);
    if (!this.#begun.has(key)) this.#begin(key);
    const text = textOf(message);
    if (seq <= (this.#copies.get(key) ?? 0)) return;
    if (message.role === "user") this.#takeAsked(key, text);
    if (message.role === "assistant") for (const [word] of text.matchAll(said)) this.#takeSaid(key, word);
  }

  /** A fork is a copy up to its task, or whole while that was not put to it. */
  #begin(key: string): void {
    this.#begun.add(key);
    const child = this.#database.statement("select input, terms from runs where session_key = ? and trigger = 'spawn'").get(key);
    const terms = JSON.parse(String(child?.["terms"] ?? "{}")) as { fork?: { isForked: boolean } };
    if (terms.fork?.isForked !== true) return;
    const rows = this.#database.statement("select seq, body from messages where session_key = ? order by seq").all(key);
    const task = rows.findIndex((row) => textOf(JSON.parse(String(row["body"])) as TranscriptMessage) === child?.["input"]);
    this.#copies.set(key, task < 0 ? rows.length : task);
  }

  #takeAsked(key: string, text: string): void {
    const children = [...text.matchAll(quoted)].map((match) => match[1] ?? "");
    for (const child of children) {
      this.#quoted.set(child, this.timesQuoted(child) + 1);
      if (this.timesQuoted(child) > 1) this.#checkWays(child);
    }
    const words = children.length > 0 ? asked : askedOrTask;
    for (const [word] of text.matchAll(words)) {
      this.#asked.set(word, this.timesAsked(word) + 1);
      if (this.timesAsked(word) > 1) this.#found(`${word} was put to ${key} twice`);
    }
  }

  /** A result comes once for each way that it took. */
  #checkWays(childSessionKey: string): void {
    const row = this.#database
      .statement("select count(*) as n from inbox join runs on run_id = child_run_id where runs.session_key = ?")
      .get(childSessionKey);
    if (this.timesQuoted(childSessionKey) > Number(row?.["n"])) this.#found(`the result of ${childSessionKey} came twice`);
  }

  #takeSaid(key: string, word: string): void {
    if (this.#said.has(word)) this.#found(`${word} was said twice, the second time in ${key}`);
    this.#said.add(word);
  }
}

function textOf({ content }: TranscriptMessage): string {
  return content.flatMap((block) => (block.type === "text" ? [block.text] : [])).join("");
}
