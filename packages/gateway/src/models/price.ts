/** What model calls cost. Pure; whole millionths of a dollar, so that sums stay exact. */
import type { Usage } from "@portreeve/protocol";

/** US dollars per million tokens, which is millionths of a dollar per token. */
export interface Price {
  readonly input: number;
  readonly output: number;
  /** Else as input. */
  readonly cacheRead?: number | undefined;
  readonly cacheWrite?: number | undefined;
}

/** Undefined for a model without a known price: that is not free. */
export type PriceOf = (modelId: string) => Price | undefined;

const free: Price = { input: 0, output: 0 };

export function createPrices(configured: Readonly<Record<string, Price>>): PriceOf {
  return (modelId) => {
    if (Object.hasOwn(configured, modelId)) return configured[modelId];
    return modelId.startsWith("scripted/") ? free : undefined;
  };
}

export interface CallCost {
  readonly input: number;
  readonly output: number;
  readonly cacheRead: number;
  readonly cacheWrite: number;
}

/** Undefined when it is not known: no price, or a provider that did not count. */
export function costOf(
  { input, output, cacheRead = 0, cacheWrite = 0, totalTokens }: Usage,
  price: Price | undefined,
): CallCost | undefined {
  if (price === undefined || totalTokens === 0) return undefined;
  return {
    input: Math.round(input * price.input),
    output: Math.round(output * price.output),
    cacheRead: Math.round(cacheRead * (price.cacheRead ?? price.input)),
    cacheWrite: Math.round(cacheWrite * (price.cacheWrite ?? price.input)),
  };
}
