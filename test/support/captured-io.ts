/** The outside of a command line in a test: an environment of its own, and what was printed. */
import type { Io } from "../../packages/cli/src/output.ts";

export interface CapturedIo extends Io {
  readonly stdout: string;
  readonly stderr: string;
  /** Ctrl-C. */
  interrupt(): void;
}

export function captureIo(options: { env?: Readonly<Record<string, string>>; cwd?: string; isTerminal?: boolean } = {}): CapturedIo {
  const abort = new AbortController();
  let stdout = "";
  let stderr = "";
  return {
    env: options.env ?? {},
    cwd: options.cwd ?? "/",
    isTerminal: options.isTerminal ?? false,
    hasColour: false,
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
