/** The real process killed, stopped, starved and damaged: what was acknowledged comes to its end, exactly once. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { statSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import test from "node:test";
import { createRandom } from "../simulation/random.ts";
import { bareEnv } from "../support/gateway-process.ts";
import type { Wire } from "../support/wire-client.ts";
import { tamper } from "../support/stored-pairing.ts";
import { assertExactlyOnce } from "./aftermath.ts";
import { createFamily, effect, familySize, script, spawn } from "./family.ts";
import { finishJobs, Jobs, untilQuiet } from "./jobs.ts";
import { connect, finish, harass, send, startWithTools } from "./lane.ts";

const seed = Number(process.env["PORTREEVE_SEED"] ?? Date.now() % 2_147_483_647);
const isLong = process.env["PORTREEVE_LONG"] === "1";
const lanes = 2;
const families = isLong ? 1_000 : 31;
const kills = isLong ? 300 : 31;

test("killed at random instants, every child is told of once, each time of a job comes once, and no effect happens twice", async (t) => {
  t.diagnostic(`PORTREEVE_SEED=${seed}: ${lanes * kills} kills, ${lanes * families * familySize} runs`);

  await using gateways = new AsyncDisposableStack();
  const lives = await Promise.all(
    Array.from({ length: lanes }, async (_, lane) => {
      const gateway = gateways.use(await startWithTools());
      const jobs = new Jobs(`lane${lane}`);
      const sent = await harass(gateway, createRandom(seed + lane), { name: `lane${lane}`, families, kills, jobs });
      await finish(gateway, sent);
      {
        await using admin = await connect(gateway, "operator.admin");
        await finishJobs(admin);
      }
      await gateway.stop("SIGTERM");
      return { gateway, jobs, sent };
    }),
  );

  // Only now: while this process reads it hears nothing, and a gateway cuts off whoever is too slow.
  for (const { gateway, jobs, sent } of lives) {
    assert.equal(sent.length, families);
    await assertExactlyOnce(gateway, sent);
    const times = jobs.assertEachTimeOnce(gateway.stateDir);
    t.diagnostic(`${times} times of jobs`);
    assert.ok(times > kills / 2);
  }
});

test("a job that was due while the gateway was dead starts once, after the next start and the one after", async () => {
  await using gateway = await startWithTools();
  {
    await using admin = await connect(gateway, "operator.admin");
    const payload = { kind: "agentTurn", message: script([effect("late")], { say: "late" }) };
    const schedule = { kind: "every", everyMs: 3_600_000 };
    await admin.request("cron.add", { name: "late", schedule, sessionTarget: "isolated", wakeMode: "now", payload });
  }
  await gateway.kill();
  // As if three hours had passed meanwhile.
  tamper(gateway.stateDir, "update cron_jobs set created_at_ms = created_at_ms - 10800000, next_run_at_ms = next_run_at_ms - 10800000");

  const told: unknown[] = [];
  for (let times = 0; times < 2; times += 1) {
    await gateway.start();
    await using admin = await connect(gateway, "operator.admin");
    await untilQuiet(admin);
    const { payload } = await admin.request("cron.runs", {});
    told.push(((payload?.["entries"] ?? []) as { status: string }[]).map(({ status }) => status));
    await gateway.kill();
  }

  assert.deepEqual(told, [["ok"], ["ok"]]);
  assert.equal(await readFile(join(gateway.home, "effects.log"), "utf8"), "charge late\n");
});

test("a run that the gateway dies of is given up, and what was at work beside it goes on", async () => {
  await using gateway = await startWithTools();
  const [others, deadly] = [["a", "b", "c", "d", "e"], "deadly"];
  const asked = (key: string, message: string) => ({ ...createFamily(key), message });
  const state = async (wire: Wire, runId: string, timeoutMs: number) => (await wire.request("agent.wait", { runId, timeoutMs })).payload;
  {
    await using wire = await connect(gateway);
    const refusals = new Set(await Promise.all(others.map((key) => send(wire, asked(key, script([], { hang: true }))))));
    assert.deepEqual(refusals, new Set([undefined]));
    // It may be gone before it can answer.
    await send(wire, asked(deadly, script([{ tool: "die", args: {} }]))).catch(() => undefined);
    await wire.closed;
  }

  const stateOfDeadly = async () => {
    await using wire = await connect(gateway);
    return await state(wire, deadly, 20_000);
  };
  let end: Record<string, unknown> | undefined;
  for (let lives = 0; end === undefined; lives += 1) {
    assert.ok(lives < 10, "the run was not given up");
    await gateway.kill();
    end = await gateway
      .start()
      .then(stateOfDeadly)
      .catch(() => undefined);
  }
  await using wire = await connect(gateway);
  const states = await Promise.all(others.map((key) => state(wire, key, 0)));

  assert.equal(end["status"], "error");
  assert.match(String(end["error"]), /^the gateway died 5 times in a row while the run was at the same step$/);
  assert.deepEqual(
    states.map((one) => one?.["status"]),
    others.map(() => "timeout"),
  );
});

test("a stopped gateway keeps its folder; woken, it writes nothing twice", async () => {
  await using gateway = await startWithTools();
  const family = createFamily("frozen");
  await using wire = await connect(gateway);
  await send(wire, family);
  await wire.frame((frame) => frame.event === "chat" || frame.event === "agent");
  process.kill(gateway.pid, "SIGSTOP");

  const entry = join(import.meta.dirname, "../support/gateway-with-tools.ts");
  const second = spawnSync(process.execPath, [entry], { env: bareEnv(gateway.home), encoding: "utf8" });
  // Longer than a lease.
  if (isLong) await sleep(31_000);
  process.kill(gateway.pid, "SIGCONT");
  await finish(gateway, [family]);
  await gateway.stop("SIGTERM");

  assert.notEqual(second.status, 0);
  assert.match(second.stderr, /another gateway is using the state folder/);
  await assertExactlyOnce(gateway, [family]);
});

test("a full disk refuses what it cannot keep, and what was acknowledged goes on when there is room", async () => {
  await using gateway = await startWithTools();
  const first = createFamily("first");
  await finish(gateway, [first]);
  await gateway.stop("SIGTERM");
  const sizeKiB = Math.ceil(statSync(join(gateway.stateDir, "portreeve.db")).size / 1_024);
  const sent = [first];

  await gateway.start({ fileLimitKiB: sizeKiB + 200 });
  const refusals = new Set<string | undefined>();
  await using wire = await connect(gateway);
  while (!refusals.has("STORE_UNAVAILABLE")) {
    assert.ok(sent.length < 200, "the disk never was full");
    const family = createFamily(`full-${sent.length}`);
    sent.push(family);
    refusals.add(await send(wire, family));
  }
  const health = await wire.request("health", {});
  await gateway.kill();
  await gateway.start();
  await finish(gateway, sent);
  await gateway.stop("SIGTERM");

  assert.equal(health.ok, true);
  assert.deepEqual([...refusals], [undefined, "STORE_UNAVAILABLE"]);
  await assertExactlyOnce(gateway, sent, { isShort: true });
});

test("a journal that cannot be read ends its own run, by name, and the rest goes on", async () => {
  await using gateway = await startWithTools();
  const hanging = script([], { hang: true });
  const parent = { ...createFamily("parent"), message: script([spawn(hanging)], { awaitChildren: true }, { say: "{{children}}" }) };
  const alone = { ...createFamily("alone"), message: hanging };
  {
    await using wire = await connect(gateway);
    await send(wire, parent);
    await send(wire, alone);
    await wire.frame((frame) => frame.event === "agent" && /subagent/.test(String(frame.payload?.["sessionKey"])));
    await wire.frame((frame) => frame.event === "agent" && frame.payload?.["runId"] === "alone");
  }
  await gateway.stop("SIGTERM");
  {
    using database = new DatabaseSync(join(gateway.stateDir, "portreeve.db"));
    const damaged = database
      .prepare('update journal set entry = \'{"kind": "inp\' where seq = 1 and run_id in (select run_id from runs where input = ?)')
      .run(hanging);
    assert.equal(damaged.changes, 2);
  }

  await gateway.start();
  const healthy = createFamily("healthy");
  await finish(gateway, [healthy, parent]);
  await using wire = await connect(gateway);
  const end = await wire.request("agent.wait", { runId: "alone" });
  const history = await wire.request("chat.history", { sessionKey: parent.sessionKey });

  assert.equal(end.payload?.["status"], "error");
  assert.match(String(end.payload?.["error"]), /entry 1 of the journal of run_\w+ cannot be read/);
  assert.match(JSON.stringify(history.payload?.["messages"]), /outcome=\\"interrupted\\"/);
});
