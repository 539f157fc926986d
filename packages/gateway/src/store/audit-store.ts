/** What is written down of grants and refusals, as sentences of the domain. */

export interface AuditRow {
  readonly seq: number;
  readonly atMs: number;
  readonly kind: string;
  /** The principal that caused it. */
  readonly actor: string;
  /** What it was done to: a device id, a run id. */
  readonly subject: string;
  readonly facts: Readonly<Record<string, unknown>>;
  readonly hash: string;
}

export interface AuditStore {
  /** Newest last. Grants are appended by the store methods that make them, in the same transaction. */
  list(limit: number): Promise<readonly AuditRow[]>;
  /** The first row whose hash does not follow from the one before, or undefined when the chain holds. */
  findBreak(): Promise<number | undefined>;
}

/** How often one principal was refused one method by one rule within a minute. */
export interface RefusalCount {
  /** The beginning of the minute. */
  readonly minuteMs: number;
  readonly principal: string;
  readonly method: string;
  readonly rule: string;
  readonly count: number;
}

export interface RefusalStore {
  /** Adds to the stored counts, and forgets minutes before `keepSinceMs` and the oldest rows beyond `keepRows`. */
  add(counts: readonly RefusalCount[], keep: { readonly sinceMs: number; readonly rows: number }): Promise<void>;
  /** Newest first. */
  list(filter: { readonly sinceMs: number; readonly limit: number }): Promise<readonly RefusalCount[]>;
}
