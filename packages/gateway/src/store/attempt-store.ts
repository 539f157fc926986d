/** What the store remembers of failed attempts to authenticate. */

export type AttemptKind = "shared-secret" | "device-token" | "setup-code";

/** Attempts of one kind by one peer count together. */
export interface AttemptKey {
  readonly kind: AttemptKind;
  readonly peer: string;
}

/** `maxFailures` within `windowMs` lock for `lockMs`; 0 never locks. */
export interface AttemptRule {
  readonly maxFailures: number;
  readonly windowMs: number;
  readonly lockMs: number;
}

/** No rule locks for longer. */
export const longestLockMs = 300_000;

/**
 * Survives a restart and is one for all gateways on the store; the number of keys is bounded, the oldest go first, and none that
 * is locked. While they all are, a new key is locked too, unless its rule never locks.
 */
export interface AttemptStore {
  /** Counts a failure, unless the key is locked. `failures`: those in the window, this one included. */
  fail(
    key: AttemptKey,
    rule: AttemptRule,
    nowMs: number,
  ): Promise<{ readonly kind: "counted"; readonly failures: number } | { readonly kind: "locked"; readonly untilMs: number }>;
  /** A success: forgets the failures, unless the key is locked. Ordered with `fail`, so that no burst runs past the limit. */
  pass(
    key: AttemptKey,
    rule: AttemptRule,
    nowMs: number,
  ): Promise<{ readonly kind: "open" } | { readonly kind: "locked"; readonly untilMs: number }>;
  count(): Promise<number>;
}
