import assert from "node:assert/strict";
import { test } from "node:test";
import { z } from "zod";
import { createTools } from "./all.ts";
import { toolsFor, type RunStanding } from "./policy.ts";
import { defineTool, type Tool } from "./tool.ts";

function tool(name: string, marks: { ownerOnly?: boolean; notForLeaves?: boolean; notForChildren?: boolean }): Tool {
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
  tool("top", { notForChildren: true }),
  tool("both", { ownerOnly: true, notForLeaves: true }),
];

const free = { limitedTo: "all", policies: [] } as const;
const table: readonly (readonly [Partial<RunStanding> & Omit<RunStanding, "limitedTo" | "policies">, readonly string[]])[] = [
  [{ owner: true, depth: 0, isLeaf: false }, ["plain", "owner", "parent", "top", "both"]],
  [{ owner: true, depth: 0, isLeaf: true }, ["plain", "owner", "top"]],
  [{ owner: false, depth: 0, isLeaf: false }, ["plain", "parent", "top"]],
  [{ owner: false, depth: 0, isLeaf: true }, ["plain", "top"]],
  [{ owner: false, depth: 1, isLeaf: false }, ["plain", "parent"]],
  [{ owner: false, depth: 1, isLeaf: true }, ["plain"]],
  [{ owner: true, depth: 1, isLeaf: false }, ["plain", "parent"]],
  [{ owner: true, depth: 5, isLeaf: true }, ["plain"]],
  [{ owner: true, depth: 0, isLeaf: false, limitedTo: ["plain", "parent", "unheard-of"] }, ["plain", "parent"]],
  [{ owner: false, depth: 1, isLeaf: true, limitedTo: ["plain", "parent", "owner"] }, ["plain"]],
  [{ owner: true, depth: 0, isLeaf: false, limitedTo: [] }, []],
  [{ owner: true, depth: 0, isLeaf: false, policies: [{ deny: ["plain"] }] }, ["owner", "parent", "top", "both"]],
  [{ owner: true, depth: 0, isLeaf: false, policies: [{ allow: ["plain", "both"], deny: ["both"] }] }, ["plain"]],
  [{ owner: true, depth: 0, isLeaf: false, policies: [{ allow: ["plain", "both"], deny: [] }, { deny: ["plain"] }] }, ["both"]],
  [{ owner: true, depth: 0, isLeaf: false, policies: [{ allow: [], deny: [] }] }, []],
];

for (const [standing, names] of table) {
  test(`a run with ${JSON.stringify(standing)} has ${names.join(", ")}`, () => {
    assert.deepEqual(
      toolsFor(tools, { ...free, ...standing }).map(({ name }) => name),
      names,
    );
  });
}

test("a leaf has the file tools and no session tool, a sub-agent above it those that reach no further than its own", () => {
  const leaf = toolsFor(createTools(), { owner: false, depth: 5, isLeaf: true, ...free }).map(({ name }) => name);
  const middle = toolsFor(createTools(), { owner: false, depth: 1, isLeaf: false, ...free }).map(({ name }) => name);
  const top = toolsFor(createTools(), { owner: false, depth: 0, isLeaf: false, ...free }).map(({ name }) => name);

  assert.deepEqual(leaf, ["read", "ls", "grep"]);
  assert.deepEqual(middle, ["read", "ls", "grep", "sessions_spawn", "sessions_yield", "subagents", "sessions_list", "sessions_history"]);
  assert.deepEqual(top, [...middle, "session_status", "agents_list", "sessions_send"]);
});

for (const { name, schema } of createTools()) {
  test(`the parameters of ${name} are a JSON Schema of a strict object`, () => {
    const { type, additionalProperties } = schema();

    assert.deepEqual([type, additionalProperties], ["object", false]);
  });
}
