/** Files that hold a secret: 0600 in a 0700 folder, whole or not there at all. */
import { randomUUID } from "node:crypto";
import { link, mkdir, open, readFile, rename, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout } from "node:timers/promises";

/** The text of `file`, or undefined when there is none. */
export async function findPrivateFile(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    if (hasCode(error, "ENOENT")) return undefined;
    throw error;
  }
}

/** Replaces `file` atomically: a reader sees the old text or the new one, also after a crash. */
export async function writePrivateFile(file: string, text: string): Promise<void> {
  const draft = await writeDraft(file, text);
  try {
    await rename(draft, file);
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
}

/** Creates `file`. `exists`: another process was first, and its text is untouched. */
export async function createPrivateFile(file: string, text: string): Promise<"created" | "exists"> {
  const draft = await writeDraft(file, text);
  try {
    await link(draft, file);
    return "created";
  } catch (error) {
    if (hasCode(error, "EEXIST")) return "exists";
    throw error;
  } finally {
    await rm(draft, { force: true });
  }
}

/**
 * Replaces `file` by what `change` makes of its text (undefined: there is none), or leaves it when that is undefined. One update
 * at a time, over all processes, so that each sees what the one before it wrote.
 */
export async function updatePrivateFile(
  file: string,
  change: (text: string | undefined) => string | undefined,
  { abandonedAfterMs = 10_000 } = {},
): Promise<void> {
  const lock = `${file}.lock`;
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  await takeLock(lock, abandonedAfterMs);
  try {
    const text = change(await findPrivateFile(file));
    if (text !== undefined) await writePrivateFile(file, text);
  } finally {
    await rm(lock, { force: true });
  }
}

/** Takes over a lock that was the same one all the time: an update takes milliseconds, so whoever made it has died. */
async function takeLock(lock: string, abandonedAfterMs: number): Promise<void> {
  let seen: { readonly id: string; readonly atMs: number } | undefined;
  while (!(await createLock(lock))) {
    const id = await findLockId(lock);
    if (id === undefined) continue;
    if (id !== seen?.id) seen = { id, atMs: performance.now() };
    if (performance.now() - seen.atMs >= abandonedAfterMs) await rm(lock, { force: true });
    // Those who wait do not try again together.
    else await setTimeout(2 + Math.random() * 8);
  }
}

async function createLock(lock: string): Promise<boolean> {
  try {
    await using _ = await open(lock, "wx", 0o600);
    return true;
  } catch (error) {
    if (hasCode(error, "EEXIST")) return false;
    throw error;
  }
}

async function findLockId(lock: string): Promise<string | undefined> {
  try {
    const { ino, mtimeMs } = await stat(lock);
    return `${ino}-${mtimeMs}`;
  } catch (error) {
    if (hasCode(error, "ENOENT")) return undefined;
    throw error;
  }
}

async function writeDraft(file: string, text: string): Promise<string> {
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  const draft = `${file}.${randomUUID()}.draft`;
  await using handle = await open(draft, "wx", 0o600);
  await handle.writeFile(text);
  await handle.sync();
  return draft;
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}
