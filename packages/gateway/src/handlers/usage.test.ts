import assert from "node:assert/strict";
import test from "node:test";
import { toPeriod } from "./usage.ts";

const nowMs = Date.UTC(2026, 5, 10, 20, 0);
const hourMs = 3_600_000;

test("the last days include today, and end when today ends", () => {
  const period = toPeriod({}, 7, nowMs);

  assert.deepEqual([period.days, period.fromMs, period.toMs], [7, Date.UTC(2026, 5, 4), Date.UTC(2026, 5, 11)]);
});

test("an offset moves where a day begins, and which day it is", () => {
  const period = toPeriod({ mode: "specific", utcOffset: "UTC+5:30" }, 1, nowMs);

  assert.deepEqual([period.fromMs, period.toMs], [Date.UTC(2026, 5, 11) - 5.5 * hourMs, Date.UTC(2026, 5, 12) - 5.5 * hourMs]);
  assert.equal(toPeriod({ mode: "specific", utcOffset: "-03" }, 1, nowMs).fromMs, Date.UTC(2026, 5, 10) + 3 * hourMs);
  assert.equal(toPeriod({ mode: "utc", utcOffset: "-03" }, 1, nowMs).offsetMs, 0);
});

test("both given days are included, and days that are none are refused", () => {
  const period = toPeriod({ startDate: "2026-02-27", endDate: "2026-03-01" }, 30, nowMs);

  assert.equal(period.days, 3);
  assert.throws(() => toPeriod({ startDate: "2026-02-30" }, 30, nowMs), /there is no day 2026-02-30/);
  assert.throws(() => toPeriod({ startDate: "2026-03-02", endDate: "2026-03-01" }, 30, nowMs), /is after/);
});
