/** Whoever claims runs: what it may take, what it has, and what it gives back. */
import type { Completion } from "./journal.ts";

export interface Claimer {
  readonly owner: string;
  readonly leaseMs: number;
  readonly limit: number;
  readonly maxConcurrentChildren: number;
  /** The user message that carries children's results; `open` children of the run have not ended. */
  readonly quote: (completions: readonly Completion[], open: number) => string;
  /** A run whose worker died this often without getting anything written is given up. */
  readonly maxTakeovers: number;
  /** Whether a suspect may be claimed: one at most, before everything else. */
  readonly takesSuspect: boolean;
  /** Whether the claimer is at work on the run, under that claim of its own. */
  readonly carries: (runId: string, epoch: number) => boolean;
  /** What it claimed and does not carry any more: given back first, without a death. */
  readonly letGo: readonly GivenBack[];
}

/** A claim whose worker could not write. Its lease is kept for a pause, which ends with the run's deadline. */
export interface GivenBack {
  readonly runId: string;
  readonly epoch: number;
  readonly notBeforeMs: number;
}
