/** Jobs from the `openclaw` command line of both generations: each flow with a job of its own. */
import { deepEqual, equal, ok } from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { findJson, type Flow, getRecord, type Passed, sayScript } from "../flow.ts";
import type { Generation } from "../installation.ts";
import { openOpenclawHome, type OpenclawHome } from "../openclaw-home.ts";
import type { Rig } from "../rig.ts";
import { runCommand } from "./cli.ts";

interface Job {
  readonly id: string;
  readonly name: string;
  readonly schedule: unknown;
  readonly payload: unknown;
}

export function cronFlows(generation: Generation, version: string): readonly Flow[] {
  const flows: Readonly<Record<string, (rig: Rig, home: OpenclawHome) => Promise<Passed>>> = {
    "cron add": addJob,
    "cron run": runJob,
    "cron rm": removeJob,
  };
  return Object.entries(flows).map(([name, act]) => ({
    client: "openclaw",
    version,
    name,
    run: async (rig): Promise<Passed> => act(rig, await openOpenclawHome(rig, generation)),
  }));
}

async function addJob(rig: Rig, home: OpenclawHome): Promise<Passed> {
  const name = `job-${randomUUID()}`;
  const times = ["--cron", "0 7 * * 1", "--tz", "Europe/Berlin"];
  return await runCommand(rig, home, {
    args: ({ access }) => ["cron", "add", "--name", name, ...times, "--message", "look", "--no-deliver", "--json", ...access],
    check: async ({ code, out }) => {
      equal(code, 0);
      const added = getRecord(findJson(out), "job");
      const job = (await listJobs(rig)).find(({ id }) => id === added["id"]);
      deepEqual(
        [job?.name, job?.schedule, job?.payload],
        [name, { kind: "cron", expr: "0 7 * * 1", tz: "Europe/Berlin" }, { kind: "agentTurn", message: "look" }],
      );
    },
  });
}

async function runJob(rig: Rig, home: OpenclawHome): Promise<Passed> {
  const { id } = await makeJob(rig);
  return await runCommand(rig, home, {
    args: ({ access }) => ["cron", "run", id, ...access],
    check: async ({ code, out }) => {
      equal(code, 0);
      const { runId } = getRecord(findJson(out), "run");
      const { status } = await rig.call<{ status: string }>("agent.wait", { runId, timeoutMs: 60_000 });
      equal(status, "ok");
      const { entries } = await rig.call<{ entries: readonly { status: string; summary: string }[] }>("cron.runs", { id });
      deepEqual(
        entries.map((entry) => [entry.status, entry.summary.startsWith("ahoy from a job")]),
        [["ok", true]],
      );
    },
  });
}

async function removeJob(rig: Rig, home: OpenclawHome): Promise<Passed> {
  const { id } = await makeJob(rig);
  return await runCommand(rig, home, {
    args: ({ access }) => ["cron", "rm", id, ...access],
    check: async ({ code }) => {
      equal(code, 0);
      ok((await listJobs(rig)).every((job) => job.id !== id));
    },
  });
}

/** One that nothing but a command lets run. */
function makeJob(rig: Rig): Promise<Job> {
  return rig.call<Job>("cron.add", {
    name: `job-${randomUUID()}`,
    schedule: { kind: "cron", expr: "0 0 1 1 *" },
    sessionTarget: "isolated",
    wakeMode: "now",
    payload: { kind: "agentTurn", message: sayScript("ahoy from a job") },
    delivery: { mode: "none" },
  });
}

async function listJobs(rig: Rig): Promise<readonly Job[]> {
  return (await rig.call<{ jobs: readonly Job[] }>("cron.list", { includeDisabled: true })).jobs;
}
