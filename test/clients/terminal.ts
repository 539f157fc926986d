/** A client that wants a terminal: its screen as text, and keys for it. */
import { loadLibrary } from "./installation.ts";
import { createHearing, patienceMs } from "./process.ts";

interface Pty {
  onData(listener: (text: string) => void): void;
  onExit(listener: (exit: { readonly exitCode: number }) => void): void;
  write(text: string): void;
  kill(signal?: string): void;
}

interface Library {
  spawn(file: string, args: readonly string[], options: object): Pty;
}

export interface Terminal extends AsyncDisposable {
  /** Everything it has written, without the sequences that move and colour. */
  readonly screen: string;
  /** Resolves when what it wrote since the last `forget` holds `what`; rejects when it ends without. */
  shows(what: RegExp): Promise<RegExpExecArray>;
  forget(): void;
  type(text: string): void;
  readonly ended: Promise<number>;
}

export async function openTerminal(
  command: { readonly file: string; readonly args: readonly string[] },
  env: Readonly<Record<string, string>>,
  cwd: string,
): Promise<Terminal> {
  const { spawn } = await loadLibrary<Library>("@lydell/node-pty");
  const pty = spawn(command.file, command.args, { name: "xterm-256color", cols: 120, rows: 40, cwd, env });
  let screen = "";
  let hearing = createHearing();
  let isOver = false;
  pty.onData((text) => {
    const plain = stripControls(text);
    screen += plain;
    hearing.take(plain);
  });
  const ended = new Promise<number>((resolve) =>
    pty.onExit(({ exitCode }) => {
      isOver = true;
      hearing.end();
      resolve(exitCode);
    }),
  );
  const timer = setTimeout(() => pty.kill("SIGKILL"), patienceMs);
  return {
    get screen() {
      return screen;
    },
    shows: (what) => hearing.says(what),
    forget: () => {
      hearing = createHearing();
      if (isOver) hearing.end();
    },
    type: (text) => pty.write(text),
    ended,
    async [Symbol.asyncDispose]() {
      clearTimeout(timer);
      if (isOver) return;
      pty.kill("SIGKILL");
      await ended;
    },
  };
}

/** Sequences of ECMA-48: `ESC [ … letter`, `ESC ] … BEL`, and the short ones. */
function stripControls(text: string): string {
  return text.replace(
    /\u001b\[[\d;?<>=]*[ -/]*[@-~]|\u001b\][^\u0007\u001b]*(?:\u0007|\u001b\\)|\u001b[PX^_][^\u001b]*\u001b\\|\u001b[@-Z\\-_=>78]/g,
    "",
  );
}
