/** A state folder of every released schema opens, and what was going on in it goes on. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import test from "node:test";
import { createIds } from "../packages/gateway/src/kit/ids.ts";
import { migrations } from "../packages/gateway/src/store/sql/migrate.ts";
import { StateFolderError } from "../packages/gateway/src/store/folder-error.ts";
import { openStore } from "../packages/gateway/src/store/sqlite.ts";
import { claimer } from "./support/stored-runs.ts";
import { jobToWrite } from "./support/stored-jobs.ts";
import { createOldState, migrateTo, releasedSchemas } from "./support/stored-schema.ts";

const fixtureTimeMs = 1_760_000_000_000;

for (const schema of releasedSchemas) {
  test(`schema ${schema}: devices, requests, sessions and the audit chain are there`, async () => {
    await using state = await createOldState(schema);
    await using store = await openStore(state.stateDir, createIds());

    const { pending, paired } = await store.devices.list(fixtureTimeMs);

    assert.deepEqual(
      paired.map((device) => [device.displayName, device.grants[0]?.scopes]),
      [["laptop", ["operator.admin", "operator.read"]]],
    );
    assert.deepEqual(
      pending.map((request) => request.displayName),
      ["phone"],
    );
    assert.equal(await store.sessions.count(), 3);
    assert.equal(await store.audit.findBreak(), undefined);
  });

  test(`schema ${schema}: a parked parent reads the result that was unread, and the queued child runs`, async () => {
    await using state = await createOldState(schema);
    await using store = await openStore(state.stateDir, createIds());

    const { claims } = await store.runs.claim(
      { ...claimer, limit: 9, maxConcurrentChildren: 9, quote: () => "results" },
      () => fixtureTimeMs + 100,
    );

    assert.deepEqual(
      claims.map((claim) => [claim.run.trigger, claim.consumed.map((one) => one.text)]),
      [
        ["message", ['it\'s "done"']],
        ["spawn", []],
      ],
    );
  });
}

test("the schemas of every release are still the first ones, in order", () => {
  const numbers = Object.keys(migrations).map((name) => name.slice(0, 3));

  assert.deepEqual(numbers, numbers.toSorted());
  assert.deepEqual(numbers.slice(0, releasedSchemas.length), releasedSchemas);
});

test("a job of before keeps its own run where that is certain, and is removed for no run by hand", async () => {
  await using state = await createOldState("001");
  await migrateTo(state.stateDir, "022-queued-messages");
  {
    using db = new DatabaseSync(join(state.stateDir, "portreeve.db"));
    const job = (id: string, seq: number): void => {
      const spec = JSON.stringify({ ...jobToWrite().spec, schedule: { kind: "at", at: "2030-01-01" }, deleteAfterRun: true });
      db.prepare(
        `insert into cron_jobs values (?, ?, 'look', 'main', null, null, 'at', 0, 'secret:local', '{"scopes":[]}', 1, 1, null, 1, ?, null)`,
      ).run(id, spec, seq);
    };
    job("own", 1);
    job("by-hand", 2);
    db.exec(`insert into cron_fires select column1, column2, 'look', 'main', column3, 200, 'run', run_id, null, 1, 0
      from (values (1, 'own', 199), (2, 'by-hand', 200)), (select run_id from runs where status = 'succeeded' limit 1)`);
  }

  await using store = await openStore(state.stateDir, createIds());
  await store.cron.settleAll();

  assert.equal(await store.cron.find("own"), undefined);
  assert.notEqual(await store.cron.find("by-hand"), undefined);
});

test("a database that a newer version wrote is refused by name and left as it is", async () => {
  await using state = await createOldState("001", (db) =>
    db.exec("insert into kysely_migration (name, timestamp) values ('999-future', '2999-01-01')"),
  );

  await assert.rejects(
    openStore(state.stateDir, createIds()),
    (error: unknown) => error instanceof StateFolderError && /999-future/.test(error.message) && /newer version/.test(error.message),
  );
});

test("a second store on the same folder is refused, and the lock is free again afterwards", async () => {
  await using state = await createOldState("001");
  const first = await openStore(state.stateDir, createIds());

  await assert.rejects(openStore(state.stateDir, createIds()), /another gateway is using the state folder/);
  await first[Symbol.asyncDispose]();
  await using second = await openStore(state.stateDir, createIds());

  assert.equal(await second.sessions.count(), 3);
});
