/** The log as a file of the state folder: private, bounded, rotated once, and read by byte cursor. */
import { closeSync, fchmodSync, fstatSync, openSync, renameSync, writeSync } from "node:fs";
import { open, type FileHandle } from "node:fs/promises";
import { join } from "node:path";

/** A line longer than this is left out of the file; standard error has it. */
const maxLineBytes = 65_536;
const maxFileBytes = 4_194_304;

export function logFileIn(stateDir: string): string {
  return join(stateDir, "gateway.log");
}

/**
 * A sink that never throws: what the disk does not take is lost here, and still on standard error. Opens the file with the
 * first line, so that whoever makes the folder need not come first. A full file is kept as `<path>.1` until the next is full.
 */
export function openLogFile(path: string, maxBytes: number = maxFileBytes): { write(line: string): void } & Disposable {
  let file: { fd: number; size: number } | undefined;
  const shut = (): void => {
    if (file !== undefined) closeSync(file.fd);
    file = undefined;
  };
  const append = (bytes: Buffer): void => {
    file ??= openPrivate(path);
    if (file.size > 0 && file.size + bytes.length > maxBytes) {
      shut();
      renameSync(path, `${path}.1`);
      file = openPrivate(path);
    }
    file.size += writeSync(file.fd, bytes);
  };
  return {
    write(line) {
      const bytes = Buffer.from(line);
      try {
        append(bytes.length > maxLineBytes ? leftOut(bytes.length) : bytes);
      } catch {
        // A log that stops the gateway would be worse than a gap in it.
      }
    },
    [Symbol.dispose]: shut,
  };
}

export interface LogTail {
  readonly cursor: number;
  readonly size: number;
  readonly lines: readonly string[];
  readonly truncated: boolean;
  readonly reset: boolean;
}

/**
 * Whole lines of the file. Without a cursor, or with one beyond its end, the newest; else those from the cursor on, and the
 * answer's cursor is after the last of them: whoever asks again with it misses nothing. A missing file is an empty one.
 */
export async function tailLog(
  path: string,
  { cursor, limit, maxBytes }: { readonly cursor?: number | undefined; readonly limit: number; readonly maxBytes: number },
): Promise<LogTail> {
  await using file = await openIfAny(path);
  if (file === undefined) return { cursor: 0, size: 0, lines: [], truncated: false, reset: cursor !== undefined && cursor > 0 };
  const { size } = await file.stat();
  const isReset = cursor !== undefined && cursor > size;
  const isNewest = cursor === undefined || isReset;
  const from = isNewest ? Math.max(0, size - maxBytes) : cursor;
  const read = await readLines(file, { from, length: Math.min(maxBytes, size - from), size });
  const kept = isNewest ? read.lines.slice(-limit) : read.lines.slice(0, limit);
  return {
    cursor: kept.at(-1)?.end ?? read.end,
    size,
    lines: kept.map(({ text }) => text),
    truncated: read.isPartial || (isNewest && (from > 0 || kept.length < read.lines.length)),
    reset: isReset,
  };
}

interface Line {
  readonly text: string;
  /** Where the next one begins, in the file. */
  readonly end: number;
}

/** The whole lines within the window, where to go on, and whether the window held the end of a line that began before it. */
async function readLines(
  file: FileHandle,
  { from, length, size }: { readonly from: number; readonly length: number; readonly size: number },
): Promise<{ readonly lines: readonly Line[]; readonly end: number; readonly isPartial: boolean }> {
  // The byte before the window says whether a line begins there.
  const first = Math.max(0, from - 1);
  const buffer = Buffer.alloc(from + length - first);
  const { bytesRead } = await file.read(buffer, 0, buffer.length, first);
  const bytes = buffer.subarray(0, bytesRead);
  const lines: Line[] = [];
  let isPartial = from > 0 && bytes[0] !== newline;
  let start = from - first;
  let end = from;
  for (let at = bytes.indexOf(newline, start); at >= 0; at = bytes.indexOf(newline, start)) {
    end = first + at + 1;
    if (lines.length > 0 || !isPartial || first + start > from) lines.push({ text: bytes.toString("utf8", start, at), end });
    start = at + 1;
  }
  // A line longer than the window is passed over; the last one of the file is still being written.
  const isTooLong = end === from && length > 0 && from + length < size;
  if (isTooLong) isPartial = true;
  return { lines, end: isTooLong ? from + length : end, isPartial };
}

const newline = 10;

async function openIfAny(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, "r");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}

function openPrivate(path: string): { fd: number; size: number } {
  const fd = openSync(path, "a", 0o600);
  fchmodSync(fd, 0o600);
  return { fd, size: fstatSync(fd).size };
}

function leftOut(bytes: number): Buffer {
  return Buffer.from(
    `${JSON.stringify({ level: "warn", time: new Date().toISOString(), bytes, msg: "a line too long for the file was left out" })}\n`,
  );
}
