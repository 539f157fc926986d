/** One number of a benchmark and what it should reach; samples, how they are taken and what is made of them. */

export type Unit = "ms" | "/s" | "%" | "MB" | "";

export interface Measure {
  readonly name: string;
  readonly value: number;
  readonly unit: Unit;
  readonly aim?: { readonly bound: "at least" | "at most"; readonly value: number };
}

export function percentile(values: readonly number[], share: number): number {
  return values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))] ?? Number.NaN;
}

export function median(values: readonly number[]): number {
  return percentile(values, 0.5);
}

/** How far samples of the same thing lie apart, in percent of their median. */
export function spread(values: readonly number[]): number {
  return (100 * (Math.max(...values) - Math.min(...values))) / median(values);
}

/** Jain's index: 1 when all have the same, 1/n when one has everything. */
export function jain(values: readonly number[]): number {
  const sum = values.reduce((total, value) => total + value, 0);
  const squares = values.reduce((total, value) => total + value * value, 0);
  return squares === 0 ? Number.NaN : (sum * sum) / (values.length * squares);
}

export function atLeast(value: number): { readonly aim: NonNullable<Measure["aim"]> } {
  return { aim: { bound: "at least", value } };
}

export function atMost(value: number): { readonly aim: NonNullable<Measure["aim"]> } {
  return { aim: { bound: "at most", value } };
}

export function printTable(measures: readonly Measure[]): void {
  for (const { name, value, unit, aim } of measures) {
    const isMet = aim === undefined || (aim.bound === "at least" ? value >= aim.value : value <= aim.value);
    const verdict = aim === undefined ? "" : `   aim ${aim.bound} ${aim.value} ${isMet ? "met" : "MISSED"}`;
    const digits = unit === "ms" || unit === "" ? 2 : value < 100 && unit !== "/s" ? 1 : 0;
    console.log(`${name.padEnd(54)} ${value.toFixed(digits).padStart(9)} ${unit.padEnd(2)}${verdict}`);
  }
}

/** Milliseconds on a clock that all processes of a machine share. */
export function nowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** Runs `work` `count` times, `atOnce` at a time. */
export async function repeat(count: number, atOnce: number, work: (index: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  const keepGoing = async (): Promise<void> => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, count) }, keepGoing));
}
