/** Jobs in the store: each time comes to pass once, within what whoever it acts for holds, whatever dies in between. */
import assert from "node:assert/strict";
import { mkdtempDisposable } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { createIds } from "../../packages/gateway/src/kit/ids.ts";
import { cronBounds, type CronFired, type CronJobRecord, type CronJobToWrite } from "../../packages/gateway/src/store/cron-store.ts";
import { settleRestored } from "../../packages/gateway/src/store/restoring.ts";
import { createStore, openStore, openStoreFile } from "../../packages/gateway/src/store/sqlite.ts";
import type { Store } from "../../packages/gateway/src/store/store.ts";
import { FaultyDatabase } from "../simulation/faulty-database.ts";
import { fireAsk, jobToWrite } from "../support/stored-jobs.ts";
import { claimer, endedWell } from "../support/stored-runs.ts";

const drivers: Readonly<Record<string, () => Promise<Store>>> = { sqlite: () => openStoreFile(":memory:", createIds()) };
const owner = { id: "owner", scopes: ["operator.admin"], deviceId: undefined, ownDeviceOnly: false };

async function addJob(store: Store, over: Partial<CronJobToWrite> = {}): Promise<CronJobRecord> {
  const added = await store.cron.add(jobToWrite(over), "owner", 1);
  return added === "too-many" ? assert.fail("there are too many jobs") : added;
}

async function pair(store: Store, scopes: readonly string[]): Promise<string> {
  const deviceId = "d1";
  const outcome = await store.devices.approveSilently(
    {
      deviceId,
      publicKey: "k".repeat(43),
      displayName: undefined,
      platform: undefined,
      deviceFamily: undefined,
      clientId: "test",
      clientMode: "test",
      remoteIp: undefined,
      role: "operator",
      scopes,
      reason: "not-paired",
      isRepair: false,
    },
    1,
  );
  assert.equal(outcome.kind, "approved");
  return deviceId;
}

async function endRun(store: Store, nowMs: number): Promise<void> {
  const [claim] = (await store.runs.claim(claimer, () => nowMs)).claims;
  assert.ok(claim !== undefined);
  await store.runs.end(claim.run.runId, claim.epoch, endedWell, [], nowMs);
}

function admitted(fired: CronFired) {
  return fired.kind === "admitted" ? fired : assert.fail(`it is ${fired.kind}`);
}

