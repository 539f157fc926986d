/** The regular files under a place of the workspace, folder by folder. Never follows a link. */
import { listFolder, placeIn, type PlaceInside } from "./workspace.ts";

export type WalkStep =
  | { readonly kind: "file"; readonly place: PlaceInside }
  /** A folder that could not be listed; the walk goes on. */
  | { readonly kind: "unlisted" }
  /** Always the last step: the bound on entries was reached, so some files were left out. */
  | { readonly kind: "cut" };

/** Folders that hold no work of a person's own. */
const skippedFolders: readonly string[] = [".git", "node_modules"];

/**
 * Walks in the order of names, looking at no more than `maxEntries` entries in all. A start that is no
 * folder is its own only step. Rejects with the signal's reason when it aborts.
 */
export async function* walkFiles(start: PlaceInside, maxEntries: number, signal: AbortSignal): AsyncGenerator<WalkStep> {
  const waiting: { readonly isFolder: boolean; readonly place: PlaceInside }[] = [{ isFolder: true, place: start }];
  let seen = 0;
  let isCut = false;
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    signal.throwIfAborted();
    if (!next.isFolder) {
      yield { kind: "file", place: next.place };
      continue;
    }
    const { place } = next;
    const listed = await listFolder(place, maxEntries - seen);
    if (listed.kind !== "listed") {
      yield listed.kind === "is-file" ? { kind: "file", place } : { kind: "unlisted" };
      continue;
    }
    seen += listed.entries.length;
    const entries = listed.entries.filter((entry) => entry.isFile() || (entry.isDirectory() && !skippedFolders.includes(entry.name)));
    // The last comes off first.
    entries.sort((a, b) => (a.name < b.name ? 1 : -1));
    for (const entry of entries) waiting.push({ isFolder: entry.isDirectory(), place: placeIn(place, entry.name) });
    isCut ||= !listed.isComplete;
  }
  if (isCut) yield { kind: "cut" };
}
