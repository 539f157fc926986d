/** Jobs over the real gateway: they run at their time, once, also over restarts and jumps of the clock; both versions see them. */
import assert from "node:assert/strict";
import test from "node:test";
import type { EventPayload, ParamsInput } from "@portreeve/protocol";
import { z } from "zod";
import { defineTool } from "../packages/gateway/src/tools/tool.ts";
import { openHome } from "./support/cli.ts";
import { createManualClock, type ManualClock } from "./support/manual-clock.ts";
import { script } from "./support/script.ts";
import { startGateway, type TestGateway, type TestGatewayOptions } from "./support/start-gateway.ts";
import { connectWire, createWireKey, type Wire } from "./support/wire-client.ts";

type Change = EventPayload<"cron">;

const minuteMs = 60_000;
const startMs = Date.parse("2026-11-27T15:00:00Z");

const turn = (message: string): ParamsInput<"cron.add"> => ({
  name: "look",
  schedule: { kind: "every", everyMs: minuteMs },
  sessionTarget: "isolated",
  wakeMode: "now",
  payload: { kind: "agentTurn", message },
});

async function start(options: TestGatewayOptions = {}): Promise<{ gw: TestGateway; clock: ManualClock } & AsyncDisposable> {
  const clock = createManualClock(startMs);
  const gw = await startGateway({ clock, ...options });
  return { gw, clock, [Symbol.asyncDispose]: () => gw[Symbol.asyncDispose]() };
}

const admin = (gw: TestGateway) => gw.callerWith("operator.admin");

/** Resolves with the changes once `count` of them fit. */
async function changes(gw: TestGateway, action: Change["action"], count: number, act: () => unknown): Promise<readonly Change[]> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const seen: Change[] = [];
  using _ = gw.gateway.bus.subscribe("cron", (change) => {
    if (change.action === action && seen.push(change) === count) resolve();
  });
  await act();
  await promise;
  return seen;
}

/** A tool that holds its run until the release. */
function createHold() {
  const { promise, resolve } = Promise.withResolvers<void>();
  const hold = defineTool({
    name: "hold",
    description: "waits",
    parameters: z.strictObject({}),
    repeat: "safe",
    execute: async () => {
      await promise;
      return { text: "go on" };
    },
  });
  return { hold, release: () => resolve() };
}

test("a job runs at its time in a session of its own, and what came of it is there to read", async () => {
  await using setting = await start();
  const { gw, clock } = setting;
  const job = await admin(gw).call("cron.add", turn(script("look", { say: "all is well" })));

  const [finished] = await changes(gw, "finished", 1, () => clock.advance(minuteMs));

  assert.deepEqual([finished?.jobId, finished?.status, finished?.runAtMs], [job.id, "ok", startMs + minuteMs]);
  assert.match(finished?.summary ?? "", /all is well/);
  const [entry] = (await admin(gw).call("cron.runs", { id: job.id })).entries;
  assert.deepEqual([entry?.runId, entry?.deliveryStatus], [finished?.runId, "not-requested"]);
  const listed = (await admin(gw).call("cron.list", {})).jobs[0];
  assert.deepEqual([listed?.lastRunStatus, listed?.nextRunAtMs], ["ok", startMs + 2 * minuteMs]);
  const [every, other] = [await admin(gw).call("sessions.list", {}), await admin(gw).call("sessions.list", { excludeCron: true })];
  assert.deepEqual([every.sessions[0]?.key, every.totalCount, other.totalCount], [entry?.sessionKey, 1, 0]);
  const { runs } = await admin(gw).call("runs.list", {});
  assert.deepEqual(
    runs.map((run) => [run.trigger, run.label, run.scopes]),
    [["cron", "look", ["operator.write"]]],
  );
  const row = await gw.gateway.store.runs.findByWireId(finished?.runId ?? "", {});
  assert.deepEqual(row?.authority, { scopes: ["operator.write"], owner: false, depth: 0 });
});

