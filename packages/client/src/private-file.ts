/** Files that hold a secret: 0600 in a 0700 folder, whole or not there at all. */
import { randomUUID } from "node:crypto";
import { link, mkdir, open, readFile, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";

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
