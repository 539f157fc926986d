/** The files of a backup on disk: folders 0700, files 0600, complete and durable before they have their name. */
import { createHash, randomBytes } from "node:crypto";
import { createReadStream, type Dirent } from "node:fs";
import { chmod, copyFile, lstat, mkdir, open, readdir, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { isFullDisk } from "../kit/full-disk.ts";
import { attachmentsIn, makePrivateFolder } from "../kit/home.ts";
import { shellQuote } from "../kit/shell-quote.ts";
import { BackupError } from "./backup-error.ts";
import { type BackupFile, backupFiles, type FileFacts, isBackupFile } from "./manifest.ts";

/** A folder beside `path` that is gone when disposed, unless it was renamed. @throws BackupError NOT_WRITABLE */
export async function openDraft(path: string): Promise<AsyncDisposable & { readonly path: string }> {
  const draft = `${path}.${randomBytes(6).toString("hex")}.tmp`;
  try {
    await mkdir(draft, { mode: 0o700 });
  } catch (error) {
    throw notWritable(dirname(path), error);
  }
  return { path: draft, [Symbol.asyncDispose]: () => rm(draft, { recursive: true, force: true }) };
}

/** An empty file that only its owner can read, for a program that would make one with its own mode. */
export async function makePrivateFile(path: string): Promise<void> {
  await (await open(path, "wx", 0o600)).close();
}

/** Copies a regular file, into a folder that is made for it; answers whether there was one. */
export async function copyPrivate(from: string, to: string): Promise<boolean> {
  if (!(await isFile(from))) return false;
  await makePrivateFolder(dirname(to));
  await makePrivateFile(to);
  await copyFile(from, to);
  await chmod(to, 0o600);
  return true;
}

/** Copies what sub-agents were handed. What goes meanwhile belongs to a session that has been archived or deleted. */
export async function copyAttachments(from: string, to: string): Promise<void> {
  for (const name of await listAttachments(from)) {
    try {
      await copyPrivate(join(from, name), join(to, name));
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
      await rm(join(to, name), { force: true });
    }
  }
}

/** No link is followed: it could lead to what is not ours. */
async function listAttachments(folder: string): Promise<readonly BackupFile[]> {
  const root = attachmentsIn(folder);
  const folders = (await listIn(root)).filter((one) => one.isDirectory());
  const found = await Promise.all(
    folders.map(async ({ name }) =>
      (await listIn(join(root, name))).filter((one) => one.isFile()).map((one) => `attachments/${name}/${one.name}`),
    ),
  );
  return found.flat().filter(isBackupFile).toSorted();
}

async function listIn(path: string): Promise<readonly Dirent[]> {
  const isThere = await lstat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
  return isThere ? readdir(path, { withFileTypes: true }) : [];
}

/** Size and hash of every file of a backup that is in `folder`. */
export async function measure(folder: string): Promise<readonly FileFacts[]> {
  const names = [...backupFiles, ...(await listAttachments(folder))];
  const found = await Promise.all(names.map(async (name) => ((await isFile(join(folder, name))) ? [await measureFile(folder, name)] : [])));
  return found.flat();
}

/** Puts everything in `folder`, and the folder, on the disk. */
export async function syncFolder(folder: string): Promise<void> {
  for (const one of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, one.name);
    await (one.isDirectory() ? syncFolder(path) : sync(path));
  }
  await sync(folder);
}

export async function sync(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** What `work` writes goes to the disk of `path`: a full one is named, with the command to be given again. @throws BackupError */
export async function nameFullDisk<T>(path: string, command: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!isFullDisk(error)) throw error;
    throw new BackupError(
      "NOT_WRITABLE",
      `the disk of ${path} is full, or takes no more of this user`,
      `Free space there (df -h ${shellQuote(path)}), or take another disk; then: ${command}`,
      error,
    );
  }
}

export function notWritable(path: string, cause: unknown): BackupError {
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : String(cause);
  return new BackupError(
    "NOT_WRITABLE",
    `${path} cannot be written (${code})`,
    "Make it writable for this user, with free space, or name another place.",
    cause,
  );
}

async function measureFile(folder: string, name: BackupFile): Promise<FileFacts> {
  const hash = createHash("sha256");
  let bytes = 0;
  for await (const chunk of createReadStream(join(folder, name))) {
    const part = chunk as Buffer; // Without an encoding a stream of a file yields buffers.
    hash.update(part);
    bytes += part.length;
  }
  return { name, bytes, sha256: hash.digest("hex") };
}

async function isFile(path: string): Promise<boolean> {
  return lstat(path).then(
    (found) => found.isFile(),
    () => false,
  );
}