for (const [what, schedule] of Object.entries({
  at: { kind: "at", at: new Date(startMs + minuteMs).toISOString() },
  every: { kind: "every", everyMs: minuteMs },
  cron: { kind: "cron", expr: "* * * * *" },
} as const)) {
  for (const [gap, pass] of Object.entries({
    "a gateway that was down": async ({ gw, clock }: { gw: TestGateway; clock: ManualClock }) => {
      clock.set(clock.now() + 90 * minuteMs);
      await gw.restart();
    },
    "a clock that jumps": ({ clock }: { clock: ManualClock }) => Promise.resolve(clock.jump(90 * minuteMs)),
  })) {
    test(`${what}: times that ${gap} missed are made up for by one run`, async () => {
      await using setting = await start();
      const { gw } = setting;
      const job = await admin(gw).call("cron.add", { ...turn(script("look", { say: "late" })), schedule, deleteAfterRun: false });

      await pass(setting);
      await changesOr(gw, job.id);

      const { entries } = await admin(gw).call("cron.runs", { id: job.id });
      assert.deepEqual(
        entries.map(({ status, runAtMs }) => [status, runAtMs]),
        [["ok", startMs + minuteMs]],
      );
      const after = await admin(gw).call("cron.get", { id: job.id });
      assert.deepEqual([after.enabled, after.nextRunAtMs], what === "at" ? [false, undefined] : [true, startMs + 91 * minuteMs]);
    });
  }
}

/** Resolves when a run of the job has ended, also one that ended while a gateway started. */
async function changesOr(gw: TestGateway, jobId: string): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const look = async (): Promise<void> => {
    if ((await admin(gw).call("cron.runs", { id: jobId })).total > 0) resolve();
  };
  using _ = gw.gateway.bus.subscribe("cron", () => void look());
  await look();
  await promise;
}

const daily = { kind: "cron", expr: "1 15 * * *", tz: "UTC" } as const;

/** A daily job whose time has come to pass once; then the clock is set back to before it, and the gateway starts anew. */
async function runAndGoBack({ gw, clock }: { readonly gw: TestGateway; readonly clock: ManualClock }) {
  const job = await admin(gw).call("cron.add", { ...turn(script("look", { say: "once" })), schedule: daily });
  await changes(gw, "finished", 1, () => clock.advance(minuteMs));
  clock.set(startMs);
  await gw.restart();
  return job;
}

test("a job that is enabled again after the clock was set back waits for a time that has not come to pass", async () => {
  await using setting = await start();
  const { gw } = setting;
  const job = await runAndGoBack(setting);

  await admin(gw).call("cron.update", { id: job.id, patch: { enabled: false } });
  const enabled = await admin(gw).call("cron.update", { id: job.id, patch: { enabled: true } });
  const other = await admin(gw).call("cron.update", { id: job.id, patch: { schedule: { ...daily, expr: "1 * * * *" } } });

  assert.equal(enabled.nextRunAtMs, startMs + minuteMs + 24 * 60 * minuteMs);
  assert.equal(other.nextRunAtMs, startMs + minuteMs);
});

test("a change to a job whose time comes to pass just then is made all the same", async () => {
  await using setting = await start();
  const { gw, clock } = setting;
  const job = await admin(gw).call("cron.add", turn(script("look", { say: "once" })));

  // Each can come too late for the three others and for the time.
  const updating = Array.from({ length: 4 }, async (_, index) => {
    for (let turns = index; turns > 0; turns -= 1) await new Promise(setImmediate);
    return admin(gw).call("cron.update", { id: job.id, patch: { description: `change ${index}` } });
  });
  clock.advance(minuteMs);
  const updated = await Promise.all(updating);

  assert.deepEqual(
    updated.map(({ description }) => description),
    updated.map((_, index) => `change ${index}`),
  );
  assert.notEqual((await admin(gw).call("cron.get", { id: job.id })).nextRunAtMs, job.nextRunAtMs);
});

