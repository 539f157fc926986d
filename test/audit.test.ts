/** The audit through the public door: what is refused is counted, what is granted is written down or not granted. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import test from "node:test";
import { createDispatch } from "../packages/gateway/src/dispatch/dispatch.ts";
import type { Handlers } from "../packages/gateway/src/dispatch/types.ts";
import { createIds } from "../packages/gateway/src/kit/ids.ts";
import { secretPrincipal } from "../packages/gateway/src/principal/principal.ts";
import { script, spawnStep } from "./support/script.ts";
import { startGateway, type TestGateway } from "./support/start-gateway.ts";
import { storeDevice, tamper } from "./support/stored-pairing.ts";
import { connectParams, connectWire, createWireKey, openWire, refusedConnect } from "./support/wire-client.ts";

/** Stops every write of `table` until the gateway ends. */
function stop(gw: TestGateway, table: string): void {
  tamper(gw.stateDir, `create trigger no_${table} before insert on ${table} begin select raise(abort, 'it is down'); end`);
}

/** What was counted, as the gateway has it on disk after it ended. */
async function countsAfterRestart(gw: TestGateway) {
  await gw.restart();
  return gw.gateway.store.refusals.list({ sinceMs: 0, limit: 100 });
}

test("refused calls are counted by principal, method and rule, and are on disk after an orderly end", async () => {
  await using gw = await startGateway();
  const reader = gw.callerWith("operator.read");

  for (let index = 0; index < 3; index += 1) await assert.rejects(reader.call("sessions.delete", { key: "x" }), { code: "MISSING_SCOPE" });
  {
    await using wire = await connectWire(gw.url, { token: gw.token, scopes: ["operator.write"] });
    await wire.request("no.such.method");
    await wire.request("agent", { message: "x", idempotencyKey: "k", lane: "main" });
    await wire.request("sessions.list", { limit: "wrong" });
  }

  assert.deepEqual(
    (await countsAfterRestart(gw)).map(({ principal, method, rule, count }) => [principal, method, rule, count]),
    [
      ["secret:local", "sessions.delete", "MISSING_SCOPE", 3],
      ["secret:local", "(unknown)", "UNKNOWN_METHOD", 1],
      ["secret:local", "agent", "NOT_ALLOWED", 1],
    ],
  );
});

test("refused handshakes are counted by what they proved, and by the rule that refused them", async () => {
  await using gw = await startGateway();
  const key = createWireKey();
  await (await connectWire(gw.url, { key, token: gw.token, scopes: ["operator.read"] }))[Symbol.asyncDispose]();

  await refusedConnect(gw.url, { token: "wrong", scopes: ["operator.read"] });
  await refusedConnect(gw.url, { key, token: gw.token, scopes: ["operator.admin"] });
  await refusedConnect(gw.url, { key, token: gw.token, scopes: ["operator.admin"] });
  await refusedConnect(gw.url, { key: createWireKey(), scopes: ["operator.read"] });
  await assert.rejects(openWire(gw.url, { host: "evil.example" }));

  const counted = (await countsAfterRestart(gw)).map(({ principal, method, rule, count }) => [principal, method, rule, count]);
  assert.deepEqual(counted, [
    [`device:${key.id}`, "connect", "PAIRING_REQUIRED/scope-upgrade", 2],
    ["peer:127.0.0.1", "connect", "AUTH_TOKEN_MISMATCH", 1],
    ["peer:127.0.0.1", "connect", "AUTH_TOKEN_MISSING", 1],
    ["peer:127.0.0.1", "connect", "misdirected_request", 1],
  ]);
});

test("a count that never ends keeps no refusal waiting", async () => {
  const ignore = (): void => undefined;
  const log = { debug: ignore, info: ignore, warn: ignore, error: ignore };
  const never = (): unknown => new Promise(ignore);
  // No handler is reached by a caller without a scope.
  const handlers = {} as Handlers;
  const dispatch = createDispatch({ handlers, log, ids: createIds(), countRefusal: never, clock: { now: Date.now }, checkResults: true });
  let refused: unknown;

  dispatch(secretPrincipal([]), "status", {}, { signal: new AbortController().signal }).catch((error: unknown) => (refused = error));
  await new Promise(setImmediate);

  assert.equal(refused instanceof Error && "code" in refused ? refused.code : refused, "MISSING_SCOPE");
});

test("when refusals cannot be written down, refusing and serving go on", async () => {
  await using gw = await startGateway();
  stop(gw, "refusals");

  await assert.rejects(gw.callerWith().call("status", {}), { code: "MISSING_SCOPE" });
  await gw.restart();
  await assert.rejects(gw.callerWith().call("status", {}), { code: "MISSING_SCOPE" });
  const { ok } = await gw.callerWith("operator.read").call("health", {});

  assert.equal(ok, true);
  assert.equal(gw.logLines.filter(({ message }) => message.startsWith("refusals could not be written")).length, 1);
});

