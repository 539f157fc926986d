/** The ledger of model calls: what was used and what it cost. Charged with the journal entry of the call, in its transaction. */

/** In millionths of a dollar, whole ones. */
export interface Cost {
  readonly input: number;
  readonly output: number;
  readonly cacheRead: number;
  readonly cacheWrite: number;
}

/** Calls of one session and model on one day, added up. */
export interface UsageSum {
  /** Days since 1970-01-01 at the offset that was asked for. */
  readonly day: number;
  readonly sessionKey: string;
  readonly sessionId: string;
  readonly agentId: string;
  /** `provider/name`. */
  readonly model: string;
  readonly calls: number;
  /** Of them, those whose model has no price; `cost` is of the others. */
  readonly unpricedCalls: number;
  readonly input: number;
  readonly output: number;
  readonly cacheRead: number;
  readonly cacheWrite: number;
  readonly cost: Cost;
  /** The quarters of an hour in which the first and the last of them ended. */
  readonly firstMs: number;
  readonly lastMs: number;
}

export interface UsageFilter {
  readonly fromMs: number;
  readonly toMs: number;
  /** Where a day begins, beside UTC; a multiple of a quarter of an hour. */
  readonly offsetMs: number;
  readonly sessionKey?: string | undefined;
  readonly agentId?: string | undefined;
}

export interface UsageStore {
  /** Oldest day first. Calls of deleted sessions are there. */
  list(filter: UsageFilter): Promise<readonly UsageSum[]>;
}