test("a start by hand after the clock was set back makes no time come again", async () => {
  await using setting = await start();
  const { gw } = setting;
  const job = await runAndGoBack(setting);
  await changes(gw, "finished", 1, () => void admin(gw).call("cron.run", { id: job.id, mode: "force" }));

  await admin(gw).call("cron.update", { id: job.id, patch: { enabled: false } });
  const enabled = await admin(gw).call("cron.update", { id: job.id, patch: { enabled: true } });

  assert.equal(enabled.nextRunAtMs, startMs + minuteMs + 24 * 60 * minuteMs);
});

test("a clock that is set back brings no time again", async () => {
  await using setting = await start();
  const { gw, clock } = setting;
  const job = await runAndGoBack(setting);

  clock.advance(5 * minuteMs);
  await admin(gw).call("cron.status", {});

  assert.equal((await admin(gw).call("cron.runs", { id: job.id })).total, 1);
  assert.equal((await admin(gw).call("cron.get", { id: job.id })).nextRunAtMs, startMs + minuteMs + 24 * 60 * minuteMs);
});

test("a job that becomes one with many times is not removed after a run, unless that is said of it", async () => {
  await using setting = await start();
  const { gw } = setting;
  const at = { kind: "at", at: new Date(startMs + minuteMs).toISOString() } as const;
  const { id } = await admin(gw).call("cron.add", { ...turn(script("look", { say: "ok" })), schedule: at });

  const changed = await admin(gw).call("cron.update", { id, patch: { schedule: { kind: "every", everyMs: minuteMs } } });
  await admin(gw).call("cron.update", { id, patch: { enabled: false } });
  await changes(gw, "finished", 1, () => admin(gw).call("cron.run", { id }));
  await gw.restart();

  assert.equal("deleteAfterRun" in changed, false);
  assert.equal((await admin(gw).call("cron.get", { id })).enabled, false);
});

test("a job whose last run still works is skipped, and that is told", async () => {
  await using setting = await start();
  const { gw, clock } = setting;
  const job = await admin(gw).call("cron.add", turn(script("look", { hang: true })));
  await changes(gw, "started", 1, () => clock.advance(minuteMs));

  const [skipped] = await changes(gw, "finished", 1, () => clock.advance(minuteMs));
  const byHand = await admin(gw).call("cron.run", { id: job.id });

  assert.deepEqual([skipped?.status, skipped?.error?.startsWith("its last run had not ended")], ["skipped", true]);
  assert.deepEqual([byHand.ran, byHand.reason], [false, "already-running"]);
  assert.equal((await gw.gateway.store.runs.counts()).byStatus["running"], 1);
});

test("a job shows the run that goes on while its times are skipped, and what came of it afterwards", async () => {
  const { release, hold } = createHold();
  await using setting = await start({ tools: [hold] });
  const { gw, clock } = setting;
  const job = await admin(gw).call("cron.add", turn(script("look", { call: [{ tool: "hold", args: {} }] }, { say: "done" })));
  await changes(gw, "started", 1, () => clock.advance(minuteMs));
  await changes(gw, "finished", 1, () => clock.advance(minuteMs));

  const meanwhile = await admin(gw).call("cron.get", { id: job.id });
  await changes(gw, "finished", 1, release);
  const afterwards = await admin(gw).call("cron.get", { id: job.id });
  const listed = (lastRunStatus: "ok" | "skipped") =>
    admin(gw)
      .call("cron.list", { lastRunStatus })
      .then(({ total }) => total);

  assert.deepEqual([meanwhile.state.runningAtMs, meanwhile.state.lastRunStatus], [startMs + minuteMs, "skipped"]);
  assert.deepEqual(
    [afterwards.state.runningAtMs, afterwards.state.lastRunStatus, afterwards.state.lastError],
    [undefined, "ok", undefined],
  );
  assert.deepEqual([await listed("ok"), await listed("skipped")], [1, 0]);
});

