/** The tool `grep`: lines of the workspace's text files that fit a pattern. */
import { z } from "zod";
import { walkFiles } from "./file-walk.ts";
import { parseGlob, type Glob } from "./glob.ts";
import { compilePattern, maxBatchCharacters, searchLines, type Hit, type TextToSearch } from "./pattern-search.ts";
import { defineTool, type ToolResult } from "./tool.ts";
import { describeRefusal, openFile, pathParameter, resolveForRun, showName, type PlaceInside } from "./workspace.ts";

const maxHits = 200;
const maxFileBytes = 1_048_576;
/** One call looks at no more than this, so that none takes for ever. */
const maxEntries = 50_000;
const maxFiles = 10_000;
const maxCharacters = 33_554_432;

/** What was looked at so far. */
interface Tally {
  files: number;
  skipped: number;
  /** Files were left out because a bound was reached. */
  isCut: boolean;
}

type Found = { readonly kind: "too-slow" } | { readonly kind: "found"; readonly hits: readonly Hit[]; readonly tally: Readonly<Tally> };

export const grepTool = defineTool({
  name: "grep",
  description:
    "Find the lines of the workspace's text files that fit a JavaScript regular expression; answers `path:line: text`. " +
    "Leaves out .git, node_modules, links, binary files and files over 1 MiB.",
  parameters: z.strictObject({
    pattern: z.string().min(1).max(1_000).describe("Regular expression, tried on each line by itself."),
    path: pathParameter.optional().describe("The folder or file to search; the whole workspace when left out."),
    include: z
      .string()
      .min(1)
      .max(200)
      .optional()
      .describe("Only files like this: `*.md`, `*.{ts,tsx}`, or from the workspace `src/**/*.ts`."),
    ignoreCase: z.boolean().optional(),
    literal: z.boolean().optional().describe("Take the pattern as plain text."),
  }),
  repeat: "safe",
  withoutRun: true,
  async execute({ pattern: source, path = ".", include = "*", ignoreCase = false, literal = false }, context) {
    const compiled = compilePattern(source, { isLiteral: literal, ignoreCase });
    if (compiled.kind === "invalid") return failed(`${compiled.reason}. Correct the pattern, or set literal to take it as plain text.`);
    const glob = parseGlob(include);
    if (glob === undefined) return failed("The braces in include make more than 64 patterns. Use fewer.");
    const place = await resolveForRun(context, path);
    if (place.kind !== "inside") return failed(describeRefusal(path, place));
    return toResult(await search(place, { pattern: compiled.pattern, include: glob, signal: context.signal }));
  },
});

interface Wanted {
  readonly pattern: RegExp;
  readonly include: Glob;
  readonly signal: AbortSignal;
}

async function search(start: PlaceInside, wanted: Wanted): Promise<Found> {
  const tally: Tally = { files: 0, skipped: 0, isCut: false };
  const hits: Hit[] = [];
  for await (const batch of readBatches(start, wanted, tally)) {
    const searched = await searchLines(wanted.pattern, batch, { maxHits: maxHits + 1 - hits.length, signal: wanted.signal });
    if (searched.kind === "too-slow") return searched;
    hits.push(...searched.hits);
    if (hits.length > maxHits) break;
  }
  return { kind: "found", hits, tally };
}

/** The texts of the wanted files, as many at a time as one search may take. Keeps `tally`. */
async function* readBatches(start: PlaceInside, { include, signal }: Wanted, tally: Tally): AsyncGenerator<readonly TextToSearch[]> {
  let batch: TextToSearch[] = [];
  let batchCharacters = 0;
  let allCharacters = 0;
  for await (const step of walkFiles(start, maxEntries, signal)) {
    if (step.kind === "unlisted") tally.skipped += 1;
    if (step.kind === "unlisted" || (step.kind === "file" && !include(step.place.shown))) continue;
    if (step.kind === "cut" || tally.files === maxFiles || allCharacters >= maxCharacters) {
      tally.isCut = true;
      break;
    }
    tally.files += 1;
    const text = await readText(step.place);
    if (text === undefined) {
      tally.skipped += 1;
      continue;
    }
    if (batchCharacters + text.length > maxBatchCharacters) {
      yield batch;
      batch = [];
      batchCharacters = 0;
    }
    batch.push({ name: step.place.shown, text });
    batchCharacters += text.length;
    allCharacters += text.length;
  }
  yield batch;
}

/** The whole of a small text file; undefined for what is not searched: binary, large, or not to be opened. */
async function readText(place: PlaceInside): Promise<string | undefined> {
  const opened = await openFile(place);
  if (opened.kind !== "opened") return undefined;
  await using handle = opened.handle;
  if (opened.bytes > maxFileBytes) return undefined;
  const { bytesRead, buffer } = await handle.read(Buffer.alloc(opened.bytes), 0, opened.bytes, 0);
  const content = buffer.subarray(0, bytesRead);
  // The decoder leaves out a byte order mark.
  return content.includes(0) ? undefined : new TextDecoder().decode(content);
}

function toResult(found: Found): ToolResult {
  if (found.kind === "too-slow") {
    return failed(
      "The pattern takes too long: it backtracks without end on this text. " +
        "Do not nest repetitions, as (a+)+ does, or set literal to search for plain text.",
    );
  }
  const { hits, tally } = found;
  const lines = hits.slice(0, maxHits).map(({ name, line, excerpt }) => `${showName(name)}:${line}: ${excerpt}`);
  const notes = [
    ...(lines.length === 0 ? [`[no match in ${tally.files} file${tally.files === 1 ? "" : "s"}]`] : []),
    ...(hits.length > maxHits ? [`[the first ${maxHits} matches; there are more: narrow pattern, path or include]`] : []),
    ...(tally.isCut ? [`[stopped after ${tally.files} files; there are more: narrow path or include]`] : []),
    ...(tally.skipped > 0 ? [`[${tally.skipped} not searched: binary, over 1 MiB, or not readable]`] : []),
  ];
  return { text: [...lines, ...notes].join("\n") };
}

function failed(text: string): ToolResult {
  return { text, isError: true };
}
