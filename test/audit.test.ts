/** The audit through the public door: what is refused is counted, what is granted is written down or not granted. */
import assert from "node:assert/strict";
import test from "node:test";
import { createDispatch } from "../packages/gateway/src/dispatch/dispatch.ts";
import type { Handlers } from "../packages/gateway/src/dispatch/types.ts";
import { createIds } from "../packages/gateway/src/kit/ids.ts";
import { secretPrincipal } from "../packages/gateway/src/principal/principal.ts";
import { script } from "./support/script.ts";
import { startGateway, type TestGateway } from "./support/start-gateway.ts";
import { tamper } from "./support/stored-pairing.ts";
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
  const dispatch = createDispatch({ handlers, log, ids: createIds(), countRefusal: never, checkResults: true });
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
