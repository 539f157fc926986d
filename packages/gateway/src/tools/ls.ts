/** The tool `ls`: what a folder of the workspace holds. */
import type { Dirent } from "node:fs";
import { z } from "zod";
import { defineTool } from "./tool.ts";
import { describeRefusal, listFolder, pathParameter, resolveForRun, showName } from "./workspace.ts";

const maxShown = 1_000;
/** Beyond it a folder is not read to its end, so the shown entries are some, not the first by name. */
const maxListed = 50_000;

export const lsTool = defineTool({
  name: "ls",
  description: "List a folder of the workspace, sorted by name, one entry a line: `name/` is a folder, `name@` a link.",
  parameters: z.strictObject({ path: pathParameter.optional() }),
  repeat: "safe",
  withoutRun: true,
  async execute({ path = "." }, context) {
    const place = await resolveForRun(context, path);
    if (place.kind !== "inside") return { text: describeRefusal(path, place), isError: true };
    const listed = await listFolder(place, maxListed);
    if (listed.kind !== "listed") return { text: describeRefusal(path, listed), isError: true };
    const names = listed.entries.toSorted((a, b) => (a.name < b.name ? -1 : 1)).map(nameOf);
    if (names.length === 0) return { text: `[${showName(place.shown)} is empty]` };
    const count = listed.isComplete ? String(names.length) : `more than ${names.length}`;
    const note =
      names.length > maxShown ? [`[${maxShown} of ${count} entries shown; grep reaches the others: pattern "." and an include]`] : [];
    return { text: [...names.slice(0, maxShown), ...note].join("\n") };
  },
});

function nameOf(entry: Dirent): string {
  const name = showName(entry.name);
  if (entry.isDirectory()) return `${name}/`;
  return entry.isSymbolicLink() ? `${name}@` : name;
}
