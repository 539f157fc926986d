import assert from "node:assert/strict";
import test from "node:test";
import { ProtocolError } from "@portreeve/protocol";
import { z } from "zod";
import { fakeContext } from "../tools/fake-context.ts";
import { defineTool } from "../tools/tool.ts";
import { runToolCall } from "./tool-call.ts";

async function callThatThrows(error: Error): Promise<{ readonly text: string; readonly logged: readonly unknown[] }> {
  const logged: unknown[] = [];
  const tool = defineTool({
    name: "write",
    description: "writes",
    parameters: z.strictObject({}),
    repeat: "safe",
    execute: () => Promise.reject(error),
  });
  const { text, isError } = await runToolCall({
    tool,
    call: { id: "c", name: "write", arguments: {} },
    args: {},
    hasBegun: false,
    context: fakeContext(),
    intend: () => assert.fail("a tool that may run again needs no intent"),
    failed: (thrown) => (logged.push(thrown), "err_1"),
  });
  assert.equal(isError, true);
  return { text, logged };
}

test("what a tool may say of its failure is told to the model by its code, and is no fault of the gateway", async () => {
  const told = await callThatThrows(new ProtocolError("STORE_UNAVAILABLE", "the state cannot be written: the disk is full"));

  assert.deepEqual(told, { text: "The tool write failed: STORE_UNAVAILABLE: the state cannot be written: the disk is full", logged: [] });
});

test("any other failure is logged, and the model reads nothing of it but where to find it", async () => {
  const error = new Error("password hunter2 was refused");

  const told = await callThatThrows(error);

  assert.deepEqual(told, { text: "The tool write failed unexpectedly (error err_1).", logged: [error] });
});
