/** How much a model reads at once, and how much that is about. Pure. */

/** Tokens that go into one call, by model id. */
export type ContextWindowOf = (modelId: string) => number;

/** What the families are known for; a newer model of a family has rarely less. */
const families: readonly (readonly [pattern: RegExp, tokens: number])[] = [
  [/claude/i, 200_000],
  [/gpt-5|gpt-6/i, 272_000],
  [/gpt-4\.1/i, 1_000_000],
  [/gemini/i, 1_000_000],
];
const usual = 128_000;

export function createContextWindows(configured: Readonly<Record<string, number>>): ContextWindowOf {
  return (modelId) =>
    (Object.hasOwn(configured, modelId) ? configured[modelId] : undefined) ??
    families.find(([pattern]) => pattern.test(modelId))?.[1] ??
    usual;
}

/** By bytes, so that scripts with many tokens a character count for more. */
export function estimateTokens(value: unknown): number {
  return Math.ceil(Buffer.byteLength(JSON.stringify(value) ?? "") / 4);
}