/** Everything a grant could leave behind. */
async function standing(gw: TestGateway): Promise<unknown> {
  const { paired, pending } = await gw.gateway.store.devices.list(Date.now());
  const { tasks, sessions } = await gw.callerWith("operator.read").call("status", {});
  const audit = await gw.gateway.store.audit.list(100);
  return { paired, pending: pending.map(({ requestId }) => requestId), tasks, sessions: sessions.count, audit };
}

interface GrantCase {
  /** Makes what the grant needs; answers the attempt, which resolves with the refusal's code or `granted`. */
  readonly prepare: (gw: TestGateway) => Promise<() => Promise<unknown>>;
  readonly kind: string;
}

const outcomeOf = (attempt: Promise<unknown>): Promise<unknown> =>
  attempt.then(
    () => "granted",
    (error: unknown) => (error instanceof Error && "code" in error ? error.code : error),
  );

const grants: Readonly<Record<string, GrantCase>> = {
  "a silent pairing": {
    kind: "device.paired",
    prepare: (gw) => {
      const ask = { key: createWireKey(), token: gw.token, scopes: ["operator.read"] };
      const attempt = async (): Promise<unknown> => {
        await using wire = await openWire(gw.url);
        const { error } = await wire.request("connect", connectParams(wire, ask) as Record<string, unknown>);
        return error === undefined ? "granted" : error.details?.["code"];
      };
      return Promise.resolve(attempt);
    },
  },
  "an approval": {
    kind: "device.approved",
    prepare: async (gw) => {
      const key = createWireKey();
      await (await connectWire(gw.url, { key, token: gw.token, scopes: ["operator.read"] }))[Symbol.asyncDispose]();
      const { error } = await refusedConnect(gw.url, { key, token: gw.token, scopes: ["operator.admin"] });
      const requestId = String(error.details?.["requestId"]);
      return () => outcomeOf(gw.callerWith("operator.admin").call("device.pair.approve", { requestId }));
    },
  },
  "a spawn": {
    kind: "run.spawned",
    prepare: (gw) =>
      Promise.resolve(() => {
        const task = script("x", { say: "y" });
        return outcomeOf(gw.callerWith("operator.write").call("subagents.spawn", { task, idempotencyKey: "k" }));
      }),
  },
  "an owner's run": {
    kind: "run.started-as-owner",
    prepare: (gw) =>
      Promise.resolve(() => outcomeOf(gw.callerWith("operator.admin").call("agent", { message: "hello", idempotencyKey: "k" }))),
  },
};

for (const [name, { kind, prepare }] of Object.entries(grants)) {
  test(`${name} that cannot be written down is not made, is a typed error, and can be made once it can`, async () => {
    await using gw = await startGateway();
    const attempt = await prepare(gw);
    const before = await standing(gw);

    stop(gw, "audit");
    const refused = await attempt();
    const after = await standing(gw);
    tamper(gw.stateDir, "drop trigger no_audit");
    const granted = await attempt();

    assert.deepEqual([refused, granted], ["INTERNAL", "granted"]);
    assert.deepEqual(after, before);
    assert.equal((await gw.gateway.store.audit.list(100)).at(-1)?.kind, kind);
  });
}

/** A gateway whose audit has seven rows: a pairing, an owner's run, and five spawns. */
async function startAudited(): Promise<TestGateway> {
  const gw = await startGateway();
  await (await connectWire(gw.url, { key: createWireKey(), token: gw.token, scopes: ["operator.read"] }))[Symbol.asyncDispose]();
  await gw.callerWith("operator.admin").call("agent", { message: "hello", idempotencyKey: "k" });
  for (let index = 0; index < 5; index += 1) {
    await gw.callerWith("operator.write").call("subagents.spawn", { task: script("x", { say: "y" }), idempotencyKey: `s${index}` });
  }
  return gw;
}

test("the audit is listed in pages, newest first, by kind and by subject", async () => {
  await using gw = await startAudited();
  const admin = gw.callerWith("operator.admin");
  const pages: number[][] = [];

  let cursor: string | undefined;
  do {
    const page = await admin.call("audit.list", { limit: 3, ...(cursor === undefined ? {} : { cursor }) });
    pages.push(page.rows.map(({ seq }) => seq));
    cursor = page.nextCursor;
  } while (cursor !== undefined);
  const spawned = await admin.call("audit.list", { kind: "run.spawned", limit: 5 });
  const [newest] = spawned.rows;
  const ofOne = await admin.call("audit.list", { subject: newest?.subject ?? "" });

  assert.deepEqual(pages, [[7, 6, 5], [4, 3, 2], [1]]);
  assert.deepEqual([spawned.rows.length, spawned.nextCursor], [5, undefined]);
  assert.deepEqual(ofOne.rows, [newest]);
});

