import assert from "node:assert/strict";
import { test } from "node:test";
import { CliError } from "../exit.ts";
import { chooseJob, toJob } from "./cron.ts";

const nowMs = Date.parse("2026-11-27T15:00:00Z");

for (const [flags, schedule] of [
  [{ at: "2030-01-31T09:00:00Z" }, { kind: "at", at: "2030-01-31T09:00:00Z" }],
  [{ at: "+90m" }, { kind: "at", at: "2026-11-27T16:30:00.000Z" }],
  [{ every: 60_000 }, { kind: "every", everyMs: 60_000 }],
  [{ cron: "0 9 * * *" }, { kind: "cron", expr: "0 9 * * *" }],
  [
    { cron: "0 9 * * *", tz: "Europe/Berlin" },
    { kind: "cron", expr: "0 9 * * *", tz: "Europe/Berlin" },
  ],
] as const) {
  test(`${JSON.stringify(flags)} is a job at ${JSON.stringify(schedule)}`, () => {
    assert.deepEqual(toJob("look", flags, nowMs).schedule, schedule);
  });
}

for (const flags of [{}, { at: "+1h", every: 1_000 }, { at: "+1h", tz: "UTC" }, { every: 1_000, tz: "UTC" }]) {
  test(`${JSON.stringify(flags)} names no one time, and is refused`, () => {
    assert.throws(
      () => toJob("look", flags, nowMs),
      (error) => error instanceof CliError && error.exit === "usage",
    );
  });
}

for (const [session, target] of [
  [undefined, "isolated"],
  ["isolated", "isolated"],
  ["main", "main"],
  ["agent:main:room", "session:agent:main:room"],
] as const) {
  test(`--session ${session} speaks in ${target}`, () => {
    const job = toJob("look", { every: 1_000, ...(session === undefined ? {} : { session }) }, nowMs);

    assert.equal(job.sessionTarget, target);
  });
}

test("what narrows or names a job goes with it, and nothing that was not said", () => {
  const job = toJob("look\nhere", { every: 1_000, tools: "ls, read", timeout: 5, agent: "main", keep: true, disabled: true }, nowMs);

  assert.deepEqual(job, {
    name: "look here",
    schedule: { kind: "every", everyMs: 1_000 },
    sessionTarget: "isolated",
    wakeMode: "now",
    payload: { kind: "agentTurn", message: "look\nhere", timeoutSeconds: 5, toolsAllow: ["ls", "read"] },
    agentId: "main",
    deleteAfterRun: false,
    enabled: false,
  });
});

const jobs = [
  { id: "3fa94c2b-0000", name: "weekly" },
  { id: "3fa94c2b-1111", name: "daily" },
  { id: "88aa0000-2222", name: "3fa9" },
];

for (const [text, id] of [
  ["weekly", "3fa94c2b-0000"],
  ["88aa0000", "88aa0000-2222"],
  ["3fa94c2b-1", "3fa94c2b-1111"],
  ["88a", "88a"],
  ["hourly", "hourly"],
] as const) {
  test(`a job called ${text} is ${id}`, () => {
    assert.equal(chooseJob(jobs, text), id);
  });
}

test("what may mean several jobs is refused with each of them", () => {
  assert.throws(
    () => chooseJob(jobs, "3fa9"),
    (error) => error instanceof CliError && /3 jobs are called 3fa9:\n {2}3fa94c2b-0000 {2}weekly/.test(error.message),
  );
});
