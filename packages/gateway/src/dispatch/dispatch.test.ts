import assert from "node:assert/strict";
import test from "node:test";
import { type ErrorCode, ProtocolError } from "@portreeve/protocol";
import { devicePrincipal, lifecyclePrincipal, type Principal, secretPrincipal } from "../principal/principal.ts";
import { createDispatch } from "./dispatch.ts";
import type { Context, Handlers, Refusal } from "./types.ts";

const reader = secretPrincipal(["operator.read"]);
const listed = { sessions: [] };

interface Setting {
  /** What every handler does. */
  readonly handle?: (context: Context, params: unknown) => unknown;
  readonly checkResults?: boolean;
}

/** Dispatch over handlers that note what they were asked. */
function createSetting({ handle = () => listed, checkResults = false }: Setting = {}) {
  const setting = { nowMs: 0 };
  const refusals: Refusal[] = [];
  const errors: object[] = [];
  const calls: { name: string; context: Context; params: unknown }[] = [];
  const handlers = new Proxy(
    {},
    {
      get: (_target, name) => async (context: Context, params: unknown) => {
        calls.push({ name: String(name), context, params });
        return await handle(context, params);
      },
    },
  ) as Handlers;
  const ignore = (): void => undefined;
  const dispatch = createDispatch({
    handlers,
    log: { debug: ignore, info: ignore, warn: ignore, error: (facts) => void errors.push(facts) },
    ids: { next: (prefix: string) => `${prefix}_1`, uuid: () => "uuid", orderedUuid: () => "uuid" },
    countRefusal: (refusal) => void refusals.push(refusal),
    clock: { now: () => setting.nowMs },
    checkResults,
  });
  const signal = new AbortController().signal;
  return {
    setting,
    refusals,
    errors,
    calls,
    signal,
    call: (by: Principal, name: string, params: unknown) => dispatch(by, name, params, { signal }),
    dispatch,
  };
}

async function refusalOf(call: Promise<unknown>): Promise<ProtocolError> {
  const error = await call.then(
    () => assert.fail("it was answered"),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof ProtocolError, String(error));
  return error;
}

test("of the calls that change the gateway one caller makes so many of each method in a minute, whatever comes of them", async () => {
  const fail = () => Promise.reject(new ProtocolError("CONFIG_CHANGED", "changed"));
  const { calls, call, refusals, setting } = createSetting({ handle: fail });
  const [one, other] = ["a", "b"].map((deviceId) => devicePrincipal({ deviceId, role: "operator", scopes: ["operator.admin"] }));
  assert.ok(one !== undefined && other !== undefined);
  const patch = (by: Principal) => refusalOf(call(by, "config.patch", { raw: "{}" }));
  for (let count = 0; count < 30; count += 1) assert.equal((await patch(one)).code, "CONFIG_CHANGED");
  setting.nowMs = 1_500;

  const { code, message, details, retryAfterMs } = await patch(one);

  assert.deepEqual(
    [code, message, details, retryAfterMs],
    ["RATE_LIMITED", "rate limit exceeded for config.patch; retry after 59s", { method: "config.patch", limit: "30 per 60s" }, 58_500],
  );
  assert.equal(calls.length, 30);
  assert.deepEqual(refusals, [{ principal: one.id, method: "config.patch", rule: "RATE_LIMITED" }]);
  assert.equal((await refusalOf(call(one, "config.apply", { raw: "{}" }))).code, "CONFIG_CHANGED");
  assert.equal((await patch(other)).code, "CONFIG_CHANGED");
  setting.nowMs = 60_000;
  assert.equal((await patch(one)).code, "CONFIG_CHANGED");
});

test("what is refused before it does anything uses up no call", async () => {
  const { call } = createSetting();
  const admin = secretPrincipal(["operator.admin"]);
  for (let count = 0; count < 40; count += 1)
    assert.deepEqual(
      [(await refusalOf(call(admin, "config.patch", {}))).code, (await refusalOf(call(reader, "config.patch", { raw: "{}" }))).code],
      ["INVALID_PARAMS", "MISSING_SCOPE"],
    );

  assert.equal(await call(admin, "config.patch", { raw: "{}" }), listed);
});

test("a method without a rate is answered however often it is called", async () => {
  const { call } = createSetting();

  for (let count = 0; count < 100; count += 1) assert.equal(await call(reader, "agents.list", {}), listed);
});

test("a permitted call reaches its handler alone, with who asks and what was parsed, and its answer comes back", async () => {
  const { calls, call, signal, refusals } = createSetting();

  const answer = await call(reader, "sessions.list", { limit: 3, includeGlobal: true });

  assert.equal(answer, listed);
  assert.deepEqual(
    calls.map(({ name, params }) => [name, params]),
    [["sessions.list", { limit: 3 }]],
  );
  assert.deepEqual([calls[0]?.context.principal, calls[0]?.context.signal, calls[0]?.context.connection], [reader, signal, undefined]);
  assert.deepEqual(refusals, []);
});

test("a first answer goes to whoever asked for it, and nowhere when nobody did", async () => {
  const { dispatch, signal, call } = createSetting({ handle: (context) => (context.accept("first"), listed) });
  const accepted: unknown[] = [];

  await dispatch(reader, "sessions.list", {}, { signal, accept: (one) => void accepted.push(one) });
  await call(reader, "sessions.list", {});

  assert.deepEqual(accepted, ["first"]);
});

