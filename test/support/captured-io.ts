/** The outside of a command line in a test: an environment of its own, and what was printed. */
import type { Io } from "../../packages/cli/src/output.ts";

export interface CapturedIo extends Io {
  readonly stdout: string;
  readonly stderr: string;
  /** What was asked, in order. */
  readonly questions: readonly string[];
  /** Ctrl-C. */
  interrupt(): void;
}

export interface CapturedIoOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly isTerminal?: boolean;
  /** What the person at the terminal says to every question; absent: nobody is there. */
  readonly answer?: string;
}

export function captureIo(options: CapturedIoOptions = {}): CapturedIo {
  const abort = new AbortController();
  const { answer } = options;
  const questions: string[] = [];
  let stdout = "";
  let stderr = "";
  return {
    env: options.env ?? {},
    cwd: options.cwd ?? "/",
    isTerminal: options.isTerminal ?? false,
    hasColour: false,
    questions,
    ask:
      answer === undefined
        ? undefined
        : (question) => {
            questions.push(question);
            return Promise.resolve(answer);
          },
    // Nobody types.
    lines: async function* () {},
    out: (text) => void (stdout += text),
    err: (text) => void (stderr += text),
    interrupted: () => abort.signal,
    interrupt: () => abort.abort(new Error("interrupted")),
    get stdout() {
      return stdout;
    },
    get stderr() {
      return stderr;
    },
  };
}
