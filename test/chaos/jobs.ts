/** Jobs that are due while the gateway is killed over and over, and what must be said of them when all is over. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { Random } from "../simulation/random.ts";
import type { Wire } from "../support/wire-client.ts";
import { effect, script } from "./family.ts";

const everyMs = 1_000;
/** A gateway takes a part of this to start again: some moments come while there is none. */
const soonMs = 1_500;

interface Job {
  readonly name: string;
  readonly kind: "once" | "kept once" | "each second";
  /** Undefined while nobody has said that it is there: then it may be or not. */
  id: string | undefined;
}

export class Jobs {
  readonly #lane: string;
  readonly #all: Job[] = [];
  readonly #refusals = new Set<unknown>();

  constructor(lane: string) {
    this.#lane = lane;
  }

  /** One for a moment that comes soon; and one that goes on, if none is known to. */
  async add(admin: Wire, random: Random): Promise<void> {
    const kind = random.chance(0.5) ? "once" : "kept once";
    const schedule = { kind: "at", at: new Date(Date.now() + random.int(soonMs)).toISOString() };
    const added = [this.#ask(admin, kind, schedule)];
    if (!this.#all.some((job) => job.kind === "each second" && job.id !== undefined))
      added.push(this.#ask(admin, "each second", { kind: "every", everyMs }));
    await Promise.all(added);
  }

  async #ask(admin: Wire, kind: Job["kind"], schedule: object): Promise<void> {
    const name = `${this.#lane}-job-${this.#all.length}`;
    const job: Job = { name, kind, id: undefined };
    this.#all.push(job);
    const message = kind === "each second" ? script([], { say: "another second" }) : script([effect(name)], { say: `${name} done` });
    const payload = { kind: "agentTurn", message };
    const keeping = kind === "kept once" ? { deleteAfterRun: false } : {};
    const answer = await admin.request("cron.add", { name, schedule, sessionTarget: "isolated", wakeMode: "now", payload, ...keeping });
    if (answer.ok === true) job.id = String(answer.payload?.["id"]);
    else this.#refusals.add(answer.error?.details?.["code"]);
  }

  /** The gateway must have stopped. Answers how many times came to pass. */
  assertEachTimeOnce(stateDir: string): number {
    // A moment may have passed before it was heard.
    assert.deepEqual(
      [...this.#refusals].filter((code) => code !== "CRON_NEVER_FIRES"),
      [],
    );
    using database = new DatabaseSync(join(stateDir, "portreeve.db"), { readOnly: true });
    const all = (sql: string, ...values: string[]): Record<string, unknown>[] => database.prepare(sql).all(...values);
    for (const { name, kind, id } of this.#all) {
      const fires = all("select job_id, due_at_ms, at_ms, kind, times from cron_fires where job_name = ? order by seq", name);
      const isThere = all("select 1 from cron_jobs where name = ?", name).length === 1;
      if (kind === "each second") {
        if (id !== undefined) assert.ok(isThere && fires.length > 0, `${name} is lost`);
        assertInOrder(name, fires);
        continue;
      }
      const kinds = fires.map((fire) => fire["kind"]);
      if (id !== undefined || isThere || kinds.length > 0) assert.deepEqual(kinds, ["run"], `${name} came to pass once`);
      if (id !== undefined) assert.equal(isThere, kind === "kept once", `${name} is ${isThere ? "still there" : "gone"}`);
    }
    assertOneRunEach(all);
    return all("select 1 from runs where trigger = 'cron'").length;
  }
}

interface ListedJob {
  readonly id: string;
  readonly schedule: { readonly kind: string };
  readonly nextRunAtMs?: number;
}

/** Stops what would go on for ever, and waits for the rest. */
export async function finishJobs(admin: Wire): Promise<void> {
  const stopEndless = async ({ id, schedule }: ListedJob): Promise<boolean> => {
    if (schedule.kind === "every") await admin.request("cron.update", { id, patch: { enabled: false } });
    return true;
  };
  await untilQuiet(admin, stopEndless);
}

/** Waits until no job is to be waited for (those that are due are), and nothing runs. */
export async function untilQuiet(
  admin: Wire,
  isAwaited = ({ nextRunAtMs = Infinity }: ListedJob): Promise<boolean> => Promise.resolve(nextRunAtMs <= Date.now()),
): Promise<void> {
  for (let isQuiet = false; !isQuiet;) {
    const { payload } = await admin.request("cron.list", { limit: 200 });
    const awaited = await Promise.all(((payload?.["jobs"] ?? []) as ListedJob[]).map(isAwaited));
    const runs = await admin.request("runs.list", { limit: 1, status: ["queued", "running", "waiting"] });
    isQuiet = !awaited.includes(true) && ((runs.payload?.["runs"] ?? [runs.error]) as object[]).length === 0;
  }
}

/** Times have a run of their own each, and runs are counted without gaps; of a job only so many times are kept. */
function assertOneRunEach(all: (sql: string) => Record<string, unknown>[]): void {
  const fired = all("select run_id from cron_fires where kind = 'run'").map((row) => String(row["run_id"]));
  const runs = all("select run_id, wire_id from runs where trigger = 'cron'");
  const ids = new Set(runs.map((row) => String(row["run_id"])));
  assert.deepEqual(
    fired.filter((runId, index) => !ids.has(runId) || fired.indexOf(runId) !== index),
    [],
    "times without a run of their own",
  );
  const numbers = runs.map(
    (row) => /^(cron:.+):(\d+)$/.exec(String(row["wire_id"])) ?? assert.fail(`a run is called ${String(row["wire_id"])}`),
  );
  for (const [job, some] of Map.groupBy(numbers, ([, name]) => name))
    assert.deepEqual(new Set(some.map(([, , number]) => Number(number))), new Set(some.map((_, index) => index + 1)), `runs of ${job}`);
}

/** Times of seconds apart: none twice, none early, and none left out but those that had passed when a late one came. */
function assertInOrder(name: string, fires: readonly Record<string, unknown>[]): void {
  let before: { readonly dueAtMs: number; readonly atMs: number } | undefined;
  for (const fire of fires) {
    const [dueAtMs, atMs] = [Number(fire["due_at_ms"]), Number(fire["at_ms"])];
    assert.ok(dueAtMs <= atMs, `${name} came early`);
    if (before !== undefined) {
      assert.equal((dueAtMs - before.dueAtMs) % everyMs, 0, `${name} has no such time`);
      assert.ok(dueAtMs > before.atMs, `${name} came to pass at ${before.atMs} and again for ${dueAtMs}`);
      // Of several that were skipped in a row only the newest is told.
      if (fire["times"] === 1) assert.ok(dueAtMs <= before.atMs + everyMs, `${name} left a time out before ${dueAtMs}`);
    }
    before = { dueAtMs, atMs };
  }
}