test("anybody can check the chain with nothing but its rows", async () => {
  await using gw = await startAudited();
  const { rows } = await gw.callerWith("operator.admin").call("audit.list", {});
  const { head, ...verdict } = await gw.callerWith("operator.admin").call("audit.verify", {});

  const hashes = rows.map(({ seq, atMs, kind, actor, subject, facts, prevHash }) =>
    createHash("sha256")
      .update(JSON.stringify([seq, atMs, kind, actor, subject, facts, prevHash]))
      .digest("hex"),
  );

  assert.deepEqual(
    hashes,
    rows.map(({ hash }) => hash),
  );
  assert.deepEqual(
    rows.slice(0, -1).map(({ prevHash }) => prevHash),
    hashes.slice(1),
  );
  assert.deepEqual(verdict, { ok: true, rows: 7 });
  assert.deepEqual(head, { seq: 7, hash: hashes[0] });
});

const damages: Readonly<Record<string, readonly [sql: string, seq: number, reason: string]>> = {
  "a changed actor": ["update audit set actor = 'device:me' where seq = 3", 3, "changed-row"],
  "changed facts": [`update audit set facts = replace(facts, 'operator.read', 'operator.admin') where seq = 1`, 1, "changed-row"],
  "facts that are no JSON": ["update audit set facts = '{' where seq = 2", 2, "changed-row"],
  "a moved time": ["update audit set at_ms = at_ms + 1 where seq = 7", 7, "changed-row"],
  "a row taken out": ["delete from audit where seq = 4", 5, "missing-rows"],
  "the first row taken out": ["delete from audit where seq = 1", 2, "missing-rows"],
  "a row before the first": [
    "insert into audit select 0, at_ms, kind, actor, subject, facts, prev_hash, hash from audit where seq = 1",
    0,
    "missing-rows",
  ],
  "a row with another past": ["update audit set prev_hash = hash where seq = 6", 6, "broken-link"],
};

for (const [what, [sql, seq, reason]] of Object.entries(damages)) {
  test(`${what} breaks the chain, and the first broken row is named`, async () => {
    await using gw = await startAudited();

    tamper(gw.stateDir, sql);
    const { ok, firstBreak } = await gw.callerWith("operator.admin").call("audit.verify", {});

    assert.deepEqual([ok, firstBreak], [false, { seq, reason }]);
    assert.ok((await gw.callerWith("operator.admin").call("audit.list", {})).rows.length > 0);
  });
}

test("a chain of more rows than are read at once is checked to its end", async () => {
  await using gw = await startGateway();
  const admin = gw.callerWith("operator.admin");
  await Promise.all(Array.from({ length: 1_050 }, (_, index) => gw.gateway.store.sessions.patch(`agent:main:s${index}`, patch, 1)));
  await Promise.all(
    Array.from({ length: 1_050 }, (_, index) => gw.gateway.store.sessions.delete(`agent:main:s${index}`, "secret:local", 1)),
  );

  const whole = await admin.call("audit.verify", {});
  tamper(gw.stateDir, "update audit set subject = 'x' where seq = 1001");
  const broken = await admin.call("audit.verify", {});

  assert.deepEqual([whole.ok, whole.rows], [true, 1_050]);
  assert.deepEqual([broken.rows, broken.firstBreak?.seq], [1_000, 1_001]);
});

const patch = { agentId: "main", by: "secret:local" };

test("refusals are listed as soon as they were counted, by time", async () => {
  await using gw = await startGateway();
  await assert.rejects(gw.callerWith("operator.read").call("audit.list", {}), { code: "MISSING_SCOPE" });

  const { refusals } = await gw.callerWith("operator.admin").call("audit.refusals", {});
  const none = await gw.callerWith("operator.admin").call("audit.refusals", { sinceMs: Date.now() + 3_600_000 });

  assert.deepEqual(
    refusals.map(({ principal, method, rule, count }) => [principal, method, rule, count]),
    [["secret:local", "audit.list", "MISSING_SCOPE", 1]],
  );
  assert.deepEqual(none.refusals, []);
});

/** What `audit.explain` says of `id`: about whom, by which rule. */
async function why(gw: TestGateway, id: string): Promise<readonly (readonly [about: string, rule: string])[]> {
  const { steps } = await gw.callerWith("operator.admin").call("audit.explain", { id });
  return steps.map(({ about, rule }) => [about, rule]);
}

