/** Why a state folder cannot be used, and what helps. */
import { isFullDisk } from "../kit/full-disk.ts";
import { shellQuote } from "../kit/shell-quote.ts";
import { toStoreError } from "./sql/write-queue.ts";

/** The state folder cannot be used; the message says why. */
export class StateFolderError extends Error {
  override readonly name = "StateFolderError";
  /** What to do about it, when that is not just to start again. */
  readonly remedy: string | undefined;

  constructor(message: string, options: { readonly remedy?: string; readonly cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.remedy = options.remedy;
  }
}

/** SQLite's: the file is malformed, or no database at all. */
const damaged: ReadonlySet<number> = new Set([11, 26]);

export function toFolderError(stateDir: string, error: unknown): StateFolderError {
  if (error instanceof StateFolderError) return error;
  const known = toStoreError(error);
  const reason = known instanceof Error ? known.message : String(known);
  if (isFullDisk(error))
    return new StateFolderError(`the state folder ${stateDir} cannot be written: the disk is full, or takes no more of this user`, {
      remedy: `Free space on the disk of ${stateDir} (df -h ${shellQuote(stateDir)}), then: ./portreeve gateway run`,
      cause: error,
    });
  if (error instanceof Error && "errcode" in error && damaged.has(Number(error.errcode) & 0xff))
    return new StateFolderError(`the database ${stateDir}/portreeve.db is damaged: ${reason}`, {
      remedy:
        "See what is damaged: ./portreeve doctor. To put a backup in its place, with what is there kept aside: ./portreeve restore FOLDER --force",
      cause: error,
    });
  return new StateFolderError(`the state folder ${stateDir} cannot be used: ${reason}`, { cause: error });
}
