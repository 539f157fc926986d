/** Few of many settings, in which still every two values that occur together anywhere occur together. */

export type Values = Readonly<Record<string, string>>;

/** Every two values of two columns that occur together in one of `settings`, as text. */
export function pairsIn(settings: readonly Values[]): ReadonlySet<string> {
  return new Set(settings.flatMap(pairsOf));
}

/** Greedy: the setting with the most pairs that are still missing is next; of equals the earliest, so put the cheap ones first. */
export function choosePairwise<Setting extends Values>(settings: readonly Setting[]): readonly Setting[] {
  const missing = new Set(pairsIn(settings));
  const chosen: Setting[] = [];
  const gain = (setting: Setting): number => pairsOf(setting).filter((pair) => missing.has(pair)).length;
  while (missing.size > 0) {
    const next = settings.reduce((best, setting) => (gain(setting) > gain(best) ? setting : best));
    for (const pair of pairsOf(next)) missing.delete(pair);
    chosen.push(next);
  }
  return chosen;
}

function pairsOf(setting: Values): readonly string[] {
  const values = Object.entries(setting).map(([column, value]) => `${column}=${value}`);
  return values.flatMap((one, index) => values.slice(index + 1).map((other) => `${one} ${other}`));
}
