/** The folder that is imported from: read only, bounded, and never through a link. What is in it is not trusted. */
import { constants, createWriteStream } from "node:fs";
import { type FileHandle, lstat, open, readdir, realpath } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";

/** Something in the source cannot be used; the rest can. */
export class SourceProblem extends Error {
  override readonly name = "SourceProblem";
}

export class SourceFolder {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  /** Whatever led there: from here on no link is followed. Undefined when there is no such folder. */
  static async open(path: string): Promise<SourceFolder | undefined> {
    const real = await realpath(path).catch(() => undefined);
    if (real === undefined || !(await lstat(real)).isDirectory()) return undefined;
    return new SourceFolder(real);
  }

  /** Names in a folder of it, at most `max`; none when it is missing. @throws SourceProblem */
  async list(parts: readonly string[], max: number): Promise<readonly string[]> {
    if (!(await this.#isThere(parts, "folder"))) return [];
    const names = (await readdir(join(this.path, ...parts))).toSorted();
    if (names.length > max) throw new SourceProblem(`holds ${names.length} files; at most ${max} are read`);
    return names;
  }

  /** The text of a file; undefined when it is missing. @throws SourceProblem */
  async text(parts: readonly string[], maxBytes: number): Promise<string | undefined> {
    await using file = await this.#open(parts, maxBytes);
    return await file?.readFile("utf8");
  }

  /** Copies a file to `target`; whether there was one. @throws SourceProblem */
  async copy(parts: readonly string[], target: string, maxBytes: number): Promise<boolean> {
    await using file = await this.#open(parts, maxBytes);
    if (file === undefined) return false;
    await pipeline(file.createReadStream({ autoClose: false }), createWriteStream(target, { mode: 0o600, flags: "wx" }));
    return true;
  }

  async #open(parts: readonly string[], maxBytes: number): Promise<FileHandle | undefined> {
    if (!(await this.#isThere(parts, "file"))) return undefined;
    // A link that was put there meanwhile is not followed, and a pipe is not waited for.
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
    const file = await open(join(this.path, ...parts), flags).catch((error: unknown) => {
      throw new SourceProblem(`cannot be read (${codeOf(error)})`, { cause: error });
    });
    const found = await file.stat();
    const problem = !found.isFile() ? "is no regular file" : found.size > maxBytes ? `is larger than ${maxBytes} bytes` : undefined;
    if (problem === undefined) return file;
    await file.close();
    throw new SourceProblem(problem);
  }

  async #isThere(parts: readonly string[], what: "file" | "folder"): Promise<boolean> {
    for (let length = 1; length <= parts.length; length += 1) {
      const found = await lstat(join(this.path, ...parts.slice(0, length))).catch((error: unknown) => {
        if (codeOf(error) === "ENOENT") return undefined;
        throw new SourceProblem(`cannot be read (${codeOf(error)})`, { cause: error });
      });
      if (found === undefined) return false;
      if (found.isSymbolicLink()) throw new SourceProblem("is a link, or lies behind one: links are not followed");
      if (length < parts.length || what === "folder" ? !found.isDirectory() : !found.isFile())
        throw new SourceProblem(length < parts.length || what === "folder" ? "is no folder" : "is no regular file");
    }
    return true;
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : String(error);
}
