/** Cron expressions: the one file that knows the library for them, loaded when the first is read. */
import { Cron } from "croner";

export type Upcoming =
  | { readonly kind: "at"; readonly atMs: number }
  | { readonly kind: "never" }
  | { readonly kind: "invalid"; readonly problem: string };

/** The first moment after `afterMs` that the expression names in the time zone. */
export function nextOf(expr: string, timeZone: string, afterMs: number): Upcoming {
  try {
    const next = new Cron(expr, { paused: true, timezone: timeZone, mode: "5-or-6-parts" }).nextRun(new Date(afterMs));
    return next === null ? { kind: "never" } : { kind: "at", atMs: next.getTime() };
  } catch (error) {
    return { kind: "invalid", problem: error instanceof Error ? error.message.slice(0, 200) : "it cannot be read" };
  }
}