test("a job that was asked for again while its only run worked is removed when that went well", async () => {
  const { release, hold } = createHold();
  await using setting = await start({ tools: [hold] });
  const { gw, clock } = setting;
  const at = { kind: "at", at: new Date(startMs + minuteMs).toISOString() } as const;
  const message = script("look", { call: [{ tool: "hold", args: {} }] }, { say: "done" });
  const { id } = await admin(gw).call("cron.add", { ...turn(message), schedule: at });
  await changes(gw, "started", 1, () => clock.advance(minuteMs));
  const again = await admin(gw).call("cron.run", { id });

  const [removed] = await changes(gw, "removed", 1, release);

  assert.deepEqual([again.reason, removed?.jobId], ["already-running", id]);
});

test("a job whose only time comes while a run by hand still works runs for it afterwards", async () => {
  const { release, hold } = createHold();
  await using setting = await start({ tools: [hold] });
  const { gw, clock } = setting;
  const at = { kind: "at", at: new Date(startMs + minuteMs).toISOString() } as const;
  const message = script("look", { call: [{ tool: "hold", args: {} }] }, { say: "done" });
  const { id } = await admin(gw).call("cron.add", { ...turn(message), schedule: at, deleteAfterRun: false });
  const { runId } = await admin(gw).call("cron.run", { id });
  clock.advance(minuteMs);
  const meanwhile = await admin(gw).call("cron.get", { id });

  const finished = await changes(gw, "finished", 2, release);

  assert.deepEqual([meanwhile.enabled, meanwhile.nextRunAtMs], [true, startMs + minuteMs]);
  assert.deepEqual(
    finished.map(({ status, runAtMs }) => [status, runAtMs]),
    [
      ["ok", startMs],
      ["ok", startMs + minuteMs],
    ],
  );
  assert.equal(finished[0]?.runId, runId);
});

test("jobs beyond the places wait for one, and each comes to pass once", async () => {
  await using setting = await start({ config: { cron: { maxConcurrentRuns: 2 } } });
  const { gw, clock } = setting;
  const at = { kind: "at", at: new Date(startMs + minuteMs).toISOString() } as const;
  for (let count = 0; count < 9; count += 1)
    await admin(gw).call("cron.add", { ...turn(script("look", { say: "done" })), schedule: at, deleteAfterRun: false });

  const finished = await changes(gw, "finished", 9, () => clock.advance(minuteMs));

  assert.equal(new Set(finished.map(({ jobId }) => jobId)).size, 9);
  assert.deepEqual((await gw.gateway.store.runs.counts()).byStatus, { succeeded: 9 });
});

test("a removed device's jobs are disabled before the answer, and stay so when it is paired again", async () => {
  await using gw = await startGateway();
  const key = createWireKey();
  const connect = () => connectWire(gw.url, { key, token: gw.token, scopes: ["operator.admin"] });
  let jobId = "";
  {
    await using wire = await connect();
    jobId = String((await wire.request("cron.add", turn("look"))).payload?.["id"]);
  }

  await admin(gw).call("device.pair.remove", { deviceId: key.id });
  const job = await admin(gw).call("cron.get", { id: jobId });

  assert.deepEqual([job.enabled, job.nextRunAtMs], [false, undefined]);
  assert.match(job.state.lastError ?? "", /not paired any more/);
  const revived = await admin(gw).call("cron.update", { id: jobId, patch: { enabled: true } });
  assert.equal(revived.enabled, true);
  assert.equal((await admin(gw).call("cron.list", {})).jobs[0]?.actsFor, "secret:local");
});

