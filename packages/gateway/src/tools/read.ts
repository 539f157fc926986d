/** The tool `read`: lines of a text file of the workspace. */
import { z } from "zod";
import { readLines, type ReadLines } from "./read-lines.ts";
import { defineTool, type ToolResult } from "./tool.ts";
import { describeRefusal, openFile, pathParameter, resolveForRun, showName } from "./workspace.ts";

const maxLines = 2_000;
const maxBytes = 262_144;
const maxScannedBytes = 268_435_456;

export const readTool = defineTool({
  name: "read",
  description:
    "Read a text file of the workspace, at most 2000 lines or 256 KiB a call. " +
    "When the answer ends with a note in brackets, read on with the offset it names.",
  parameters: z.strictObject({
    path: pathParameter,
    offset: z.number().int().min(1).max(1_000_000_000).optional().describe("The first line to read, counted from 1."),
    limit: z.number().int().min(1).max(maxLines).optional().describe("How many lines to read."),
  }),
  repeat: "safe",
  withoutRun: true,
  async execute({ path, offset = 1, limit = maxLines }, context) {
    const place = await resolveForRun(context, path);
    if (place.kind !== "inside") return { text: describeRefusal(path, place), isError: true };
    const opened = await openFile(place);
    if (opened.kind !== "opened") return { text: describeRefusal(path, opened), isError: true };
    await using handle = opened.handle;
    const lines = await readLines(handle, { offset, maxLines: limit, maxBytes, maxScannedBytes }, context.signal);
    return toResult(showName(place.shown), offset, lines);
  },
});

function toResult(name: string, offset: number, lines: ReadLines): ToolResult {
  switch (lines.kind) {
    case "binary":
      return { text: `${name} is a binary file. Only text files can be read.`, isError: true };
    case "too-far":
      return {
        text: `Line ${offset} of ${name} is too far into the file: only its first ${maxScannedBytes / 1_048_576} MiB can be read.`,
        isError: true,
      };
    case "past-end":
      return { text: `${name} has ${lines.lines} line${lines.lines === 1 ? "" : "s"}; offset ${offset} is past its end.`, isError: true };
    case "lines":
      return { text: `${lines.text}${noteAfter(name, offset, lines)}` };
  }
}

function noteAfter(name: string, offset: number, { text, lastLine, cut }: Extract<ReadLines, { kind: "lines" }>): string {
  if (text === "" && lastLine === 0) return `[${name} is empty]`;
  if (cut === "none") return "";
  const next = `to read on, call read with offset ${lastLine + 1}`;
  if (cut === "middle") return `\n[line ${lastLine} of ${name} is longer than ${maxBytes / 1_024} KiB; its rest is left out; ${next}]`;
  return `\n[lines ${offset}-${lastLine} of ${name}; there are more: ${next}]`;
}
