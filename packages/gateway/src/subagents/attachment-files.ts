/**
 * Attachments on disk: a folder of its own for each child, in the state folder, outside every workspace. A folder is whole
 * before the child that names it is written down; one that no child names is removed.
 */
import { constants } from "node:fs";
import { lstat, mkdir, open, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { ProtocolError } from "@portreeve/protocol";
import { type Attachment, isAttachmentId } from "../kit/attachments.ts";
import { attachmentsIn, makePrivateFolder } from "../kit/home.ts";
import type { Ids } from "../kit/ids.ts";
import type { Manifest } from "../store/spawning.ts";
import type { SessionStore } from "../store/store.ts";

export interface AttachmentFiles {
  /** Writes them, then lets `use` write down who has them; what `use` did not keep is removed. */
  hand<T extends { readonly isKept: boolean }>(files: readonly Attachment[], use: (manifest: Manifest) => Promise<T>): Promise<T>;
  /** Removes what belongs to no session, or to one that is archived. */
  sweep(): Promise<void>;
}

export function createAttachmentFiles(stateDir: string, ids: Ids, sessions: Pick<SessionStore, "listAttachmentIds">): AttachmentFiles {
  const root = attachmentsIn(stateDir);
  /** Folders whose child is about to be written down: nothing names them yet. */
  const coming = new Set<string>();
  return {
    async hand(files, use) {
      const id = ids.uuid();
      coming.add(id);
      try {
        await writeFolder(root, id, files);
        const used = await use({ id, files: files.map(toManifestFile) });
        if (!used.isKept) await removeFolder(root, id);
        return used;
      } finally {
        // When `use` failed its child may be there all the same: the next sweep knows.
        coming.delete(id);
      }
    },
    async sweep() {
      const found = (await listFolders(root)).filter((id) => !coming.has(id));
      if (found.length === 0) return;
      const named = new Set(await sessions.listAttachmentIds());
      for (const id of found) if (!named.has(id)) await removeFolder(root, id);
    },
  };
}

function toManifestFile({ name, mimeType, bytes, sha256 }: Attachment): Manifest["files"][number] {
  return { name, bytes, sha256, ...(mimeType === undefined ? {} : { mimeType }) };
}

/** @throws ProtocolError STORE_UNAVAILABLE; then nothing is left. */
async function writeFolder(root: string, id: string, files: readonly Attachment[]): Promise<void> {
  const folder = join(root, id);
  try {
    await makePrivateFolder(root);
    if (!(await isFolder(root))) throw Object.assign(new Error(`${root} is not a folder`), { code: "ENOTDIR" });
    await mkdir(folder, { mode: 0o700 });
    for (const { name, content } of files) if (content !== undefined) await writeNew(join(folder, name), content);
    await syncFolder(folder);
    await syncFolder(root);
  } catch (error) {
    // What cannot be removed either is a leftover for the sweep.
    await removeFolder(root, id).catch(() => undefined);
    const code = error instanceof Error && "code" in error ? String(error.code) : "unknown";
    throw new ProtocolError("STORE_UNAVAILABLE", `the attachments could not be written (${code}); nothing was started`, { cause: error });
  }
}

async function writeNew(path: string, content: Uint8Array): Promise<void> {
  await using handle = await open(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600);
  await handle.writeFile(content);
  await handle.sync();
}

async function syncFolder(path: string): Promise<void> {
  await using handle = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  await handle.sync();
}

function removeFolder(root: string, id: string): Promise<void> {
  return rm(join(root, id), { recursive: true, force: true });
}

/** Ours alone, by their names: whatever else lies there stays. */
async function listFolders(root: string): Promise<readonly string[]> {
  return (await isFolder(root)) ? (await readdir(root)).filter(isAttachmentId) : [];
}

/** A link is none: it could lead to what is not ours. */
async function isFolder(path: string): Promise<boolean> {
  return lstat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}
