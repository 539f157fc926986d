/** File name patterns: `*`, `?`, `**` and `{a,b}`. Matching takes time in proportion to both lengths, whatever the pattern. */

const maxAlternatives = 64;

/** Whether a path (from the workspace, with `/`) fits. */
export type Glob = (path: string) => boolean;

/**
 * A pattern without `/` is for the file's name, one with `/` for the whole path, where `**` stands for any folders.
 * Undefined when the braces make more than 64 patterns.
 */
export function parseGlob(pattern: string): Glob | undefined {
  const alternatives = expandBraces(pattern);
  if (alternatives === undefined) return undefined;
  const globs = alternatives.map(parsePlain);
  return (path) => globs.some((glob) => glob(path));
}

function expandBraces(pattern: string): readonly string[] | undefined {
  const done: string[] = [];
  const waiting = [pattern];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const braces = /\{([^{}]*)\}/.exec(next);
    if (braces === null) {
      done.push(next);
      continue;
    }
    const before = next.slice(0, braces.index);
    const after = next.slice(braces.index + braces[0].length);
    waiting.push(...(braces[1] ?? "").split(",").map((alternative) => `${before}${alternative}${after}`));
    if (done.length + waiting.length > maxAlternatives) return undefined;
  }
  return done;
}

function parsePlain(pattern: string): Glob {
  if (!pattern.includes("/")) return (path) => fitsName(pattern, path.slice(path.lastIndexOf("/") + 1));
  const folders = pattern.replace(/^\.?\//, "").split("/");
  return (path) => fitsSequence(folders, path.split("/"), { star: "**", fits: fitsName });
}

function fitsName(pattern: string, name: string): boolean {
  return fitsSequence([...pattern], [...name], { star: "*", fits: (one, character) => one === "?" || one === character });
}

interface Fitting {
  readonly star: string;
  readonly fits: (one: string, item: string) => boolean;
}

/** Whether `items` fits, where `star` stands for any number of items. Goes back to the last star only: never exponential. */
function fitsSequence(pattern: readonly string[], items: readonly string[], { star, fits }: Fitting): boolean {
  let at = 0;
  let afterStar: number | undefined;
  let resumeAt = 0;
  for (let index = 0; index < items.length;) {
    const one = pattern[at];
    const item = items[index];
    if (one === star) {
      at += 1;
      afterStar = at;
      resumeAt = index;
    } else if (one !== undefined && item !== undefined && fits(one, item)) {
      at += 1;
      index += 1;
    } else if (afterStar !== undefined) {
      at = afterStar;
      resumeAt += 1;
      index = resumeAt;
    } else return false;
  }
  return pattern.slice(at).every((one) => one === star);
}
