import assert from "node:assert/strict";
import test from "node:test";
import { type CronSchedule, ProtocolError } from "@portreeve/protocol";
import { firstAfter, nextAfter, readMoment } from "./schedule.ts";

const at = (text: string): number => Date.parse(text);
const nowMs = at("2026-11-27T15:00:00Z");

async function next(schedule: CronSchedule, afterMs = nowMs, createdAtMs = nowMs): Promise<string> {
  const upcoming = await nextAfter({ schedule, createdAtMs, timeZone: "Europe/Berlin" }, afterMs);
  return upcoming.kind === "at" ? new Date(upcoming.atMs).toISOString() : upcoming.kind;
}

const cron = (expr: string, tz?: string): CronSchedule => ({ kind: "cron", expr, ...(tz === undefined ? {} : { tz }) });

for (const [what, schedule, afterMs, expected] of [
  ["an interval counts from when the job was made", { kind: "every", everyMs: 60_000 }, nowMs + 90_000, "2026-11-27T15:02:00.000Z"],
  ["an interval never names the moment itself", { kind: "every", everyMs: 60_000 }, nowMs + 60_000, "2026-11-27T15:02:00.000Z"],
  ["an anchor is kept", { kind: "every", everyMs: 3_600_000, anchorMs: at("2026-01-01T00:15:00Z") }, nowMs, "2026-11-27T15:15:00.000Z"],
  ["an anchor to come is the first", { kind: "every", everyMs: 60_000, anchorMs: nowMs + 500_000 }, nowMs, "2026-11-27T15:08:20.000Z"],
  ["times that passed are not made up for", { kind: "every", everyMs: 60_000 }, nowMs + 86_400_500, "2026-11-28T15:01:00.000Z"],
  ["an expression without a zone is the machine's", cron("0 9 * * *"), nowMs, "2026-11-28T08:00:00.000Z"],
  ["an expression with one is that one's", cron("0 9 * * 1-5", "America/New_York"), nowMs, "2026-11-30T14:00:00.000Z"],
  ["seconds may be named", cron("*/20 * * * * *"), nowMs, "2026-11-27T15:00:20.000Z"],
  ["an hour that a clock skips comes after it", cron("30 2 * * *"), at("2026-03-28T12:00:00Z"), "2026-03-29T01:00:00.000Z"],
  ["an hour that a clock has twice comes once", cron("30 2 * * *"), at("2026-10-25T00:30:00Z"), "2026-10-26T01:30:00.000Z"],
  ["a moment that has passed is none", { kind: "at", at: "2026-11-27T15:00:00Z" }, nowMs, "never"],
  ["the thirtieth of February is none", cron("0 0 30 2 *"), nowMs, "never"],
  ["a date is no expression", cron("2026-12-01T00:00:00"), nowMs, "invalid"],
  ["six fields are the most", cron("0 0 0 1 1 * 2027"), nowMs, "invalid"],
  ["a time zone must be one", cron("0 9 * * *", "Mars/Olympus"), nowMs, "invalid"],
  ["an interval is no shorter than a second", { kind: "every", everyMs: 999 }, nowMs, "invalid"],
  ["an interval beyond every date is none", { kind: "every", everyMs: 8_640_000_000_000_000 }, nowMs, "never"],
] as const satisfies readonly (readonly [string, CronSchedule, number, string])[]) {
  test(`when a job is due: ${what}`, async () => {
    assert.equal(await next(schedule, afterMs), expected);
  });
}

test("jobs with a stagger come each at a moment of its own within it, and always at the same", async () => {
  const within = (staggerMs: number): CronSchedule => ({ kind: "cron", expr: "0 * * * *", tz: "UTC", staggerMs });
  const offsets = [];
  for (let createdAtMs = 0; createdAtMs < 50; createdAtMs += 1) {
    const first = at(await next(within(120_000), nowMs, createdAtMs));
    const second = at(await next(within(120_000), first, createdAtMs));
    assert.equal(second - first, 3_600_000);
    offsets.push(first % 3_600_000);
  }

  assert.ok(offsets.every((offset) => offset < 120_000));
  assert.ok(new Set(offsets).size > 40);
  assert.equal(await next(within(0)), "2026-11-27T16:00:00.000Z");
  assert.match(await next(within(8_640_000_000_000_000)), /^2026-11-2[78]T/);
});

for (const [text, expected] of [
  ["2030-01-31T09:00:00Z", at("2030-01-31T09:00:00Z")],
  ["2030-01-31T09:00:00+0200", at("2030-01-31T07:00:00Z")],
  ["2030-01-31 09:00", at("2030-01-31T09:00:00Z")],
  ["2030-01-31", at("2030-01-31T00:00:00Z")],
  ["2030-02-31T09:00:00Z", undefined],
  ["tomorrow", undefined],
  ["1764255600000", undefined],
  ["+002030-01-31T09:00:00Z", undefined],
] as const) {
  test(`${text} is ${expected === undefined ? "no moment" : new Date(expected).toISOString()}`, () => {
    assert.equal(readMoment(text), expected);
  });
}

for (const [schedule, code, message] of [
  [cron("banana"), "CRON_SCHEDULE_INVALID", /"banana".*parts/],
  [cron(`${"1,".repeat(250)}1 * * * x`), "CRON_SCHEDULE_INVALID", /cannot be read/],
  [cron("0 0 31 2 *"), "CRON_NEVER_FIRES", /"0 0 31 2 \*" never comes/],
  [{ kind: "at", at: "2020-01-01T00:00:00Z" }, "CRON_NEVER_FIRES", /is in the past/],
  [{ kind: "at", at: "soon" }, "CRON_SCHEDULE_INVALID", /date and time/],
] as const satisfies readonly (readonly [CronSchedule, string, RegExp])[]) {
  test(`a schedule that can never be due is refused with ${code}: ${JSON.stringify(schedule).slice(0, 60)}`, async () => {
    await assert.rejects(
      firstAfter({ schedule, createdAtMs: nowMs, timeZone: "UTC" }, nowMs),
      (error: unknown) =>
        error instanceof ProtocolError && error.code === code && message.test(error.message) && /"expr"/.test(error.remedy ?? ""),
    );
  });
}
