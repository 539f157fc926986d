/**
 * The one place that turns a path a model wrote into a safe one, and opens what it names. Nothing outside the workspace
 * is read or told of, whatever links lie in it, and opening never blocks: pipes, sockets and devices are refused.
 */
import { constants, type Dirent } from "node:fs";
import { lstat, open, opendir, readlink, realpath, type FileHandle } from "node:fs/promises";
import { dirname, join, relative, resolve, sep } from "node:path";
import { attachmentFolder } from "@portreeve/protocol";
import { z } from "zod";
import { cutText } from "../kit/cut-text.ts";

/** A path that lay inside the workspace, with every link resolved, when it was looked at. */
export interface PlaceInside {
  readonly kind: "inside";
  /** The workspace, absolute and without links. */
  readonly root: string;
  /** The place, absolute and without links. */
  readonly absolute: string;
  /** From the workspace, as a model may write it again; `.` for the workspace itself. */
  readonly shown: string;
  /** What `shown` begins with where the root is not the workspace. */
  readonly prefix?: string | undefined;
}

export type PathRefusal =
  | { readonly kind: "invalid" | "outside" | "missing" | "no-workspace" | "no-attachments" | "is-folder" | "is-file" | "is-special" }
  | { readonly kind: "unreadable"; readonly code: string };

export interface OpenedFile {
  readonly kind: "opened";
  /** The caller closes it. */
  readonly handle: FileHandle;
  readonly bytes: number;
}

export interface ListedFolder {
  readonly kind: "listed";
  readonly entries: readonly Dirent[];
  /** False when the folder holds more entries than were asked for. */
  readonly isComplete: boolean;
}

/** A path parameter of a file tool. */
export const pathParameter = z
  .string()
  .min(1)
  .max(4_096)
  .describe("From the workspace, such as `docs/guide.md`; `.` is the workspace itself.");

/** What `path` names for a run: a place in its workspace, or in the folder of the files that came with its task. */
export async function resolveForRun(
  { workspace, attachments }: { readonly workspace: string; readonly attachments: string | undefined },
  path: string,
): Promise<PlaceInside | PathRefusal> {
  const [first, ...rest] = path.split("/");
  if (attachments === undefined || first !== attachmentFolder) return resolveInWorkspace(workspace, path);
  const below = rest.join("/");
  const place = await resolveInWorkspace(attachments, below === "" ? "." : below);
  if (place.kind === "inside") return placeAt(place.root, place.absolute, attachmentFolder);
  return place.kind === "no-workspace" ? { kind: "no-attachments" } : place;
}

/** What `path` (relative to `workspace`, or absolute) names. Never throws for a bad path. */
export async function resolveInWorkspace(workspace: string, path: string): Promise<PlaceInside | PathRefusal> {
  if (path.includes("\0")) return { kind: "invalid" };
  const root = await findReal(workspace);
  if (root.kind !== "real") return { kind: "no-workspace" };
  const asked = resolve(workspace, path);
  // Decided before the file system is asked, so that a path outside does not tell whether something is there.
  if (!isInside(resolve(workspace), asked) && !isInside(root.path, asked)) return { kind: "outside" };
  const real = await findReal(asked);
  if (real.kind === "real") return isInside(root.path, real.path) ? placeAt(root.path, real.path) : { kind: "outside" };
  return (await leadsOutside(root.path, asked)) ? { kind: "outside" } : real;
}

/** The entry `name` of the folder `place`, taken to be no link: opening checks that. */
export function placeIn(place: PlaceInside, name: string): PlaceInside {
  return placeAt(place.root, join(place.absolute, name), place.prefix);
}

/** Opens a regular file for reading. Safe against what was swapped in since `place` was resolved. */
export async function openFile(place: PlaceInside): Promise<OpenedFile | PathRefusal> {
  try {
    const found = await lstat(place.absolute);
    // Looked at before opening: opening a pipe or a device already has an effect.
    if (found.isSymbolicLink()) return { kind: "outside" };
    if (found.isDirectory()) return { kind: "is-folder" };
    if (!found.isFile()) return { kind: "is-special" };
    return await openChecked(place);
  } catch (error) {
    return refusalOf(error);
  }
}

/** The entries of a folder, at most `maxEntries`, in no order. */
export async function listFolder(place: PlaceInside, maxEntries: number): Promise<ListedFolder | PathRefusal> {
  try {
    await using handle = await open(
      place.absolute,
      constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW | constants.O_NONBLOCK,
    );
    const path = await pathOfOpened(handle, place);
    if (path === undefined) return { kind: "outside" };
    const entries: Dirent[] = [];
    for await (const entry of await opendir(path)) {
      if (entries.length === maxEntries) return { kind: "listed", entries, isComplete: false };
      entries.push(entry);
    }
    return { kind: "listed", entries, isComplete: true };
  } catch (error) {
    return codeOf(error) === "ENOTDIR" ? { kind: "is-file" } : refusalOf(error);
  }
}

