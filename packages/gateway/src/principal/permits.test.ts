/** The one authorisation rule, word for word: what each kind of caller is answered. */
import assert from "node:assert/strict";
import test from "node:test";
import { method } from "@portreeve/protocol";
import { z } from "zod";
import { devicePrincipal, lifecyclePrincipal, narrowed, permits, runPrincipal, secretPrincipal } from "./principal.ts";

const shape = { summary: "Synthetic.", kind: "query", params: () => z.strictObject({}), result: () => z.object({}) } as const;
const everybody = { ...shape, callers: ["operator", "node", "run"] } as const;
const reader = secretPrincipal(["operator.read"]);
const node = devicePrincipal({ deviceId: "d", role: "node", scopes: [] });
const run = runPrincipal({
  runId: "run_1",
  sessionKey: "agent:main:main",
  rootSessionKey: "agent:main:main",
  authority: { scopes: ["operator.write"], owner: false, depth: 0 },
});
const permitted = { kind: "permitted" } as const;

test("a scope that is covered permits, and one that is not is named", () => {
  const reads = method({ ...everybody, scope: "operator.read" });
  const pairs = method({ ...everybody, scope: "operator.pairing" });

  assert.deepEqual(permits(reader, "x", reads, {}), permitted);
  assert.deepEqual(permits(reader, "x", pairs, {}), { kind: "missing-scope", scope: "operator.pairing" });
});

test("a method without a scope is permitted to its callers, whatever they hold", () => {
  const open = method({ ...everybody, scope: "none" });

  for (const caller of [secretPrincipal([]), node, run]) assert.deepEqual(permits(caller, "x", open, undefined), permitted);
});

test("a method is refused to whoever is not among its callers, by what they are", () => {
  const open = (...callers: ("operator" | "node" | "run")[]) => method({ ...shape, scope: "none", callers });

  assert.deepEqual(permits(node, "x", open("operator", "run"), {}), { kind: "wrong-caller", role: "node" });
  assert.deepEqual(permits(run, "x", open("operator", "node"), {}), { kind: "wrong-caller", role: "run" });
  assert.deepEqual(permits(reader, "x", open("node", "run"), {}), { kind: "wrong-caller", role: "operator" });
});

test("where the scope depends on the parameters they decide, and without any the scope for that", () => {
  const byParams = (params: unknown): string => (JSON.stringify(params) === '{"wide":true}' ? "operator.pairing" : "operator.read");
  const definition = method({
    ...everybody,
    scope: { byParams, malformed: "operator.admin", oneOf: ["operator.read", "operator.pairing"] },
  });

  assert.deepEqual(permits(reader, "x", definition, {}), permitted);
  assert.deepEqual(permits(reader, "x", definition, { wide: true }), { kind: "missing-scope", scope: "operator.pairing" });
  assert.deepEqual(permits(reader, "x", definition, undefined), { kind: "missing-scope", scope: "operator.admin" });
});

test("a lifecycle capability is permitted its own method on its own session, and nothing else", () => {
  const lifecycle = lifecyclePrincipal("agent:main:subagent:x");
  const open = method({ ...everybody, scope: "none" });
  const ask = (name: string, params: unknown) => permits(lifecycle, name, open, params);

  assert.deepEqual([lifecycle.methods, lifecycle.scopes], [["sessions.delete"], []]);
  assert.deepEqual(ask("sessions.delete", { key: "agent:main:subagent:x" }), permitted);
  for (const params of [
    undefined,
    null,
    "agent:main:subagent:x",
    {},
    { key: "agent:main:subagent:y" },
    { sessionKey: "agent:main:subagent:x" },
  ])
    assert.deepEqual(ask("sessions.delete", params), { kind: "wrong-caller", role: "lifecycle" });
  assert.deepEqual(ask("sessions.patch", { key: "agent:main:subagent:x" }), { kind: "wrong-caller", role: "lifecycle" });
});

test("whoever is narrowed for one call is the same with less; a lifecycle capability has nothing to narrow", () => {
  const lifecycle = lifecyclePrincipal("agent:main:subagent:x");

  assert.deepEqual(narrowed(secretPrincipal(["operator.write"]), ["operator.read", "operator.pairing"]), reader);
  assert.equal(narrowed(lifecycle, ["operator.read"]), lifecycle);
});