test("a method that does not exist is unknown to everyone, at most 200 characters of its name are repeated, none are counted", async () => {
  const { call, calls, refusals } = createSetting();

  const short = await refusalOf(call(secretPrincipal(["operator.admin"]), "__proto__", {}));
  const long = await refusalOf(call(reader, "x".repeat(300), {}));

  assert.deepEqual([short.code, short.message], ["UNKNOWN_METHOD", "unknown method: __proto__"]);
  assert.equal(long.message, `unknown method: ${"x".repeat(200)}`);
  assert.deepEqual(calls, []);
  assert.deepEqual(refusals[0], { principal: "secret:local", method: "(unknown)", rule: "UNKNOWN_METHOD" });
  assert.equal(refusals.length, 2);
});

test("a missing scope is named, answered before bad parameters, counted, and reaches no handler", async () => {
  const { call, calls, refusals } = createSetting();

  const error = await refusalOf(call(reader, "device.pair.list", { unknown: true }));

  assert.deepEqual([error.code, error.message], ["MISSING_SCOPE", "missing scope: operator.pairing"]);
  assert.deepEqual(error.details, { missingScope: "operator.pairing", requiredScopes: ["operator.pairing"] });
  assert.match(error.remedy ?? "", /operator\.pairing.*approval/);
  assert.deepEqual(calls, []);
  assert.deepEqual(refusals, [{ principal: "secret:local", method: "device.pair.list", rule: "MISSING_SCOPE" }]);
});

test("whoever is no caller of a method is told so, before its parameters are looked at", async () => {
  const { call, calls, refusals } = createSetting();
  const node = devicePrincipal({ deviceId: "n", role: "node", scopes: [] });

  const error = await refusalOf(call(node, "sessions.list", { limit: "many" }));

  assert.deepEqual([error.code, error.message], ["WRONG_CALLER", "unauthorized role: node"]);
  assert.deepEqual([calls, refusals.map(({ rule }) => rule)], [[], ["WRONG_CALLER"]]);
});

test("where the scope depends on the parameters, they decide; where they do not parse, the scope for that is needed", async () => {
  const { call, calls } = createSetting();
  const writer = secretPrincipal(["operator.write"]);
  const patch = (by: Principal, params: object) => refusalOf(call(by, "sessions.patch", params)).then(({ code }) => code);

  await call(writer, "sessions.patch", { key: "main", label: "x" });

  assert.equal(await patch(reader, { key: "main", label: "x" }), "MISSING_SCOPE");
  assert.equal(await patch(secretPrincipal(["operator.admin"]), { key: 1 }), "INVALID_PARAMS");
  assert.equal(await patch(writer, { key: 1 }), "MISSING_SCOPE");
  assert.equal(calls.length, 1);
});

test("a lifecycle capability is judged by the session its parameters name", async () => {
  const { call, calls, refusals } = createSetting();
  const own = lifecyclePrincipal("agent:main:subagent:mine");

  await call(own, "sessions.delete", { key: "agent:main:subagent:mine" });
  const other = await refusalOf(call(own, "sessions.delete", { key: "agent:main:subagent:other" }));
  const unparsed = await refusalOf(call(own, "sessions.delete", { key: 1 }));

  assert.deepEqual([other.code, unparsed.code], ["WRONG_CALLER", "WRONG_CALLER"]);
  assert.equal(calls.length, 1);
  assert.equal(refusals.length, 2);
});

test("parameters that do not parse are refused with what was expected; only a field that is not the caller's to set is counted", async () => {
  const { call, calls, refusals } = createSetting();

  const wrong = await refusalOf(call(reader, "sessions.list", { limit: "many" }));
  const forbidden = await refusalOf(call(reader, "sessions.list", { inputProvenance: {} }));

  assert.deepEqual([wrong.code, wrong.message], ["INVALID_PARAMS", "invalid sessions.list params: at /limit: must be number"]);
  assert.deepEqual([forbidden.code, forbidden.message], ["NOT_ALLOWED", "not allowed: inputProvenance"]);
  assert.deepEqual(calls, []);
  assert.deepEqual(
    refusals.map(({ rule }) => rule),
    ["NOT_ALLOWED"],
  );
});

const codes: readonly (readonly [code: ErrorCode, isCounted: boolean])[] = [
  ["SPAWN_DEPTH", true],
  ["SPAWN_CHILDREN", true],
  ["NOT_DESCENDANT", true],
  ["MESSAGE_HOPS", true],
  ["UNKNOWN_SESSION", false],
];

for (const [code, isCounted] of codes) {
  test(`a handler's ${code} is passed on as it is, and ${isCounted ? "counted as a refusal" : "not counted"}`, async () => {
    const thrown = new ProtocolError(code, "why");
    const { call, refusals, errors } = createSetting({ handle: () => Promise.reject(thrown) });

    assert.equal(await refusalOf(call(reader, "sessions.list", {})), thrown);
    assert.deepEqual([refusals.length, errors], [isCounted ? 1 : 0, []]);
  });
}

test("whatever else a handler throws is told by a number alone, and logged under it", async () => {
  const cause = new Error("the password is hunter2");
  const { call, errors, refusals } = createSetting({ handle: () => Promise.reject(cause) });

  const error = await refusalOf(call(reader, "sessions.list", {}));

  assert.deepEqual([error.code, error.message, error.details], ["INTERNAL", "internal error err_1", { errorId: "err_1" }]);
  assert.match(error.remedy ?? "", /error id.*log/);
  assert.equal(error.cause, cause);
  assert.deepEqual(errors, [{ err: cause, errorId: "err_1", method: "sessions.list", principal: "secret:local" }]);
  assert.deepEqual(refusals, []);
});

test("a result is held to its definition where results are checked, and only there", async () => {
  const unchecked = createSetting();
  const checked = createSetting({ checkResults: true });

  assert.equal(await unchecked.call(reader, "sessions.list", {}), listed);
  assert.equal((await refusalOf(checked.call(reader, "sessions.list", {}))).code, "INTERNAL");
  assert.equal(checked.errors.length, 1);
});
