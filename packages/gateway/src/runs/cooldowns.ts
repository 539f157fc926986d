/** Models that failed for a reason of their own are left out for a while, longer each time, where another may do. */

export interface Cooldowns {
  /** Ids of models that are left out now. */
  cooling(nowMs: number): ReadonlySet<string>;
  /** `retryAfterMs`: what its provider asked for. */
  failed(modelId: string, nowMs: number, retryAfterMs: number | undefined): void;
  worked(modelId: string): void;
}

const firstMs = 60_000;
const longestMs = 600_000;
/** What a provider asks for counts up to this: it may be mistaken, and is asked again then. */
const longestAskedMs = 3_600_000;

export function createCooldowns(): Cooldowns {
  const failures = new Map<string, { readonly untilMs: number; readonly times: number }>();
  return {
    cooling: (nowMs) => new Set([...failures].flatMap(([id, { untilMs }]) => (untilMs > nowMs ? [id] : []))),
    failed(modelId, nowMs, retryAfterMs = 0) {
      const times = (failures.get(modelId)?.times ?? 0) + 1;
      const lastsMs = Math.min(longestMs, firstMs * 2 ** (times - 1));
      failures.set(modelId, { untilMs: nowMs + Math.max(lastsMs, Math.min(longestAskedMs, retryAfterMs)), times });
    },
    worked: (modelId) => void failures.delete(modelId),
  };
}

/** The first of `chain` that is not left out, or the first of all. */
export function firstReady(chain: readonly [string, ...string[]], cooling: ReadonlySet<string>): string {
  return chain.find((id) => !cooling.has(id)) ?? chain[0];
}