test("why a child may run leads over its parent's run to the device that started it, and to its pairing", async () => {
  await using gw = await startGateway();
  const key = createWireKey();
  await using wire = await connectWire(gw.url, { key, token: gw.token, scopes: ["operator.admin"] });
  wire.send({
    type: "req",
    id: "r",
    method: "agent",
    params: {
      message: script("go", { call: [spawnStep("a", { say: "x" })] }, { awaitChildren: true }, { say: "ok" }),
      idempotencyKey: "k",
    },
  });
  await wire.frame(({ id, payload }) => id === "r" && payload?.["status"] === "ok");
  const { rows } = await gw.callerWith("operator.admin").call("audit.list", { kind: "run.spawned" });
  const child = await gw.gateway.store.runs.find(rows[0]?.subject ?? "");
  assert.ok(child !== undefined);

  const chain = [
    ["run", "run.spawned"],
    ["run", "run.started-as-owner"],
    ["device", "device.paired"],
  ];
  assert.deepEqual(await why(gw, child.runId), chain);
  assert.deepEqual(await why(gw, child.wireId), chain);
  assert.deepEqual(await why(gw, child.sessionKey), [["session", "session.spawned"], ...chain.slice(1)]);
  assert.deepEqual(await why(gw, String(rows[0]?.seq)), [["audit-row", "run.spawned"], ...chain.slice(1)]);
  assert.deepEqual(await why(gw, "k"), chain.slice(1));
  assert.deepEqual(await why(gw, "agent:main:main"), [["session", "session.created"], chain[2]]);
});

test("why a pairing request was refused, waits, was approved or rejected is told, with who did it", async () => {
  await using gw = await startGateway();
  const key = createWireKey();
  const admin = gw.callerWith("operator.admin");
  const ask = async (scopes: readonly string[]): Promise<string> => {
    const { error } = await refusedConnect(gw.url, { key, token: gw.token, scopes });
    return String(error.details?.["requestId"]);
  };
  await (await connectWire(gw.url, { key, token: gw.token, scopes: ["operator.read"] }))[Symbol.asyncDispose]();

  const first = await ask(["operator.write"]);
  const waiting = await why(gw, first);
  const second = await ask(["operator.admin"]);
  const superseded = await why(gw, first);
  await admin.call("device.pair.approve", { requestId: second });
  const approved = await why(gw, second);
  const third = await ask(["unheard-of"]);
  await admin.call("device.pair.reject", { requestId: third });

  const device = ["device", "device.paired"];
  const refusal = ["refusal", "PAIRING_REQUIRED/scope-upgrade"];
  const secret = ["secret", "secret.local"];
  assert.deepEqual(waiting, [["pairing-request", "pairing.pending/scope-upgrade"], device, refusal]);
  assert.deepEqual(superseded, [["pairing-request", "pairing.superseded/scope-upgrade"], device, refusal]);
  assert.deepEqual(approved, [["pairing-request", "pairing.approved/scope-upgrade"], secret]);
  assert.deepEqual(await why(gw, third), [["pairing-request", "pairing.rejected/scope-upgrade"], secret]);
  assert.deepEqual(await why(gw, key.id), [
    ["device", "device.approved"],
    ["audit-row", "device.rejected"],
    ["audit-row", "device.paired"],
    refusal,
    secret,
  ]);
});

test("a record that is corrupt, and a session that is gone, are still explained; an unknown id says what to give", async () => {
  await using gw = await startGateway();
  const key = storeDevice(gw.stateDir, "corrupt");
  const admin = gw.callerWith("operator.admin");
  await admin.call("sessions.patch", { key: "notes", label: "Notes" });
  await admin.call("sessions.delete", { key: "notes" });

  assert.deepEqual(await why(gw, key.id), [["device", "device.corrupt"]]);
  assert.deepEqual(await why(gw, "agent:main:notes"), [
    ["audit-row", "session.deleted"],
    ["secret", "secret.local"],
  ]);
  await assert.rejects(admin.call("audit.explain", { id: "no-such-thing" }), { code: "UNKNOWN_ID", remedy: /audit list/ });
  await assert.rejects(admin.call("audit.explain", { id: "999" }), { code: "UNKNOWN_ID" });
});

test("a caller's own run id cannot stand before an id of the gateway's", async () => {
  await using gw = await startGateway();
  const key = createWireKey();
  await (await connectWire(gw.url, { key, token: gw.token, scopes: ["operator.read"] }))[Symbol.asyncDispose]();
  await gw.callerWith("operator.write").call("agent", { message: "x", idempotencyKey: key.id });
  await gw.callerWith("operator.write").call("agent", { message: "x", idempotencyKey: "1" });

  assert.deepEqual(await why(gw, key.id), [["device", "device.paired"]]);
  assert.deepEqual(await why(gw, "1"), [["audit-row", "device.paired"]]);
});
