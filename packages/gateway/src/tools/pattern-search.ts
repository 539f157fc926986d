/** Searching text with a regular expression that a model wrote: however it is made, it cannot hold the gateway up. */
import { runInNewContext } from "node:vm";
import { cutText } from "../kit/cut-text.ts";
import { createPace } from "../kit/pace.ts";

/** For at most `maxBatchCharacters` of text; searching that much takes some 10 ms with a usual pattern. */
const batchTimeoutMs = 250;
export const maxBatchCharacters = 1_048_576;

export interface TextToSearch {
  readonly name: string;
  readonly text: string;
}

export interface Hit {
  readonly name: string;
  /** Counted from 1. */
  readonly line: number;
  /** The line, or the part of a long one around the match. */
  readonly excerpt: string;
}

export type CompiledPattern =
  | { readonly kind: "pattern"; readonly pattern: RegExp }
  | { readonly kind: "invalid"; readonly reason: string };
export type Searched = { readonly kind: "searched"; readonly hits: readonly Hit[] } | { readonly kind: "too-slow" };

/** A pattern as the model wrote it; `isLiteral` takes every character for itself. */
export function compilePattern(source: string, options: { readonly isLiteral: boolean; readonly ignoreCase: boolean }): CompiledPattern {
  try {
    return { kind: "pattern", pattern: new RegExp(options.isLiteral ? RegExp.escape(source) : source, options.ignoreCase ? "i" : "") };
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return { kind: "invalid", reason: error.message };
  }
}

/** One for all runs: between two slow searches everybody else is answered, whoever asks for them. */
const turn = createPace();

/**
 * The first `maxHits` lines of `texts` that fit. `too-slow`: the pattern backtracks beyond what it may take.
 * @throws the reason of `signal`
 */
export async function searchLines(
  pattern: RegExp,
  texts: readonly TextToSearch[],
  { maxHits, signal }: { readonly maxHits: number; readonly signal: AbortSignal },
): Promise<Searched> {
  await turn();
  signal.throwIfAborted();
  const search = (): readonly Hit[] => findHits(pattern, texts, maxHits);
  try {
    // Not for isolation, nothing foreign runs there: a vm's timeout is what stops a regular expression in its middle.
    const hits: readonly Hit[] = runInNewContext("search()", { search }, { timeout: batchTimeoutMs });
    return { kind: "searched", hits };
  } catch (error) {
    if (isTimeout(error) || error instanceof RangeError) return { kind: "too-slow" };
    throw error;
  }
}

function findHits(pattern: RegExp, texts: readonly TextToSearch[], maxHits: number): readonly Hit[] {
  const hits: Hit[] = [];
  for (const { name, text } of texts) {
    for (const [index, line] of text.split(/\r?\n/).entries()) {
      const match = pattern.exec(line);
      if (match === null) continue;
      hits.push({ name, line: index + 1, excerpt: excerptAround(line, match.index) });
      if (hits.length === maxHits) return hits;
    }
  }
  return hits;
}

function excerptAround(line: string, at: number): string {
  const maxCharacters = 300;
  if (line.length <= maxCharacters) return line;
  const start = Math.min(Math.max(0, at - 100), line.length - maxCharacters);
  const end = start + maxCharacters;
  return `${start > 0 ? "…" : ""}${cutText(line, start, end)}${end < line.length ? "…" : ""}`;
}

/** The error comes from the other context, so it is not an `instanceof Error` here. */
function isTimeout(error: unknown): boolean {
  return typeof error === "object" && error !== null && "code" in error && error.code === "ERR_SCRIPT_EXECUTION_TIMEOUT";
}