test("methods, events and refusals, in one gateway", async (t) => {
  await using setting = await start();
  const { gw, clock } = setting;
  const connect = (protocol: 3 | 4, ...scopes: string[]): Promise<Wire> =>
    connectWire(gw.url, { key: createWireKey(), token: gw.token, scopes, protocol, signedAt: clock.now() });
  await using v3 = await connect(3, "operator.admin");
  await using v4 = await connect(4, "operator.admin");
  await using nobody = await connect(4, "operator.pairing");
  await using reader = await connect(4, "operator.read");

  const refusals: readonly (readonly [what: string, params: object, code: string, message: RegExp])[] = [
    ["an expression that never fires", { schedule: { kind: "cron", expr: "0 0 30 2 *" } }, "CRON_NEVER_FIRES", /never comes/],
    ["an expression that is none", { schedule: { kind: "cron", expr: "every day" } }, "CRON_SCHEDULE_INVALID", /"every day"/],
    ["a time zone that is none", { schedule: { kind: "cron", expr: "0 9 * * *", tz: "Mars/Olympus" } }, "CRON_SCHEDULE_INVALID", /Mars/],
    ["a moment in the past", { schedule: { kind: "at", at: "2020-01-01T00:00:00Z" } }, "CRON_NEVER_FIRES", /in the past/],
    ["an interval of a millisecond", { schedule: { kind: "every", everyMs: 1 } }, "CRON_SCHEDULE_INVALID", /at least 1000/],
    ["a watched program", { schedule: { kind: "on-exit", command: "make" } }, "NOT_SUPPORTED", /schedule.kind on-exit/],
    ["a command", { payload: { kind: "command", argv: ["ls"] } }, "NOT_SUPPORTED", /payload.kind command/],
    ["a webhook", { delivery: { mode: "webhook", to: "http://192.0.2.1/" } }, "NOT_SUPPORTED", /delivery.mode webhook/],
    ["an address", { delivery: { mode: "announce", to: "+491234" } }, "NOT_SUPPORTED", /delivery.to/],
    ["an owner", { owner: { agentId: "main" } }, "NOT_SUPPORTED", /owner/],
    ["fallbacks", { payload: { kind: "agentTurn", message: "x", fallbacks: ["a/b"] } }, "NOT_SUPPORTED", /payload.fallbacks/],
    ["an unknown agent", { agentId: "nobody" }, "UNKNOWN_AGENT_ID", /nobody/],
    ["an unknown model", { payload: { kind: "agentTurn", message: "x", model: "a/b" } }, "MODEL_UNUSABLE", /a\/b/],
    ["a level of thinking that is none", { payload: { kind: "agentTurn", message: "x", thinking: "deep" } }, "THINKING_UNUSABLE", /deep/],
    ["the current session of nobody", { sessionTarget: "current" }, "INVALID_PARAMS", /needs sessionKey/],
    ["a message of another kind", { payload: { kind: "agentTurn", text: "x" } }, "INVALID_PARAMS", /payload/],
    ["provenance", { inputProvenance: {} }, "NOT_ALLOWED", /inputProvenance/],
  ];
  for (const [what, params, code, message] of refusals) {
    for (const wire of [v3, v4]) {
      await t.test(`${what} is refused by name (version ${wire === v3 ? 3 : 4})`, async () => {
        const { error } = await wire.request("cron.add", { ...turn("look"), ...params });
        assert.equal(error?.details?.["code"], code);
        assert.match(error?.message ?? "", message);
      });
    }
  }

  await t.test("no refusal has left a job, or a run", async () => {
    assert.equal((await admin(gw).call("cron.status", {})).jobs, 0);
    assert.equal(await gw.gateway.store.sessions.count(), 0);
  });

  await t.test("whoever may only read adds, changes, runs and removes nothing", async () => {
    for (const [method, params] of Object.entries({
      "cron.add": turn("look"),
      "cron.update": { id: "x", patch: {} },
      "cron.run": { id: "x" },
      "cron.remove": { id: "x" },
      wake: { mode: "now", text: "x" },
    }))
      assert.equal((await reader.request(method, params)).error?.details?.["code"], "MISSING_SCOPE", method);
    for (const method of ["cron.list", "cron.status", "cron.get", "cron.runs"])
      assert.equal((await nobody.request(method, {})).error?.details?.["code"], "MISSING_SCOPE", method);
  });

  await t.test("a job has the shape of each version", async () => {
    const old = (await v3.request("cron.add", turn("look"))).payload ?? {};
    const added = (await v4.request("cron.add", turn("look"))).payload ?? {};

    const common = ["createdAtMs", "enabled", "id", "name", "payload", "schedule", "sessionTarget", "state", "updatedAtMs", "wakeMode"];
    assert.deepEqual(Object.keys(old).toSorted(), common);
    assert.deepEqual(Object.keys(added).toSorted(), [...common, "configRevision", "deliveryPreview", "nextRunAtMs"].toSorted());
    const lists = await Promise.all([v3, v4].map((wire) => wire.request("cron.list", { limit: 1 })));
    assert.deepEqual(
      lists.map(({ payload }) => Object.keys(payload ?? {}).length),
      [6, 8],
    );
    assert.deepEqual(
      lists.map(({ payload }) => [payload?.["total"], payload?.["hasMore"], payload?.["nextOffset"]]),
      [
        [2, true, 1],
        [2, true, 1],
      ],
    );
    for (const id of [old["id"], added["id"]]) await v4.request("cron.remove", { id });
  });

  await t.test("removing what is not there is done in version 3 and refused in version 4", async () => {
    const [three, four] = await Promise.all([v3, v4].map((wire) => wire.request("cron.remove", { jobId: "nope" })));

    assert.deepEqual(three?.payload, { ok: true, removed: false });
    assert.deepEqual(
      [four?.error?.code, four?.error?.details?.["code"], four?.error?.details?.["jobId"]],
      ["INVALID_REQUEST", "CRON_JOB_NOT_FOUND", "nope"],
    );
    assert.equal((await v3.request("cron.get", { id: "nope" })).error?.details?.["code"], "CRON_JOB_NOT_FOUND");
  });

  await t.test("a change merges, takes away what is null, and is refused when the job was changed meanwhile", async () => {
    const job = await admin(gw).call("cron.add", { ...turn("look"), description: "why", enabled: false });

    const patch = { name: "see", payload: { kind: "agentTurn", timeoutSeconds: 5 }, sessionKey: null } as const;
    const changed = await admin(gw).call("cron.update", { id: job.id, patch, expectedConfigRevision: job.configRevision });
    const stale = await v4.request("cron.update", { id: job.id, patch: { name: "x" }, expectedConfigRevision: job.configRevision });
    const state = await v4.request("cron.update", { id: job.id, patch: { state: { runningAtMs: 1 } } });

    assert.deepEqual([changed.name, changed.description, changed.enabled], ["see", "why", false]);
    assert.deepEqual(changed.payload, { kind: "agentTurn", message: "look", timeoutSeconds: 5 });
    assert.deepEqual([stale.error?.details?.["code"], state.error?.details?.["code"]], ["CRON_JOB_CHANGED", "NOT_SUPPORTED"]);
    assert.deepEqual(
      (await admin(gw).call("cron.list", { includeDisabled: true, query: "see" })).jobs.map(({ id }) => id),
      [job.id],
    );
    assert.deepEqual((await admin(gw).call("cron.list", {})).jobs, []);
    await admin(gw).call("cron.remove", { id: job.id });
  });

  await t.test("whoever may read hears of a run, in the shape of its version, and nobody else does", async () => {
    const message = script("look", { say: "seen" });
    const { id } = await admin(gw).call("cron.add", {
      ...turn(message),
      sessionTarget: "main",
      payload: { kind: "systemEvent", text: message },
    });
    const finishes = [v3, v4, reader].map((wire) =>
      wire.frame((frame) => frame.event === "cron" && frame.payload?.["action"] === "finished"),
    );

    const ran = await v4.request("cron.run", { id, mode: "force" });
    const [three, four, read] = await Promise.all(finishes);

    assert.deepEqual([ran.payload?.["ok"], ran.payload?.["enqueued"]], [true, true]);
    assert.equal(four?.payload?.["runId"], ran.payload?.["runId"]);
    assert.deepEqual([four?.payload, read?.payload?.["status"]], [read?.payload, "ok"]);
    assert.deepEqual(
      ["job", "runId", "completionStatus"].map((name) => [name in (three?.payload ?? {}), name in (four?.payload ?? {})]),
      [
        [false, true],
        [false, true],
        [false, true],
      ],
    );
    assert.equal(four?.payload?.["sessionKey"], "agent:main:main");
    assert.deepEqual(await nobody.request("health").then(() => nobody.frames.filter(({ event }) => event === "cron")), []);
    const notDue = await v4.request("cron.run", { id, mode: "due" });
    assert.deepEqual([notDue.payload?.["ran"], notDue.payload?.["reason"]], [false, "not-due"]);
    const elsewhere = await v4.request("cron.run", { id, expectedProcessInstanceId: "another" });
    assert.equal(elsewhere.error?.details?.["code"], "CRON_JOB_CHANGED");
    await admin(gw).call("cron.remove", { id });
  });

  await t.test("wake starts a turn in the main session", async () => {
    const said = v4.frame((frame) => frame.event === "chat" && JSON.stringify(frame.payload).includes("awake now"));
    assert.deepEqual((await v3.request("wake", { mode: "now", text: script("up", { say: "awake now" }) })).payload, { ok: true });
    assert.equal((await said).payload?.["sessionKey"], "agent:main:main");
  });

  await t.test("a tool list narrows what the run may use, and no name widens it", async () => {
    const payload = { kind: "agentTurn", message: script("look", { say: "ok" }), toolsAllow: ["ls", "no_such_tool"] } as const;
    const { id } = await admin(gw).call("cron.add", { ...turn("look"), payload });

    const { runId } = await admin(gw).call("cron.run", { id });
    const run = await gw.gateway.store.runs.findByWireId(runId ?? "", {});

    assert.deepEqual(run?.authority.limits?.tools, ["ls", "no_such_tool"]);
  });
});

