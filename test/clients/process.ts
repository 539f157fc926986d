/** A client's process: run to its end, or talked to while it runs. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";

export interface Ended {
  /** Null when it had to be stopped. */
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

export interface ProcessOptions {
  readonly env: NodeJS.ProcessEnv;
  readonly cwd?: string;
  readonly input?: string;
  readonly timeoutMs?: number;
}

/** A client that says nothing of what is waited for is stopped then. */
export const patienceMs = 180_000;

export async function runProcess(file: string, args: readonly string[], options: ProcessOptions): Promise<Ended> {
  await using running = startProcess(file, args, options);
  if (options.input !== undefined) running.write(options.input);
  running.endInput();
  return await running.ended;
}

export interface RunningProcess extends AsyncDisposable {
  readonly ended: Promise<Ended>;
  /** What it has said so far, on both pipes. */
  readonly said: string;
  write(text: string): void;
  endInput(): void;
  /** Resolves when what it says, or has said, holds `what`; rejects when it ends without. */
  says(what: RegExp): Promise<RegExpExecArray>;
  /** Called with every whole line of standard output. */
  onLine(listener: (line: string) => void): void;
  stop(signal: "SIGINT" | "SIGTERM"): Promise<Ended>;
}

export function startProcess(file: string, args: readonly string[], options: ProcessOptions): RunningProcess {
  const { env, cwd, timeoutMs = patienceMs } = options;
  const child = spawn(file, args, { env, ...(cwd === undefined ? {} : { cwd }), stdio: ["pipe", "pipe", "pipe"], detached: true });
  let [out, err] = ["", ""];
  const said = createHearing();
  const lines = splitLines();
  child.stdout.on("data", (part: Buffer) => {
    out += part.toString();
    said.take(part.toString());
    lines.take(part.toString());
  });
  child.stderr.on("data", (part: Buffer) => {
    err += part.toString();
    said.take(part.toString());
  });
  // It may end before it has read everything.
  child.stdin.on("error", () => undefined);
  const ended = new Promise<Ended>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve({ code, out, err }));
  });
  ended.then(said.end, said.end);
  const timer = setTimeout(() => stopGroup(child), timeoutMs);
  return {
    ended,
    get said() {
      return said.text();
    },
    write: (text) => void child.stdin.write(text),
    endInput: () => void child.stdin.end(),
    says: said.says,
    onLine: lines.on,
    stop: async (signal) => {
      child.kill(signal);
      return await ended;
    },
    async [Symbol.asyncDispose]() {
      clearTimeout(timer);
      if (child.exitCode !== null || child.signalCode !== null) return;
      const closed = once(child, "close");
      stopGroup(child);
      await closed;
    },
  };
}

/** Waiting for what a client says. */
export interface Hearing {
  text(): string;
  take(part: string): void;
  /** Nothing more comes. */
  end(): void;
  /** Resolves when what was said holds `what`; rejects when it ends without. */
  says(what: RegExp): Promise<RegExpExecArray>;
}

export function createHearing(): Hearing {
  let [text, isOver] = ["", false];
  const checks = new Set<() => void>();
  const hear = (): void => checks.forEach((check) => check());
  return {
    text: () => text,
    take: (part) => {
      text += part;
      hear();
    },
    end: () => {
      isOver = true;
      hear();
    },
    says: (what) =>
      new Promise((resolve, reject) => {
        const check = (): void => {
          const found = what.exec(text);
          if (found === null && !isOver) return;
          checks.delete(check);
          if (found === null) reject(new Error(`it ended without saying ${String(what)}:\n${text}`));
          else resolve(found);
        };
        checks.add(check);
        check();
      }),
  };
}

function stopGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // Nothing of it is left.
  }
}

function splitLines(): { take(text: string): void; on(listener: (line: string) => void): void } {
  let rest = "";
  const listeners: ((line: string) => void)[] = [];
  return {
    take: (text) => {
      const parts = (rest + text).split("\n");
      rest = parts.pop() ?? "";
      for (const line of parts) for (const listener of listeners) listener(line);
    },
    on: (listener) => void listeners.push(listener),
  };
}
