/** What Stryker found, held against the list of what may survive. Pure. */
import type { Change, Survivor } from "./survivors.ts";

interface Position {
  readonly line: number;
  readonly column: number;
}

/** What is read of Stryker's JSON report. */
export interface Report {
  readonly files: Readonly<
    Record<
      string,
      {
        readonly source: string;
        readonly mutants: readonly {
          readonly status: string;
          readonly replacement?: string;
          readonly location: { readonly start: Position; readonly end: Position };
        }[];
      }
    >
  >;
}

/** How many changes were tried, and those that no test noticed. */
export function readReport({ files }: Report): { readonly tried: number; readonly survived: readonly Change[] } {
  const all = Object.entries(files).flatMap(([file, { source, mutants }]) =>
    mutants.map(({ status, replacement = "", location: { start, end } }) => {
      const lines = source.split("\n");
      const within = lines.slice(start.line - 1, end.line);
      const tail = (within.at(-1) ?? "").length - (end.column - 1);
      const from = within.join("\n").slice(start.column - 1, tail === 0 ? undefined : -tail);
      return { status, change: { file, line: oneLine(within[0] ?? ""), from: oneLine(from), to: oneLine(replacement) } };
    }),
  );
  const survived = all.filter(({ status }) => status === "Survived" || status === "NoCoverage").map(({ change }) => change);
  return { tried: all.length, survived };
}

/** `fresh`: survived and are not listed. `stale`: are listed and did not survive. What is there twice is listed twice. */
export function compare(
  survived: readonly Change[],
  listed: readonly Survivor[],
): { readonly fresh: readonly Change[]; readonly stale: readonly Change[] } {
  const stale: Change[] = listed.map(({ why: _why, ...change }) => change);
  const fresh = survived.filter((one) => {
    const index = stale.findIndex((other) => isSame(one, other));
    if (index >= 0) stale.splice(index, 1);
    return index < 0;
  });
  return { fresh, stale };
}

function isSame(a: Change, b: Change): boolean {
  return a.file === b.file && a.line === b.line && a.from === b.from && a.to === b.to;
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, " ").trim();
}
