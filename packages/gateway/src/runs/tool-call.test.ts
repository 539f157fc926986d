import assert from "node:assert/strict";
import test from "node:test";
import { ProtocolError } from "@portreeve/protocol";
import { z } from "zod";
import { fakeContext } from "../tools/fake-context.ts";
import { ManualClock } from "../kit/manual-clock.ts";
import { defineTool, type ToolResult } from "../tools/tool.ts";
import { runToolCall, stopPatienceMs } from "./tool-call.ts";

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
    clock: new ManualClock(),
    abandoned: () => assert.fail("nobody stopped it"),
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

/** A call of a tool that looks at no signal. */
function callOfDeaf() {
  const clock = new ManualClock();
  const stop = new AbortController();
  const answer = Promise.withResolvers<ToolResult>();
  const abandoned: string[] = [];
  const tool = defineTool({
    name: "deaf",
    description: "does not listen",
    parameters: z.strictObject({}),
    repeat: "safe",
    execute: () => answer.promise,
  });
  const called = runToolCall({
    tool,
    call: { id: "c", name: "deaf", arguments: {} },
    args: {},
    hasBegun: false,
    context: fakeContext({ signal: stop.signal }),
    intend: () => assert.fail("a tool that may run again needs no intent"),
    failed: () => assert.fail("it did not fail"),
    clock,
    abandoned: () => void abandoned.push("deaf"),
  });
  return { clock, stop, answer, called, abandoned };
}

test("a tool that goes on when its run is stopped is waited for a little, and then no more, whatever becomes of it", async () => {
  const { clock, stop, answer, called, abandoned } = callOfDeaf();
  clock.advance(3_600_000);
  stop.abort("deadline");

  clock.advance(stopPatienceMs - 1);
  assert.deepEqual(abandoned, []);
  clock.advance(1);

  await assert.rejects(called, (reason) => reason === "deadline");
  answer.reject(new Error("thrown to nobody"));
  assert.deepEqual(abandoned, ["deaf"]);
});

test("what a tool answers soon after its run was stopped counts", async () => {
  const { clock, stop, answer, called, abandoned } = callOfDeaf();
  stop.abort("deadline");

  clock.advance(stopPatienceMs - 1);
  answer.resolve({ text: "done" });

  assert.deepEqual(await called, { text: "done" });
  assert.deepEqual(abandoned, []);
});