test("the command line adds, lists, runs, disables, enables and removes a job", async () => {
  await using home = await openHome();
  const json = async <T>(...words: string[]): Promise<T> => JSON.parse((await home.cli([...words, "--json"])).out) as T;
  const said = script("look", { say: "by hand" });

  const { id } = await json<{ id: string }>("cron", "add", said, "--cron", "0 9 * * 1-5", "--tz", "Europe/Berlin", "--name", "morning");
  const started = await home.cli(["cron", "run", id]);
  const [, runId = ""] = /runs show (\S+)/.exec(started.out) ?? [];
  await home.cli(["call", "agent.wait", JSON.stringify({ runId })]);
  const disabled = await home.cli(["cron", "disable", "morning"]);
  const [none, all, history] = [await home.cli(["cron"]), await home.cli(["cron", "list", "--all"]), await home.cli(["cron", "runs", id])];
  const enabled = await home.cli(["cron", "enable", id.slice(0, 8)]);
  const removed = await home.cli(["cron", "remove", id]);
  const again = await home.cli(["cron", "remove", id]);
  const never = await home.cli(["cron", "add", "look", "--cron", "0 0 30 2 *"]);

  assert.match(none.out, /no enabled job/);
  assert.match(all.out, /morning +0 9 \* \* 1-5 Europe\/Berlin +disabled +ok +isolated +(secret|device):/);
  assert.match(history.out, /morning +ok .*by hand/);
  assert.match(disabled.out, /^Disabled/);
  assert.match(enabled.out, /^Enabled .*next at/);
  assert.deepEqual(
    [removed.code, again.code, never.code].map((code) => code === 0),
    [true, false, false],
  );
  assert.match(again.err, /cron list --all/);
  assert.match(never.err, /never comes/);
});

test("a note waits for the next turn of its session, and starts none", async () => {
  await using gw = await startGateway();
  const main = "agent:main:main";

  await admin(gw).call("wake", { mode: "next-heartbeat", text: "the build is done" });
  const before = (await gw.gateway.store.runs.counts()).byStatus;
  await gw.callerWith("operator.write").call("agent", { message: script("what is new", { say: "read" }), idempotencyKey: "k1" });
  const { messages } = await admin(gw).call("chat.history", { sessionKey: main });

  assert.equal(before["queued"] ?? before["running"], undefined);
  assert.match(JSON.stringify(messages), /the build is done/);
});
