/** When a job is due. */
import { createHash } from "node:crypto";
import { type CronSchedule, ProtocolError } from "@portreeve/protocol";
import type { Upcoming } from "./expression.ts";

/** What runs more often would only be skipped. */
const shortestMs = 1_000;
/** A job is spread over no more than this, whatever its stagger says. */
const longestStaggerMs = 86_400_000;
/** The last moment that a date can name. */
const latestMs = 8_640_000_000_000_000;

export interface ScheduleFacts {
  readonly schedule: CronSchedule;
  /** What an interval without an anchor counts from, and what a stagger is drawn from. */
  readonly createdAtMs: number;
  /** Where no other is named. */
  readonly timeZone: string;
}

/** The first time strictly after `afterMs`; times in between are not made up for. */
export async function nextAfter({ schedule, createdAtMs, timeZone }: ScheduleFacts, afterMs: number): Promise<Upcoming> {
  switch (schedule.kind) {
    case "at":
      return nextAt(schedule.at, afterMs);
    case "every":
      return nextEvery(schedule.everyMs, schedule.anchorMs ?? createdAtMs, afterMs);
    case "cron":
      return nextStaggered(schedule, { createdAtMs, timeZone, afterMs });
  }
}

/**
 * The first time of a schedule that somebody writes down.
 * @throws ProtocolError CRON_SCHEDULE_INVALID or CRON_NEVER_FIRES
 */
export async function firstAfter(facts: ScheduleFacts, nowMs: number): Promise<number> {
  const { schedule } = facts;
  const upcoming = await nextAfter(facts, nowMs);
  if (upcoming.kind === "at") return upcoming.atMs;
  const what = schedule.kind === "cron" ? JSON.stringify(schedule.expr) : schedule.kind === "at" ? JSON.stringify(schedule.at) : "everyMs";
  if (upcoming.kind === "invalid")
    throw new ProtocolError("CRON_SCHEDULE_INVALID", `the schedule cannot be read: ${what}: ${upcoming.problem}`, { remedy: howTo });
  const why = schedule.kind === "at" ? "is in the past" : "never comes";
  throw new ProtocolError("CRON_NEVER_FIRES", `the schedule has no time to come: ${what} ${why}`, { remedy: howTo });
}

const howTo =
  'give one of {"kind":"at","at":"2030-01-31T09:00:00Z"}, {"kind":"every","everyMs":600000} and {"kind":"cron","expr":"0 9 * * 1-5","tz":"Europe/Berlin"}';

/** Undefined when the text names no moment. Without an offset it is UTC: the same on every machine. */
export function readMoment(text: string): number | undefined {
  const found = /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,3})?)?)(Z|[+-]\d{2}:?\d{2})?)?$/i.exec(text.trim());
  if (found === null) return undefined;
  const [, date = "", time = "00:00", zone = "Z"] = found;
  // The thirty-first of February would be the third of March.
  if (new Date(`${date}T00:00Z`).toJSON()?.startsWith(date) !== true) return undefined;
  const atMs = Date.parse(`${date}T${time}${zone.replace(/^([+-]\d{2})(\d{2})$/, "$1:$2").toUpperCase()}`);
  return Number.isNaN(atMs) ? undefined : atMs;
}

function nextAt(text: string, afterMs: number): Upcoming {
  const atMs = readMoment(text);
  if (atMs === undefined) return { kind: "invalid", problem: "expected a date and time such as 2030-01-31T09:00:00Z" };
  return atMs > afterMs ? { kind: "at", atMs } : { kind: "never" };
}

function nextEvery(everyMs: number, anchorMs: number, afterMs: number): Upcoming {
  if (everyMs < shortestMs) return { kind: "invalid", problem: `expected at least ${shortestMs} milliseconds` };
  const passed = Math.max(0, Math.floor((afterMs - anchorMs) / everyMs) + 1);
  const atMs = anchorMs + passed * everyMs;
  return atMs <= latestMs ? { kind: "at", atMs } : { kind: "never" };
}

type Expression = Extract<CronSchedule, { readonly kind: "cron" }>;

async function nextStaggered(
  { expr, tz, staggerMs = 0 }: Expression,
  { createdAtMs, timeZone, afterMs }: { readonly createdAtMs: number; readonly timeZone: string; readonly afterMs: number },
): Promise<Upcoming> {
  const offsetMs = offsetWithin(Math.min(staggerMs, longestStaggerMs), createdAtMs);
  const upcoming = await nextExpression(expr, tz ?? timeZone, afterMs - offsetMs);
  return upcoming.kind === "at" ? { kind: "at", atMs: upcoming.atMs + offsetMs } : upcoming;
}

/** Jobs of the same expression are spread, and each keeps its moment: the same for the same job after every start. */
function offsetWithin(staggerMs: number, createdAtMs: number): number {
  if (staggerMs === 0) return 0;
  return createHash("sha256").update(String(createdAtMs)).digest().readUInt32BE() % staggerMs;
}

async function nextExpression(expr: string, timeZone: string, afterMs: number): Promise<Upcoming> {
  const { nextOf } = await import("./expression.ts");
  // The library also takes a date, which is `at`.
  if (/^\d{4}-/.test(expr.trim())) return { kind: "invalid", problem: "expected five or six fields" };
  return nextOf(expr, timeZone, afterMs);
}