/** A refusal in words for the model: what happened and what to do instead. `path` is as it was written. */
export function describeRefusal(path: string, refusal: PathRefusal): string {
  const name = showName(path.length > 200 ? `${cutText(path, 0, 200)}…` : path);
  switch (refusal.kind) {
    case "invalid":
      return `${name} is not a path: it holds a NUL byte. Give the path as ls shows it.`;
    case "outside":
      return (
        `${name} is outside the workspace, or a link on the way leads outside. ` +
        'Only files of the workspace can be read: give a path from it, such as "." or "README.md".'
      );
    case "missing":
      return `There is no ${name} in the workspace. Call ls to see what there is.`;
    case "no-workspace":
      return (
        "The agent's workspace folder does not exist. " +
        "File tools work once the person who runs the gateway creates it or sets another one for this agent."
      );
    case "no-attachments":
      return "The files that came with the task are gone: they go when the sub-agent's session is archived. Ask for them again.";
    case "is-folder":
      return `${name} is a folder. Call ls to see what is in it.`;
    case "is-file":
      return `${name} is not a folder. Call read to see what is in it.`;
    case "is-special":
      return `${name} is a pipe, socket or device. Only regular files can be read.`;
    case "unreadable":
      return `${name} cannot be read (${refusal.code}). Go on without it, or ask for it to be made readable.`;
  }
}

/** A file name on one line: a name with control characters is quoted, so that it cannot pass for two. */
export function showName(name: string): string {
  return /\p{Cc}/u.test(name) ? JSON.stringify(name) : name;
}

type RealPath = { readonly kind: "real"; readonly path: string } | PathRefusal;

async function findReal(path: string): Promise<RealPath> {
  try {
    return { kind: "real", path: await realpath(path) };
  } catch (error) {
    return refusalOf(error);
  }
}

/** Whether the part of `path` that exists lies outside: a link inside must not tell what is missing behind it. */
async function leadsOutside(root: string, path: string): Promise<boolean> {
  for (let ancestor = dirname(path); ancestor !== dirname(ancestor); ancestor = dirname(ancestor)) {
    const real = await findReal(ancestor);
    if (real.kind === "real") return !isInside(root, real.path);
  }
  return false;
}

async function openChecked(place: PlaceInside): Promise<OpenedFile | PathRefusal> {
  // O_NONBLOCK: were it a pipe by now, opening it would wait for a writer.
  const handle = await open(place.absolute, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  let isHandedOn = false;
  try {
    const stats = await handle.stat();
    if (!stats.isFile()) return { kind: "is-special" };
    if ((await pathOfOpened(handle, place)) === undefined) return { kind: "outside" };
    isHandedOn = true;
    return { kind: "opened", handle, bytes: stats.size };
  } finally {
    if (!isHandedOn) await handle.close();
  }
}

/**
 * A path that names exactly what was opened, or undefined when that lies outside: O_NOFOLLOW guards the last part of a
 * path only, and a folder on the way may have become a link since it was resolved.
 */
async function pathOfOpened(handle: FileHandle, place: PlaceInside): Promise<string | undefined> {
  const descriptor = `/proc/self/fd/${handle.fd}`;
  const named = await readlink(descriptor).catch(() => undefined);
  if (named !== undefined) return isInside(place.root, named) ? descriptor : undefined;
  // Without Linux's /proc: the path must still be free of links and lead to the same file.
  const [real, opened, now] = await Promise.all([realpath(place.absolute), handle.stat(), lstat(place.absolute)]);
  return real === place.absolute && opened.ino === now.ino && opened.dev === now.dev ? place.absolute : undefined;
}

function placeAt(root: string, absolute: string, prefix?: string): PlaceInside {
  const parts = [...(prefix === undefined ? [] : [prefix]), ...relative(root, absolute).split(sep)].filter((part) => part !== "");
  return { kind: "inside", root, absolute, shown: parts.length === 0 ? "." : parts.join("/"), ...(prefix === undefined ? {} : { prefix }) };
}

function isInside(root: string, path: string): boolean {
  return path === root || path.startsWith(root.endsWith(sep) ? root : `${root}${sep}`);
}

/** What the file system's own errors mean here; anything else is a defect and flies on. */
function refusalOf(error: unknown): PathRefusal {
  const code = codeOf(error);
  if (code === undefined) throw error;
  return code === "ENOENT" || code === "ENOTDIR" || code === "ENAMETOOLONG" ? { kind: "missing" } : { kind: "unreadable", code };
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}
