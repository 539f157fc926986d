/** Some lines of an open text file, read in pieces: neither a large file nor a long line is ever held whole. */
import type { FileHandle } from "node:fs/promises";

export interface LineRange {
  /** The first line, counted from 1. */
  readonly offset: number;
  readonly maxLines: number;
  readonly maxBytes: number;
  /** How far into the file to look. */
  readonly maxScannedBytes: number;
}

export type ReadLines =
  | {
      readonly kind: "lines";
      readonly text: string;
      readonly lastLine: number;
      /** `after`: more lines follow. `middle`: the last line itself is cut. */
      readonly cut: "none" | "after" | "middle";
    }
  | { readonly kind: "past-end"; readonly lines: number }
  | { readonly kind: "too-far" }
  | { readonly kind: "binary" };

const pieceBytes = 65_536;
const newline = 10;

/** Reads `range`. A NUL byte before its end makes the file `binary`. Rejects with the signal's reason when it aborts. */
export async function readLines(handle: FileHandle, range: LineRange, signal: AbortSignal): Promise<ReadLines> {
  const collector = new LineCollector(range);
  let position = 0;
  while (position < range.maxScannedBytes) {
    signal.throwIfAborted();
    const { bytesRead, buffer } = await handle.read(Buffer.alloc(pieceBytes), 0, pieceBytes, position);
    if (bytesRead === 0) return collector.atEnd();
    const piece = buffer.subarray(0, bytesRead);
    if (piece.includes(0)) return { kind: "binary" };
    const result = collector.add(piece);
    if (result !== undefined) return result;
    position += bytesRead;
  }
  return { kind: "too-far" };
}

class LineCollector {
  readonly #range: LineRange;
  readonly #kept: Buffer[] = [];
  #keptBytes = 0;
  /** Bytes of `#kept` that belong to the line being read. */
  #openBytes = 0;
  #line = 1;
  #isLineOpen = false;

  constructor(range: LineRange) {
    this.#range = range;
  }

  /** Takes the next piece; answers as soon as the range is full and more follows. */
  add(piece: Buffer): ReadLines | undefined {
    let at = 0;
    while (at < piece.length) {
      if (this.#line >= this.#range.offset + this.#range.maxLines) return this.#lines("after");
      const end = piece.indexOf(newline, at);
      const part = piece.subarray(at, end === -1 ? piece.length : end + 1);
      if (this.#line >= this.#range.offset) {
        if (this.#keptBytes + part.length > this.#range.maxBytes) return this.#full(part);
        this.#keep(part);
      }
      this.#isLineOpen = end === -1;
      if (end !== -1) this.#endLine();
      at += part.length;
    }
    return undefined;
  }

  atEnd(): ReadLines {
    const lines = this.#isLineOpen ? this.#line : this.#line - 1;
    if (lines < this.#range.offset && !(lines === 0 && this.#range.offset === 1)) return { kind: "past-end", lines };
    return { kind: "lines", text: decode(this.#kept), lastLine: lines, cut: "none" };
  }

  #keep(part: Buffer): void {
    this.#kept.push(part);
    this.#keptBytes += part.length;
    this.#openBytes += part.length;
  }

  #endLine(): void {
    this.#line += 1;
    this.#openBytes = 0;
  }

  /** `part` is one too many: the line it belongs to is left for the next call, unless it is the only one. */
  #full(part: Buffer): ReadLines {
    if (this.#line === this.#range.offset) {
      this.#keep(part.subarray(0, this.#range.maxBytes - this.#keptBytes));
      return { kind: "lines", text: decode(this.#kept), lastLine: this.#line, cut: "middle" };
    }
    const whole = Buffer.concat(this.#kept);
    return { kind: "lines", text: decode([whole.subarray(0, whole.length - this.#openBytes)]), lastLine: this.#line - 1, cut: "after" };
  }

  #lines(cut: "none" | "after"): ReadLines {
    return { kind: "lines", text: decode(this.#kept), lastLine: this.#line - 1, cut };
  }
}

/** UTF-8; a character cut at the very end is left out. */
function decode(parts: readonly Buffer[]): string {
  return new TextDecoder().decode(Buffer.concat(parts), { stream: true });
}
