/** What is written down of grants and refusals, as sentences of the domain. */
import type { PairingRecord } from "./device-store.ts";

export interface AuditRow {
  readonly seq: number;
  readonly atMs: number;
  readonly kind: string;
  /** The principal that caused it. */
  readonly actor: string;
  /** What it was done to: a device id, a run id. */
  readonly subject: string;
  /** Empty when the stored text is no JSON object: then the row's hash says so too. */
  readonly facts: Readonly<Record<string, unknown>>;
  /** As stored and hashed. */
  readonly factsText: string;
  readonly prevHash: string;
  readonly hash: string;
}

export interface AuditFilter {
  /** Only rows before this one. */
  readonly beforeSeq?: number | undefined;
  readonly kind?: string | undefined;
  readonly subject?: string | undefined;
}

/** What is wrong with a row: others are missing before it, it does not follow from the one before, or it was changed. */
export type BreakReason = "missing-rows" | "broken-link" | "changed-row";

export interface ChainVerdict {
  /** Rows up to and with the last one that holds. */
  readonly rows: number;
  /** The last row that holds. Whoever keeps it elsewhere can tell later that none was cut off the end. */
  readonly head: { readonly seq: number; readonly hash: string } | undefined;
  readonly firstBreak: { readonly seq: number; readonly reason: BreakReason } | undefined;
}

/** A pairing request in whatever state it came to; forgotten a day after it expired. */
export interface PairingDecision {
  readonly request: PairingRecord;
  readonly state: "pending" | "approved" | "rejected" | "superseded";
}

export interface ConfigChange {
  /** The principal. */
  readonly by: string;
  readonly method: string;
  readonly paths: readonly string[];
  /** Of the text that is in place then. */
  readonly hash: string;
}

export interface ConfigChangeStore {
  /** Appends to the audit which keys are about to change, never what they are. */
  record(change: ConfigChange, nowMs: number): Promise<void>;
}

export interface AuditStore {
  /** The newest rows that fit, newest last. Grants are appended by the store methods that make them, in the same transaction. */
  list(limit: number, filter?: AuditFilter): Promise<readonly AuditRow[]>;
  /** Reads the whole chain, row by row, up to the first one that does not hold. */
  verify(): Promise<ChainVerdict>;
  /** The first row whose hash does not follow from the one before, or undefined when the chain holds. */
  findBreak(): Promise<number | undefined>;
  findRequest(requestId: string): Promise<PairingDecision | undefined>;
  /** So many ids at most, of devices, pairing requests, runs and what the audit is about, that begin with `part`; runs also that end with it. */
  findIds(part: string, limit: number): Promise<readonly string[]>;
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

export interface RefusalFilter {
  readonly sinceMs: number;
  readonly limit: number;
  readonly principal?: string | undefined;
}

export interface RefusalStore {
  /** Adds to the stored counts, and forgets minutes before `sinceMs` and the oldest rows beyond `rows`. */
  add(counts: readonly RefusalCount[], keep: { readonly sinceMs: number; readonly rows: number }): Promise<void>;
  /** Newest first. */
  list(filter: RefusalFilter): Promise<readonly RefusalCount[]>;
}
