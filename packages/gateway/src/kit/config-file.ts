/** The configuration file as something that is read, named by a hash, and replaced whole. */
import { createHmac, type KeyObject, randomBytes } from "node:crypto";
import { chmod, copyFile, mkdir, open, readFile, realpath, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";

export interface ConfigText {
  readonly exists: boolean;
  /** Empty when there is no file. */
  readonly text: string;
  /** Names this text to whoever changes it. Keyed: it tells nobody what they guess is in it. */
  readonly hash: string;
}

export class ConfigFile {
  readonly path: string;
  readonly #key: KeyObject;

  constructor(path: string, key: KeyObject) {
    this.path = path;
    this.#key = key;
  }

  async read(): Promise<ConfigText> {
    try {
      const text = await readFile(this.path, "utf8");
      return { exists: true, text, hash: this.hashOf(text) };
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "ENOENT") return { exists: false, text: "", hash: this.hashOf("") };
      throw error;
    }
  }

  hashOf(text: string): string {
    return `hmac-sha256:v1:${createHmac("sha256", this.#key).update(`portreeve-config|${text}`).digest("base64url")}`;
  }

  /** As `replaceConfig`. */
  replace(text: string, settle: () => Promise<void>): Promise<void> {
    return replaceConfig(this.path, text, settle);
  }
}

/**
 * Puts `text` in the file's place: whoever reads sees the old one or the new one, and the old one is kept as `<path>.bak`.
 * A link stays one, and what it leads to is replaced. `settle` runs when the new text is safely on disk and not yet in place;
 * what it throws leaves everything as it was.
 */
export async function replaceConfig(path: string, text: string, settle: () => Promise<void>): Promise<void> {
  const target = await realpath(path).catch(() => path);
  await mkdir(dirname(target), { recursive: true, mode: 0o700 });
  const draft = `${target}.${randomBytes(6).toString("hex")}.tmp`;
  try {
    await writePrivate(draft, text);
    await keepOld(target);
    await settle();
    await rename(draft, target);
    await syncFolder(dirname(target));
  } finally {
    await rm(draft, { force: true });
  }
}

async function writePrivate(path: string, text: string): Promise<void> {
  await using file = await open(path, "wx", 0o600);
  await file.writeFile(text);
  await file.sync();
}

/** The copy is made beside, so that a copy that fails leaves the last good one. */
async function keepOld(target: string): Promise<void> {
  const copy = `${target}.bak.${randomBytes(6).toString("hex")}.tmp`;
  try {
    await (await open(copy, "wx", 0o600)).close();
    await copyFile(target, copy);
    // The copy takes the mode of what it is of.
    await chmod(copy, 0o600);
    await rename(copy, `${target}.bak`);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
  } finally {
    await rm(copy, { force: true });
  }
}

async function syncFolder(path: string): Promise<void> {
  await using folder = await open(path, "r");
  await folder.sync();
}
