/** What the commands see of the outside: streams, environment, Ctrl-C. And how text, tables and JSON go out. */
import { createInterface } from "node:readline/promises";
import { stripVTControlCharacters, styleText } from "node:util";

export interface Io {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** Whether a person watches standard output. */
  readonly isTerminal: boolean;
  readonly hasColour: boolean;
  /** Asks the person at the terminal and answers their line, empty when they left it at that; undefined: nobody can be asked. */
  readonly ask: ((question: string) => Promise<string>) | undefined;
  /** The lines of standard input. */
  lines(): AsyncIterable<string>;
  out(text: string): void;
  err(text: string): void;
  /** Aborts at the first Ctrl-C or SIGTERM from now on; the second one ends the process. */
  interrupted(): AbortSignal;
}

/** The process's own streams and signals. Touches none of them until it is used. */
export function createProcessIo(): Io {
  const { env, stdin, stdout, stderr } = process;
  return {
    env,
    cwd: process.cwd(),
    isTerminal: stdout.isTTY,
    hasColour: stdout.isTTY && !env["NO_COLOR"],
    ask: stdin.isTTY && stderr.isTTY ? askOnTerminal : undefined,
    lines: () => splitLines(stdin),
    out: (text) => void stdout.write(text),
    err: (text) => void stderr.write(text),
    interrupted() {
      const abort = new AbortController();
      for (const name of ["SIGINT", "SIGTERM"] as const) {
        process.once(name, () => {
          if (abort.signal.aborted) process.exit(130);
          abort.abort(new Error("interrupted"));
        });
      }
      return abort.signal;
    },
  };
}

/** Lines as JSON needs them: they end at \n or \r\n. readline would end one at U+2028 and U+2029 too, which JSON lets stand in a text. */
export async function* splitLines(input: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let pieces: string[] = [];
  for await (const chunk of input) {
    const [first = "", ...others] = decoder.decode(chunk, { stream: true }).split("\n");
    pieces.push(first);
    for (const other of others) {
      yield pieces.join("").replace(/\r$/, "");
      pieces = [other];
    }
  }
  const last = pieces.join("") + decoder.decode();
  if (last !== "") yield last.replace(/\r$/, "");
}

/** On standard error: what a command prints stays what it answers. */
async function askOnTerminal(question: string): Promise<string> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    // Ctrl-C and the end of input close the interface and leave the question open for ever.
    const closed = new Promise<string>((resolve) => terminal.once("close", () => resolve("\n")));
    const answer = await Promise.race([terminal.question(question).catch(() => "\n"), closed]);
    if (answer === "\n") process.stderr.write(answer);
    return answer.trim();
  } finally {
    terminal.close();
  }
}

/** Whatever the text holds, a terminal is not moved by it: only our own `dim` and `bold` stay. Lines of it may be several. */
export function writeLine(io: Io, text: string): void {
  const parts = text.split(ownWeights);
  io.out(`${parts.map((part, index) => (index % 2 === 1 ? part : plain(part))).join("")}\n`);
}

const ownWeights = /(\u001b\[(?:1|2|22)m)/;

/** One line of JSON. */
export function writeJson(io: Io, value: unknown): void {
  io.out(`${toJsonText(value)}\n`);
}

/** JSON in which every character that moves a terminal is escaped; it means the same. */
export function toJsonText(value: unknown, indent?: number): string {
  const text = JSON.stringify(value, undefined, indent) ?? "null";
  return text.replace(moving, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** What JSON leaves as it is: DEL, C1, ends of lines and the marks that turn the direction of what follows. */
const moving = /[\u007F-\u009F\u061C\u200E\u200F\u2028-\u202E\u2066-\u2069]/g;

export function dim(io: Io, text: string): string {
  return io.hasColour ? styleText("dim", text, { validateStream: false }) : text;
}

export function bold(io: Pick<Io, "hasColour">, text: string): string {
  return io.hasColour ? styleText("bold", text, { validateStream: false }) : text;
}

/** Text from elsewhere, safe for a terminal: without what would move the cursor, colour or hide other text. Keeps line ends and tabs. */
export function plain(text: string): string {
  return stripVTControlCharacters(text)
    .replace(/[\u0000-\u0008\u000B-\u001F]/g, "")
    .replace(moving, "");
}

/** Safe, and on one line of at most `maxChars`. */
export function oneLine(text: string, maxChars = 100): string {
  const line = plain(text).replace(/\s+/g, " ").trim();
  return line.length <= maxChars ? line : `${line.slice(0, maxChars - 1)}…`;
}

/** Columns wide enough for their longest cell, two spaces apart. Cells are made safe. Empty rows give an empty text. */
export function toTable(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  if (rows.length === 0) return "";
  const cells = [headings, ...rows.map((row) => row.map((cell) => oneLine(cell)))];
  const widths = headings.map((_heading, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)));
  return cells
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** Unix milliseconds as a minute in UTC: the same on every machine. */
export function toMinute(timeMs: number | undefined): string {
  return timeMs === undefined ? "-" : `${new Date(timeMs).toISOString().slice(0, 16).replace("T", " ")}Z`;
}
