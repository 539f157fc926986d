/** The invariants of authority, by number: every request is judged by itself, and what it is told. */
import assert from "node:assert/strict";
import test from "node:test";
import { covers, methods, scopeNames, type MethodDefinition, type Scope } from "@portreeve/protocol";
import { createCaller } from "../../packages/gateway/src/dispatch/caller.ts";
import { runPrincipal, secretPrincipal } from "../../packages/gateway/src/principal/principal.ts";
import { startGateway } from "../support/start-gateway.ts";
import { connectWire, createWireKey } from "../support/wire-client.ts";

const admin: readonly Scope[] = ["operator.admin"];

test("9. explicit scopes are honoured exactly: an empty set is refused, a narrower one narrows, a wider one does not widen", async () => {
  await using gw = await startGateway();
  const writer = gw.callerWith("operator.write");

  await assert.rejects(writer.call("status", {}, { scopes: [] }), { code: "MISSING_SCOPE" });
  await assert.rejects(writer.call("sessions.patch", { key: "main", label: "x" }, { scopes: ["operator.read"] }), {
    code: "MISSING_SCOPE",
  });
  await assert.rejects(writer.call("device.pair.list", {}, { scopes: admin }), { code: "MISSING_SCOPE" });
  assert.equal((await writer.call("status", {}, { scopes: ["operator.read"] })).sessions.count, 0);
});

test("9. a socket that asked for no scopes has none", async () => {
  await using gw = await startGateway();
  const key = createWireKey();
  await using first = await connectWire(gw.url, { key, token: gw.token, scopes: admin });
  await using none = await connectWire(gw.url, { key, token: gw.token, scopes: [] });

  const answers = await Promise.all([none.request("health"), none.request("status"), first.request("status")]);

  assert.deepEqual(
    answers.map((answer) => answer.ok),
    [true, false, true],
  );
  assert.equal(answers[1]?.error?.message, "missing scope: operator.read");
});

/** What a caller with exactly one scope must be told for each method, from the definitions alone. */
const matrix = Object.entries(methods as unknown as Record<string, MethodDefinition>).flatMap(([name, { scope, callers, versions }]) =>
  scopeNames.map((held) => {
    const needed = scope === "none" ? undefined : typeof scope === "string" ? scope : scope.malformed;
    const allowed = callers.includes("operator") && (needed === undefined || covers([held], needed));
    return { name, held, allowed, versions };
  }),
);

test("10. every method is refused to every scope that does not cover it, in process", async () => {
  await using gw = await startGateway();

  for (const { name, held, allowed } of matrix.filter((row) => row.versions.includes(4))) {
    const outcome = await gw.gateway
      .dispatch(secretPrincipal([held]), name, { __proto__: null, malformed: true }, { signal: AbortSignal.timeout(10_000) })
      .then(
        () => "answered",
        (error: { code: string }) => error.code,
      );

    assert.equal(outcome !== "MISSING_SCOPE" && outcome !== "WRONG_CALLER", allowed, `${name} with ${held}: ${outcome}`);
  }
});

test("10. every method is refused to every scope that does not cover it, over a socket", async () => {
  await using gw = await startGateway();

  for (const [held, protocol] of scopeNames.flatMap((scope) => [[scope, 3] as const, [scope, 4] as const])) {
    await using wire = await connectWire(gw.url, { token: gw.token, scopes: [held], protocol });
    for (const { name, allowed } of matrix.filter((row) => row.held === held && row.versions.includes(protocol))) {
      const { error } = await wire.request(name, { malformed: true });
      // Version 3 says it in words alone.
      const isRefused = error?.message.startsWith("missing scope") || error?.details?.["code"] === "WRONG_CALLER";

      assert.equal(!isRefused, allowed, `${name} with ${held}: ${JSON.stringify(error)}`);
    }
  }
});

test("11. a run that has ended spawns and sends nothing with its old authority", async () => {
  await using gw = await startGateway({ config: { agents: { defaults: { sessions: { visibility: "all" } } } } });
  await gw.callerWith(...admin).call("agent", { message: "hello", idempotencyKey: "k" });
  await gw.callerWith("operator.write").call("sessions.patch", { key: "other", label: "x" });
  const run = await gw.gateway.store.runs.findByWireId("k", {});
  assert.ok(run !== undefined);
  const late = createCaller(gw.gateway.dispatch, runPrincipal(run));

  await assert.rejects(late.call("subagents.spawn", { task: "x", idempotencyKey: "late" }), { code: "UNKNOWN_RUN" });
  await assert.rejects(late.call("sessions.send", { key: "other", message: "x" }), { code: "UNKNOWN_RUN" });
  assert.deepEqual((await gw.callerWith("operator.read").call("sessions.status", { key: "other" })).queue, []);
  assert.equal((await gw.callerWith("operator.read").call("status", {})).children.accepted, 0);
});

test("11. a run inherits nothing from the connection that started it but what its row says", async () => {
  await using gw = await startGateway();
  await gw.callerWith(...admin).call("agent", { message: "hello", idempotencyKey: "k" });
  const run = await gw.gateway.store.runs.findByWireId("k", {});
  assert.ok(run !== undefined);
  const inside = createCaller(gw.gateway.dispatch, runPrincipal(run));

  assert.deepEqual(run.authority.scopes, ["operator.write"]);
  for (const call of [
    () => inside.call("device.pair.list", {}),
    () => inside.call("sessions.delete", { key: "main" }),
    () => inside.call("agent", { message: "x", idempotencyKey: "y" }),
  ]) {
    await assert.rejects(call, (error: { code: string }) => error.code === "MISSING_SCOPE" || error.code === "WRONG_CALLER");
  }
});

test("21. errors are typed, say whether to retry, and name what failed, on both versions", async () => {
  await using gw = await startGateway();
  for (const protocol of [3, 4] as const) {
    await using wire = await connectWire(gw.url, {
      token: gw.token,
      scopes: ["operator.write"],
      protocol,
      ...(protocol === 3 ? { key: createWireKey() } : {}),
    });
    const unknown = await wire.request("no.such.method");
    const agent = await wire.request("agent", { message: "x", agentId: "nobody", idempotencyKey: "k" });
    const model = await wire.request("sessions.patch", { key: "s", model: "nowhere/m" });

    assert.equal(unknown.error?.message, "unknown method: no.such.method");
    assert.deepEqual(
      [agent.error?.details?.["code"], agent.error?.message],
      ["UNKNOWN_AGENT_ID", 'invalid agent params: unknown agent id "nobody"'],
    );
    assert.equal(model.error?.details?.["code"], "MODEL_UNUSABLE");
    assert.ok([unknown, agent, model].every(({ error }) => error?.retryable !== true));
  }
});
