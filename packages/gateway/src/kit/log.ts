/** The log: JSON lines on standard error. Secrets are of type Secret and print as such. */
import { pino } from "pino";

export type LogLevel = "debug" | "info" | "warn" | "error" | "silent";

/** Message last, facts first, as pino has it: `log.info({ runId }, "run started")`. */
export interface Log {
  debug(facts: object, message: string): void;
  info(facts: object, message: string): void;
  warn(facts: object, message: string): void;
  error(facts: object, message: string): void;
}

export function createLog(level: LogLevel): Log {
  return pino(
    { level, base: null, timestamp: pino.stdTimeFunctions.isoTime, formatters: { level: (label) => ({ level: label }) } },
    pino.destination({ fd: 2, sync: true }),
  );
}

/** Starts work that nobody awaits; a failure is logged under `name` instead of being lost. */
export function background(log: Log, name: string, work: Promise<unknown>): void {
  work.catch((error: unknown) => log.error({ err: error, task: name }, "background task failed"));
}
