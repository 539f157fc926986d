import assert from "node:assert/strict";
import { test } from "node:test";
import { methods } from "@portreeve/protocol";
import { methodTable } from "@portreeve/protocol/wire";
import { leastScopes, scopesOf } from "./call.ts";

const table: readonly (readonly [method: string, params: unknown, scopes: readonly string[]])[] = [
  ["health", {}, []],
  ["status", {}, ["operator.read"]],
  ["sessions.list", {}, ["operator.read"]],
  ["sessions.patch", { key: "main", label: "x" }, ["operator.write"]],
  ["sessions.patch", { key: "main", spawnedBy: "agent:main:main" }, ["operator.admin"]],
  ["sessions.patch", { key: "main", spawnDepth: null }, ["operator.admin"]],
  ["sessions.delete", { key: "x" }, ["operator.admin"]],
  ["agent", { message: "hello" }, ["operator.write"]],
  ["agent", { message: "/newer ideas" }, ["operator.write"]],
  ["agent", { message: "/new" }, ["operator.admin"]],
  ["agent", { message: "/reset now" }, ["operator.admin"]],
  ["agent", undefined, ["operator.write"]],
  ["node.invoke", { nodeId: "n", command: "system.which", idempotencyKey: "k" }, ["operator.write"]],
  ["node.invoke", { nodeId: "n", command: "system.run", params: {}, idempotencyKey: "k" }, ["operator.admin"]],
  ["node.invoke", { nodeId: "n", command: "system.run", params: { runId: "r" }, idempotencyKey: "k" }, ["operator.write"]],
  ["node.invoke", { nodeId: "n", command: "browser.proxy.upload.v1", idempotencyKey: "k" }, ["operator.admin"]],
  ["agent.wait", { runId: "r" }, ["operator.write"]],
  ["device.pair.list", {}, ["operator.pairing"]],
  ["no.such.method", {}, []],
  ["__proto__", {}, []],
  ["constructor", {}, []],
];

for (const [method, params, scopes] of table) {
  test(`${method} ${JSON.stringify(params)} asks for [${scopes.join()}]`, () => {
    assert.deepEqual(leastScopes(method, params), scopes);
  });
}

test("explicit scopes win exactly, also when there are none", () => {
  assert.deepEqual(scopesOf("status", {}, ["operator.admin"]), ["operator.admin"]);
  assert.deepEqual(scopesOf("sessions.delete", { key: "x" }, []), []);
});

test("every method whose parameters decide its scope is decided here as its definition decides", () => {
  const decided = table.filter(([method]) => Object.hasOwn(methodTable, method) && (methodTable[method]?.scopes.length ?? 0) > 1);
  const byParams = Object.entries(methods).filter(([, definition]) => typeof definition.scope === "object");

  assert.deepEqual(new Set(decided.map(([method]) => method)), new Set(byParams.map(([method]) => method)));
  for (const [method, params, scopes] of decided.filter(([, params]) => params !== undefined)) {
    const scope = byParams.find(([name]) => name === method)?.[1].scope;
    assert.ok(typeof scope === "object");
    // Each definition takes its own parameters; the table's are theirs.
    assert.deepEqual([scope.byParams(params as never)], scopes, `${method} ${JSON.stringify(params)}`);
  }
});
