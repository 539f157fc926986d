import assert from "node:assert/strict";
import { test } from "node:test";
import { z } from "zod";
import { createTools } from "./all.ts";
import { toolsFor, type RunStanding } from "./policy.ts";
import { defineTool, type Tool } from "./tool.ts";

function tool(name: string, marks: { ownerOnly?: boolean; notForLeaves?: boolean }): Tool {
  return defineTool({
    name,
    description: name,
    parameters: z.strictObject({}),
    repeat: "safe",
    ...marks,
    execute: () => Promise.resolve({ text: "" }),
  });
}

const tools = [
  tool("plain", {}),
  tool("owner", { ownerOnly: true }),
  tool("parent", { notForLeaves: true }),
  tool("both", { ownerOnly: true, notForLeaves: true }),
];

const table: readonly (readonly [RunStanding, readonly string[]])[] = [
  [{ owner: true, depth: 0, isLeaf: false }, ["plain", "owner", "parent", "both"]],
  [{ owner: true, depth: 0, isLeaf: true }, ["plain", "owner"]],
  [{ owner: false, depth: 0, isLeaf: false }, ["plain", "parent"]],
  [{ owner: false, depth: 0, isLeaf: true }, ["plain"]],
  [{ owner: false, depth: 1, isLeaf: false }, ["plain", "parent"]],
  [{ owner: false, depth: 1, isLeaf: true }, ["plain"]],
  [{ owner: true, depth: 1, isLeaf: false }, ["plain", "parent"]],
  [{ owner: true, depth: 5, isLeaf: true }, ["plain"]],
];

for (const [standing, names] of table) {
  test(`a run with ${JSON.stringify(standing)} has ${names.join(", ")}`, () => {
    assert.deepEqual(
      toolsFor(tools, standing).map(({ name }) => name),
      names,
    );
  });
}

test("a leaf has the file tools and no session tool", () => {
  const leaf = toolsFor(createTools(), { owner: false, depth: 5, isLeaf: true }).map(({ name }) => name);
  const parent = toolsFor(createTools(), { owner: false, depth: 0, isLeaf: false }).map(({ name }) => name);

  assert.deepEqual(leaf, ["read", "ls", "grep"]);
  assert.deepEqual(parent, ["read", "ls", "grep", "sessions_spawn", "sessions_yield", "subagents", "sessions_list", "sessions_history"]);
});

for (const { name, schema } of createTools()) {
  test(`the parameters of ${name} are a JSON Schema of a strict object`, () => {
    const { type, additionalProperties } = schema();

    assert.deepEqual([type, additionalProperties], ["object", false]);
  });
}
