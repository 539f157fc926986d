/** The log: JSON lines on standard error, and in a file when there is one. Secrets are of type Secret and print as such. */
import { pino } from "pino";

export type LogLevel = "debug" | "info" | "warn" | "error" | "silent";

/** Message last, facts first, as pino has it: `log.info({ runId }, "run started")`. */
export interface Log {
  debug(facts: object, message: string): void;
  info(facts: object, message: string): void;
  warn(facts: object, message: string): void;
  error(facts: object, message: string): void;
}

export function createLog(level: LogLevel, file?: { write(line: string): void }): Log {
  const terminal = pino.destination({ fd: 2, sync: true });
  const both = {
    write(line: string): void {
      terminal.write(line);
      file?.write(line);
    },
  };
  const formatters = { level: (label: string) => ({ level: label }) };
  return pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime, formatters, serializers: { err: toLogged } }, both);
}

/** What an error says and where it came from. Its other fields may hold whatever it was about: a request, a prompt, a key. */
export function toLogged(thrown: unknown): unknown {
  if (!(thrown instanceof Error)) return String(thrown);
  const { name, message, stack, cause } = thrown;
  const code = "code" in thrown && (typeof thrown.code === "string" || typeof thrown.code === "number") ? { code: thrown.code } : {};
  return {
    type: name,
    message,
    ...code,
    stack,
    ...(cause === undefined ? {} : { cause: cause instanceof Error ? cause.message : "(not an error)" }),
  };
}

/** Starts work that nobody awaits; a failure is logged under `name` instead of being lost. */
export function background(log: Log, name: string, work: Promise<unknown>): void {
  work.catch((error: unknown) => log.error({ err: error, task: name }, "background task failed"));
}
