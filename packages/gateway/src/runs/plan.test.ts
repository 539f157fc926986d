import assert from "node:assert/strict";
import test from "node:test";
import type { JournalEntry } from "../store/journal.ts";
import { fold, type RunState } from "./machine.ts";
import { compactAgainAtMs, type ContextSize, next as nextOf, type Plan, retryAtMs, runLimits } from "./plan.ts";

const roomy: ContextSize = { tokens: 10, limit: 80, window: 100 };
const next = (state: RunState, size: ContextSize = roomy): Plan => nextOf(state, size);
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

const full: ContextSize = { ...roomy, tokens: 81 };
const overfull: ContextSize = { ...roomy, tokens: 101 };
const tooLong: JournalEntry = { ...failureOf("context_length"), retryable: false };
const compacted = (enough: boolean): JournalEntry => ({ kind: "compacted", throughSeq: 3, summary: "short", enough, usage });
const notCompacted: JournalEntry = { kind: "compaction-failed", errorKind: "auth", message: "no key" };

function failureOf(errorKind: string): Extract<JournalEntry, { kind: "model-error" }> {
  return { kind: "model-error", errorKind, message: "too long", retryable: true, retryAtMs: 0, partial: "" };
}

test("a call beyond the limit, or one that the provider found too long, is preceded by a compaction", () => {
  assert.deepEqual(next(fold([input]), { ...full, tokens: full.limit }), { do: "call-model", notBeforeMs: 0 });
  assert.deepEqual(next(fold([input]), full), { do: "compact", notBeforeMs: 0 });
  assert.deepEqual(next(fold([input, tooLong])), { do: "compact", notBeforeMs: 0 });
  assert.equal(next(fold([input, compacted(true)])).do, "call-model");
});

test("a compaction that failed is tried again when its time has come", () => {
  assert.deepEqual(next(fold([input, { ...notCompacted, retryAtMs: 700 }]), full), { do: "compact", notBeforeMs: 700 });
});

test("what is still found too long after a compaction ends the run, and is not compacted again", () => {
  const plan = next(fold([input, tooLong, compacted(true), tooLong]));

  assert.equal(plan.do === "end" && plan.ending.stopReason, "context_length");
});

test("without a compaction the call is made as long as it fits, and is a typed end when it does not", () => {
  for (const last of [compacted(false), notCompacted]) {
    const ends: Plan[] = [next(fold([input, last]), overfull), next(fold([input, tooLong, last, tooLong]), full)];

    assert.equal(next(fold([input, last]), full).do, "call-model");
    assert.deepEqual(
      ends.map((plan) => plan.do === "end" && [plan.ending.outcome, plan.ending.stopReason]),
      [
        ["failed", "context_length"],
        ["failed", "context_length"],
      ],
    );
  }
});

test("a compaction has as many attempts as a reply, and none for what does not pass", () => {
  const busy = { retryable: true, retryAfterMs: undefined };

  assert.equal(compactAgainAtMs(busy, 0, 1_000), 1_500);
  assert.equal(compactAgainAtMs(busy, runLimits.attempts - 1, 1_000), undefined);
  assert.equal(compactAgainAtMs({ ...busy, retryable: false }, 0, 1_000), undefined);
});
