import assert from "node:assert/strict";
import test from "node:test";
import type { JournalEntry } from "../store/journal.ts";
import { fold } from "./machine.ts";
import { next, retryAtMs, runLimits } from "./plan.ts";

const usage = { input: 1, output: 1, totalTokens: 2 };
const input: JournalEntry = { kind: "input", text: "go" };
const call: JournalEntry = {
  kind: "reply",
  content: [{ type: "toolCall", id: "a", name: "read", arguments: { path: "x" } }],
  model: "m",
  reason: "tool-calls",
  usage,
};
const result = (isError: boolean): JournalEntry => ({
  kind: "tool-result",
  toolCallId: "a",
  name: "read",
  text: "",
  isError,
  parks: false,
});
const failure = (retryable: boolean): JournalEntry => ({
  kind: "model-error",
  errorKind: "overloaded",
  message: "busy",
  retryable,
  retryAtMs: 700,
  partial: "half",
});

test("a failed call is repeated when its time has come", () => {
  assert.deepEqual(next(fold([input, failure(true)])), { do: "call-model", notBeforeMs: 700 });
});

test("a failure that may not be repeated ends the run and keeps the partial text", () => {
  const plan = next(fold([input, failure(false)]));

  assert.deepEqual(plan, { do: "end", ending: { outcome: "failed", text: "half", error: "busy", stopReason: "overloaded" } });
});

test("the attempt budget is exact", () => {
  const attempts = (count: number): string => next(fold([input, ...Array.from({ length: count }, () => failure(true))])).do;

  assert.equal(attempts(runLimits.attempts - 1), "call-model");
  assert.equal(attempts(runLimits.attempts), "end");
});

test("the same failing tool call three times in a row ends the run", () => {
  const rounds = (count: number, errors: boolean): JournalEntry[] => Array.from({ length: count }, () => [call, result(errors)]).flat();

  assert.equal(next(fold([input, ...rounds(2, true)])).do, "call-model");
  assert.equal(next(fold([input, ...rounds(3, false)])).do, "call-model");
  assert.deepEqual(next(fold([input, ...rounds(3, true)])), {
    do: "end",
    ending: { outcome: "failed", text: "", error: "the same tool call failed 3 times in a row", stopReason: "tool_loop" },
  });
});

test("a run ends after its last allowed model call", () => {
  const rounds = Array.from({ length: runLimits.modelCalls }, () => [call, result(false)]).flat();

  const plan = next(fold([input, ...rounds]));

  assert.equal(plan.do === "end" && plan.ending.outcome, "budget_exceeded");
});

test("a reply that the content filter stopped is no success", () => {
  const filtered: JournalEntry = { kind: "reply", content: [], model: "m", reason: "content-filter", usage };

  const plan = next(fold([input, filtered]));

  assert.equal(plan.do === "end" && plan.ending.outcome, "failed");
});

test("waiting before a retry doubles, is bounded, and never undercuts what the provider asked for", () => {
  const waits = [0, 1, 2, 20].map((before) => retryAtMs({ retryAfterMs: undefined }, before, 1_000) - 1_000);

  assert.deepEqual(waits, [500, 1_000, 2_000, 30_000]);
  assert.equal(retryAtMs({ retryAfterMs: 60_000 }, 0, 1_000), 61_000);
});