for (const [driver, open] of Object.entries(drivers)) {
  test(`${driver}: a time comes to pass once, however many look`, async () => {
    await using store = await open();
    const { jobId } = await addJob(store);

    const fired = await Promise.all([1, 2, 3].map(() => store.cron.fire(fireAsk(jobId), 100)));
    const again = await store.cron.fire(fireAsk(jobId), 150);

    assert.deepEqual(
      [...fired, again].map(({ kind }) => kind),
      ["admitted", "stale", "stale", "stale"],
    );
    const { run, job } = admitted(fired[0] ?? assert.fail());
    assert.deepEqual([run.trigger, run.input, run.startedBy, run.wireId], ["cron", "look around", "secret:local", `cron:${jobId}:1`]);
    assert.deepEqual([job.nextRunAtMs, job.enabled], [200, true]);
    assert.match(run.sessionKey, new RegExp(`^agent:main:cron:${jobId}:[0-9a-f-]{36}$`));
  });

  test(`${driver}: a time that has not come does not come to pass, nor one of a job that is disabled or changed`, async () => {
    await using store = await open();
    const job = await addJob(store);

    const early = await store.cron.fire(fireAsk(job.jobId), 99);
    const changed = await store.cron.update(job.jobId, jobToWrite({ nextRunAtMs: 300 }), job, "owner", 2);
    const old = await store.cron.fire(fireAsk(job.jobId), 400);
    assert.ok(typeof changed === "object");
    await store.cron.update(job.jobId, jobToWrite({ enabled: false, nextRunAtMs: undefined }), changed, "owner", 3);
    const disabled = await store.cron.fire(fireAsk(job.jobId, { dueAtMs: 300 }), 400);

    assert.deepEqual([early.kind, old.kind, disabled.kind], ["stale", "stale", "stale"]);
    assert.deepEqual(await store.runs.counts().then(({ byStatus }) => byStatus), {});
  });

  test(`${driver}: a next time that has passed by then is no next time: it would be made up for by itself`, async () => {
    await using store = await open();
    const { jobId } = await addJob(store);

    const late = await store.cron.fire(fireAsk(jobId, { nextRunAtMs: 200 }), 200);
    const found = await store.cron.fire(fireAsk(jobId, { nextRunAtMs: 300 }), 200);

    assert.deepEqual([late.kind, found.kind, (await store.cron.find(jobId))?.nextRunAtMs], ["stale", "admitted", 300]);
  });

  test(`${driver}: a job that was changed since its next time was found is not given that time`, async () => {
    await using store = await open();
    const seen = await addJob(store);
    await store.cron.update(seen.jobId, jobToWrite(), seen, "owner", 2);

    const old = await store.cron.fire(fireAsk(seen.jobId, { seenUpdatedAtMs: seen.updatedAtMs }), 100);
    const due = (await store.cron.listDue(100, 9))[0]?.job;
    const fresh = await store.cron.fire(fireAsk(seen.jobId, { seenUpdatedAtMs: due?.updatedAtMs }), 100);

    assert.deepEqual([old.kind, fresh.kind], ["stale", "admitted"]);
  });

  test(`${driver}: while its last run goes on a time is skipped, and times in a row are one line`, async () => {
    await using store = await open();
    const { jobId } = await addJob(store);
    const first = admitted(await store.cron.fire(fireAsk(jobId), 100));

    const skips = [
      await store.cron.fire(fireAsk(jobId, { dueAtMs: 200, nextRunAtMs: 300 }), 200),
      await store.cron.fire(fireAsk(jobId, { dueAtMs: 300, nextRunAtMs: 400 }), 300),
    ];
    await endRun(store, 310);
    const after = await store.cron.fire(fireAsk(jobId, { dueAtMs: 400, nextRunAtMs: 500 }), 400);

    assert.deepEqual(
      [...skips, after].map(({ kind }) => kind),
      ["skipped", "skipped", "admitted"],
    );
    const { fires, total } = await store.cron.listFires({ ...everything, sortDir: "asc" });
    assert.equal(total, 2);
    assert.deepEqual(
      fires.map(({ outcome, dueAtMs }) => [outcome.kind, dueAtMs]),
      [
        ["run", 100],
        ["skipped", 300],
      ],
    );
    assert.deepEqual(fires[1]?.outcome, { kind: "skipped", runId: first.run.runId, times: 2 });
  });

  test(`${driver}: however many times of other jobs come meanwhile, a run that goes on is known and no other starts beside it`, async () => {
    const database = await FaultyDatabase.open();
    await using store = createStore(database.open(), createIds());
    const [slow, other] = [await addJob(store), await addJob(store)];
    const byHand = { dueAtMs: undefined, nextRunAtMs: undefined };
    const { run } = admitted(await store.cron.fire(fireAsk(slow.jobId, byHand), 50));
    database.raw.exec(`insert into cron_fires
      select max(seq) + ${cronBounds.fires}, '${other.jobId}', 'look', 'main', 51, 51, 'error', null, 'x', 1, 0 from cron_fires`);

    await store.cron.fire(fireAsk(other.jobId, { ...byHand, problem: "no model" }), 60);
    const beside = await store.cron.fire(fireAsk(slow.jobId, byHand), 70);
    await endRun(store, 80);
    const settled = await store.cron.settle(run.runId);
    await store.cron.fire(fireAsk(other.jobId, { ...byHand, problem: "no model" }), 90);

    assert.deepEqual([beside.kind, settled?.fire.outcome.kind], ["skipped", "run"]);
    assert.equal((await store.cron.listFires({ ...everything, jobId: slow.jobId, sortDir: "asc" })).fires[0]?.outcome.kind, "skipped");
  });

  test(`${driver}: a job's only time waits for a run that goes on, and comes to pass once that has ended`, async () => {
    await using store = await open();
    const { jobId } = await addJob(store, { spec: { ...jobToWrite().spec, schedule: { kind: "at", at: "2030-01-01" } } });
    await store.cron.fire(fireAsk(jobId, { dueAtMs: undefined, nextRunAtMs: undefined }), 50);

    const early = await store.cron.fire(fireAsk(jobId, { nextRunAtMs: undefined }), 100);
    const dueMeanwhile = await store.cron.listDue(100, 9);
    const job = await store.cron.find(jobId);
    await endRun(store, 110);
    const dueThen = await store.cron.listDue(120, 9);
    const late = await store.cron.fire(fireAsk(jobId, { nextRunAtMs: undefined }), 120);

    assert.deepEqual([early.kind, job?.enabled, job?.nextRunAtMs, late.kind], ["stale", true, 100, "admitted"]);
    assert.deepEqual([dueMeanwhile.length, dueThen.length], [0, 1]);
  });

  test(`${driver}: beyond so many runs at once a time waits, and by hand it does not`, async () => {
    await using store = await open();
    const [one, two] = [await addJob(store), await addJob(store)];
    await store.cron.fire(fireAsk(one.jobId, { maxConcurrentRuns: 1 }), 100);

    const full = await store.cron.fire(fireAsk(two.jobId, { maxConcurrentRuns: 1 }), 100);
    const byHand = await store.cron.fire(fireAsk(two.jobId, { maxConcurrentRuns: 1, dueAtMs: undefined, nextRunAtMs: undefined }), 100);

    assert.deepEqual([full.kind, byHand.kind], ["full", "admitted"]);
    assert.deepEqual([admitted(byHand).job.nextRunAtMs, admitted(byHand).job.enabled], [100, true]);
  });

  test(`${driver}: what keeps a run from starting is written down, and the next time stands`, async () => {
    await using store = await open();
    const { jobId } = await addJob(store);

    const fired = await store.cron.fire(fireAsk(jobId, { problem: "no model" }), 100);

    assert.ok(fired.kind === "failed");
    assert.deepEqual(fired.job.lastFire?.outcome, { kind: "error", error: "no model" });
    assert.equal(fired.job.nextRunAtMs, 200);
  });

  test(`${driver}: a deadline in parts of a millisecond is the nearest whole one, and never none`, async () => {
    await using store = await open();
    const limits = [1.0005, 0.0001, 1.1];
    const jobs = await Promise.all(
      limits.map((timeoutSeconds) =>
        addJob(store, { spec: { ...jobToWrite().spec, payload: { kind: "agentTurn", message: "look", timeoutSeconds } } }),
      ),
    );

    const runs = [];
    for (const { jobId } of jobs) runs.push(admitted(await store.cron.fire(fireAsk(jobId), 100)).run);

    assert.deepEqual(
      runs.map(({ timeoutMs }) => timeoutMs),
      [1_001, 1, 1_100],
    );
  });

  test(`${driver}: a job's run holds no more than its device does at that moment`, async () => {
    await using store = await open();
    const deviceId = await pair(store, ["operator.write"]);
    const widest = { scopes: ["operator.admin"], owner: false, depth: 0 };
    const { jobId } = await addJob(store, { actsFor: `device:${deviceId}`, authority: widest });

    const { run } = admitted(await store.cron.fire(fireAsk(jobId), 100));

    assert.deepEqual(run.authority.scopes, ["operator.write"]);
  });

  test(`${driver}: a job of a device that may not start runs is disabled when its time comes`, async () => {
    await using store = await open();
    const deviceId = await pair(store, ["operator.read"]);
    const { jobId } = await addJob(store, { actsFor: `device:${deviceId}` });

    const fired = await store.cron.fire(fireAsk(jobId), 100);

    assert.ok(fired.kind === "disabled");
    assert.deepEqual([fired.job.enabled, fired.job.nextRunAtMs], [false, undefined]);
    assert.match(fired.job.disabledReason ?? "", /may not start runs/);
    assert.equal((await store.cron.fire(fireAsk(jobId), 101)).kind, "stale");
    assert.deepEqual(
      (await store.audit.list(1)).map(({ kind }) => kind),
      ["cron.disabled"],
    );
  });

  for (const [what, end] of Object.entries({
    removed: (store: Store, deviceId: string) => store.devices.remove(deviceId, owner, 50),
    revoked: (store: Store, deviceId: string) => store.devices.revokeToken({ deviceId, role: "operator" }, owner, 50),
  })) {
    test(`${driver}: the jobs of a device are disabled in the transaction in which it is ${what}, and nobody else's`, async () => {
      await using store = await open();
      const deviceId = await pair(store, ["operator.write"]);
      const [its, other] = [await addJob(store, { actsFor: `device:${deviceId}` }), await addJob(store)];

      await end(store, deviceId);

      const [after, stays] = [await store.cron.find(its.jobId), await store.cron.find(other.jobId)];
      assert.deepEqual(
        [after?.enabled, after?.nextRunAtMs, after?.disabledReason],
        [false, undefined, "the device that it acts for is not paired any more"],
      );
      assert.deepEqual([stays?.enabled, stays?.nextRunAtMs], [true, 100]);
      assert.equal((await store.cron.fire(fireAsk(its.jobId, { dueAtMs: undefined, nextRunAtMs: undefined }), 100)).kind, "disabled");
      assert.equal((await store.audit.list(9)).filter(({ kind }) => kind === "cron.disabled").length, 2);
    });
  }

  test(`${driver}: a job that was changed or fired since it was read is not written over`, async () => {
    await using store = await open();
    const read = await addJob(store);
    await store.cron.fire(fireAsk(read.jobId), 100);

    assert.equal(await store.cron.update(read.jobId, jobToWrite(), read, "owner", 101), "changed");
    assert.equal(await store.cron.update("cron_none", jobToWrite(), read, "owner", 101), "missing");
  });

  test(`${driver}: a job that was to be removed after its only time is, once that went well`, async () => {
    await using store = await open();
    const spec = { ...jobToWrite().spec, schedule: { kind: "at", at: "2030-01-01" } as const, deleteAfterRun: true };
    const [well, badly] = [await addJob(store, { spec }), await addJob(store, { spec, nextRunAtMs: 101 })];
    const once = { nextRunAtMs: undefined };
    const { run } = admitted(await store.cron.fire(fireAsk(well.jobId, once), 100));
    await endRun(store, 110);
    await store.cron.fire(fireAsk(badly.jobId, { ...once, dueAtMs: 101, problem: "no model" }), 120);

    const settled = await store.cron.settle(run.runId);
    await store.cron.settleAll();

    assert.equal(settled?.removed, true);
    assert.equal(await store.cron.find(well.jobId), undefined);
    assert.equal((await store.cron.find(badly.jobId))?.enabled, false);
  });

  test(`${driver}: a job that was started by hand stays while the run of its only time goes on`, async () => {
    await using store = await open();
    const spec = { ...jobToWrite().spec, schedule: { kind: "at", at: "2030-01-01" }, deleteAfterRun: true } as const;
    const { jobId } = await addJob(store, { spec });
    const byHand = admitted(await store.cron.fire(fireAsk(jobId, { dueAtMs: undefined, nextRunAtMs: undefined }), 50));
    await endRun(store, 60);
    const ofItsTime = admitted(await store.cron.fire(fireAsk(jobId, { nextRunAtMs: undefined }), 100));

    const early = await store.cron.settle(byHand.run.runId);
    await store.cron.settleAll();
    await endRun(store, 110);
    const late = await store.cron.settle(ofItsTime.run.runId);

    assert.deepEqual([early?.removed, late?.removed], [false, true]);
  });

  test(`${driver}: a job that was started by hand alone stays, also once it has no time to come`, async () => {
    await using store = await open();
    const spec = { ...jobToWrite().spec, schedule: { kind: "at", at: "2030-01-01" }, deleteAfterRun: true } as const;
    const job = await addJob(store, { spec });
    const { run } = admitted(await store.cron.fire(fireAsk(job.jobId, { dueAtMs: undefined, nextRunAtMs: undefined }), 50));
    await store.cron.update(job.jobId, jobToWrite({ spec, enabled: false, nextRunAtMs: undefined }), job, "owner", 55);
    await endRun(store, 60);

    const settled = await store.cron.settle(run.runId);
    await store.cron.settleAll();

    assert.equal(settled?.removed, false);
    assert.equal((await store.cron.find(job.jobId))?.enabled, false);
  });

  test(`${driver}: a job that is given another time after its own stays until that`, async () => {
    await using store = await open();
    const at = (time: string) => ({ ...jobToWrite().spec, schedule: { kind: "at", at: time }, deleteAfterRun: true }) as const;
    const { jobId } = await addJob(store, { spec: { ...at("2030-01-01"), deleteAfterRun: false } });
    const { job } = admitted(await store.cron.fire(fireAsk(jobId, { nextRunAtMs: undefined }), 100));
    await endRun(store, 110);
    await store.cron.update(jobId, jobToWrite({ spec: at("2040-01-01"), enabled: false, nextRunAtMs: undefined }), job, "owner", 120);

    await store.cron.settleAll();

    assert.notEqual(await store.cron.find(jobId), undefined);
  });

  test(`${driver}: of a job with a session each time the newest are kept, and one in which something goes on`, async () => {
    await using store = await open();
    const { jobId } = await addJob(store, { nextRunAtMs: 1 });
    const count = cronBounds.sessionsOfJob + 3;
    for (let time = 1; time <= count; time += 1) {
      admitted(await store.cron.fire(fireAsk(jobId, { dueAtMs: time, nextRunAtMs: time + 1 }), time));
      await endRun(store, time);
    }

    assert.equal(await store.sessions.count(), cronBounds.sessionsOfJob);
    assert.equal((await store.cron.listFires(everything)).total, count);
  });

  test(`${driver}: ten thousand jobs are as many as there may be, and a page of what is due is all that is read at once`, async () => {
    const database = await FaultyDatabase.open();
    await using store = createStore(database.open(), createIds());
    await addJob(store);
    database.raw.exec(`insert into cron_jobs
      with recursive n(i) as (select 2 union all select i + 1 from n where i < ${cronBounds.jobs})
      select 'cron_copy' || i, spec, name, agent_id, session_key, target_key, schedule_kind, enabled, acts_for, authority,
        created_at_ms, updated_at_ms, i, fired, last_seq, disabled_reason, own_run_id, last_run_seq from cron_jobs, n`);

    const beyond = await store.cron.add(jobToWrite(), "owner", 2);
    const [due, last] = [await store.cron.listDue(20_000, 32), await store.cron.list({ ...allJobs, limit: 1, offset: 9_999 })];

    assert.equal(beyond, "too-many");
    assert.deepEqual([due.length, due[0]?.dueAtMs, due[31]?.dueAtMs], [32, 2, 33]);
    assert.deepEqual([last.total, last.jobs.length], [10_000, 1]);
  });

  test(`${driver}: a job that cannot be read is disabled when its time comes, and holds up no other`, async () => {
    const database = await FaultyDatabase.open();
    await using store = createStore(database.open(), createIds());
    const [broken, sound] = [await addJob(store), await addJob(store, { nextRunAtMs: 101 })];
    database.raw.exec(`update cron_jobs set spec = '{' where job_id = '${broken.jobId}'`);

    const due = await store.cron.listDue(200, 9);
    const fired = await store.cron.fire(fireAsk(broken.jobId, { nextRunAtMs: undefined }), 200);

    assert.deepEqual(
      due.map(({ jobId, job }) => [jobId, job === undefined]),
      [
        [broken.jobId, true],
        [sound.jobId, false],
      ],
    );
    assert.equal(fired.kind, "unreadable");
    assert.deepEqual(
      (await store.cron.listDue(200, 9)).map(({ jobId }) => jobId),
      [sound.jobId],
    );
    assert.deepEqual(
      (await store.cron.list(allJobs)).jobs.map(({ jobId }) => jobId),
      [sound.jobId],
    );
  });

  test(`${driver}: a restore starts no job whose only time may have come to pass since the backup`, async () => {
    await using folder = await mkdtempDisposable(join(tmpdir(), "portreeve-restored-"));
    const at = { ...jobToWrite().spec, schedule: { kind: "at", at: "2030-01-01" } as const };
    const ids: string[] = [];
    {
      await using store = await openStore(folder.path, createIds());
      for (const job of [{ spec: at }, { spec: at, nextRunAtMs: 300 }, {}]) ids.push((await addJob(store, job)).jobId);
    }

    const ended = await settleRestored(folder.path, { gatewayId: "g", backupAtMs: 50, since: undefined }, 200);
    await using store = await openStore(folder.path, createIds());
    const jobs = await Promise.all(ids.map((id) => store.cron.find(id)));

    assert.equal(ended.jobs, 1);
    assert.deepEqual(
      jobs.map((job) => [job?.enabled, job?.nextRunAtMs]),
      [
        [false, undefined],
        [true, 300],
        [true, 100],
      ],
    );
    assert.match(jobs[0]?.disabledReason ?? "", /between the backup and the restore/);
  });

  test(`${driver}: a process that dies before or after any statement of a time leaves it to come, or come to pass, never both`, async () => {
    const ends: string[] = [];
    for (const when of ["before", "after"] as const) {
      for (let statements = 0; ; statements += 1) {
        const database = await sharedDatabase();
        const { jobId } = await addJob(createStore(database.open(), createIds()));
        // What a dead process had asked for may never be answered.
        const died = Promise.withResolvers<"died">();
        database.crashAt({ inStatements: statements, matching: /./, when }, () => {
          database.die();
          died.resolve("died");
        });
        const store = createStore(database.open(), createIds());
        const firing = store.cron.fire(fireAsk(jobId), 100);
        const outcome = await Promise.race([firing, died.promise]);
        database.heal();
        const next = createStore(database.open(), createIds());
        const again = await next.cron.fire(fireAsk(jobId), 100);
        const runs = (await next.runs.counts()).byStatus["queued"];
        const job = await next.cron.find(jobId);
        assert.deepEqual([runs, job?.nextRunAtMs, job?.lastFire?.outcome.kind], [1, 200, "run"], `${when} statement ${statements}`);
        ends.push(again.kind);
        if (outcome !== "died") {
          assert.equal(outcome.kind, "admitted");
          break;
        }
      }
    }

    // Only what dies after the commit has come to pass already.
    assert.ok(ends.filter((end) => end === "admitted").length > 20);
    assert.ok(ends.includes("stale"));
  });
}

const everything = {
  limit: 200,
  offset: 0,
  jobId: undefined,
  agentId: undefined,
  runId: undefined,
  statuses: undefined,
  wantsDelivery: undefined,
  query: undefined,
  sortDir: "desc",
} as const;

const allJobs = {
  limit: 200,
  offset: 0,
  enabled: undefined,
  query: undefined,
  agentId: undefined,
  sessionKey: undefined,
  scheduleKind: undefined,
  lastRunStatus: undefined,
  sortBy: "name",
  sortDir: "asc",
} as const;

let shared: Promise<FaultyDatabase> | undefined;

async function sharedDatabase(): Promise<FaultyDatabase> {
  const database = await (shared ??= FaultyDatabase.open());
  database.die();
  database.empty();
  return database;
}
