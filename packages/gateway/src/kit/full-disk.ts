/** Whether a disk had no room for what was to be written: as the system says it, and as SQLite does. */

/** Full, over its owner's quota, or a file as large as it may be. */
const systemCodes: ReadonlySet<unknown> = new Set(["ENOSPC", "EDQUOT", "EFBIG"]);
/** SQLite's: full; and a write, or the file that its readers share, that the system did not take. */
const sqliteCodes: ReadonlySet<unknown> = new Set([13, 778, 4_874]);

/** Also when it is the cause of the error. */
export function isFullDisk(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if ("code" in error && systemCodes.has(error.code)) return true;
  return ("errcode" in error && sqliteCodes.has(error.errcode)) || (error.cause !== error && isFullDisk(error.cause));
}
