import assert from "node:assert/strict";
import test from "node:test";
import type { JournalEntry } from "../store/journal.ts";
import { fold, type RunState } from "./machine.ts";
import { compactAgainAtMs, type ContextSize, next as nextOf, type Plan, retryAtMs, runLimits, toBudgetEnding } from "./plan.ts";

const roomy: ContextSize = { tokens: 10, limit: 80, window: 100 };
const next = (state: RunState, size: ContextSize = roomy): Plan => nextOf(state, { chain: ["m"], cooling: new Set() }, () => size);
const plan = (state: RunState, chain: readonly string[] = [], cooling: readonly string[] = []): Plan =>
  nextOf(state, { chain: ["m", ...chain], cooling: new Set(cooling) }, () => roomy);

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
  assert.deepEqual(plan(fold([input, failure(true)])), { do: "call-model", model: "m", notBeforeMs: 700 });
});

test("a failure that may not be repeated ends the run and keeps the partial text", () => {
  const planned = plan(fold([input, failure(false)]));

  assert.deepEqual(planned, { do: "end", ending: { outcome: "failed", text: "half", error: "busy", stopReason: "overloaded" } });
});

test("the attempt budget is exact", () => {
  const attempts = (count: number): string => plan(fold([input, ...Array.from({ length: count }, () => failure(true))])).do;

  assert.equal(attempts(runLimits.attempts - 1), "call-model");
  assert.equal(attempts(runLimits.attempts), "end");
});

test("the same failing tool call three times in a row ends the run", () => {
  const rounds = (count: number, errors: boolean): JournalEntry[] => Array.from({ length: count }, () => [call, result(errors)]).flat();

  assert.equal(plan(fold([input, ...rounds(2, true)])).do, "call-model");
  assert.equal(plan(fold([input, ...rounds(3, false)])).do, "call-model");
  assert.deepEqual(plan(fold([input, ...rounds(3, true)])), {
    do: "end",
    ending: { outcome: "failed", text: "", error: "the same tool call failed 3 times in a row", stopReason: "tool_loop" },
  });
});

test("a run ends after its last allowed model call", () => {
  const rounds = Array.from({ length: runLimits.modelCalls }, () => [call, result(false)]).flat();

  const planned = plan(fold([input, ...rounds]));

  assert.equal(planned.do === "end" && planned.ending.outcome, "budget_exceeded");
});

test("a reply that the content filter stopped is no success", () => {
  const filtered: JournalEntry = { kind: "reply", content: [], model: "m", reason: "content-filter", usage };

  const planned = plan(fold([input, filtered]));

  assert.equal(planned.do === "end" && planned.ending.outcome, "failed");
});

test("a reply that ended for want of tokens is a success that says so", () => {
  const endingOf = (reason: "stop" | "length"): Plan =>
    plan(fold([input, { kind: "reply", content: [{ type: "text", text: "1. apples" }], model: "m", reason, usage }]));

  const ending = { outcome: "succeeded", text: "1. apples", error: undefined } as const;
  assert.deepEqual(endingOf("length"), { do: "end", ending: { ...ending, stopReason: "length", isCutOff: true } });
  assert.deepEqual(endingOf("stop"), { do: "end", ending: { ...ending, stopReason: "stop" } });
});

test("waiting before a retry doubles, is bounded, and never undercuts what the provider asked for", () => {
  const waits = [0, 1, 2, 20].map((before) => retryAtMs({ retryAfterMs: undefined }, before, 1_000) - 1_000);

  assert.deepEqual(waits, [500, 1_000, 2_000, 30_000]);
  assert.equal(retryAtMs({ retryAfterMs: 60_000 }, 0, 1_000), 61_000);
  assert.equal(retryAtMs({ retryAfterMs: Infinity }, 0, 1_000), 1_000 + runLimits.longestWaitMs);
});

const full: ContextSize = { ...roomy, tokens: 81 };
const overfull: ContextSize = { ...roomy, tokens: 101 };
const tooLong: JournalEntry = { ...failed("context_length"), retryable: false };
const compacted = (enough: boolean): JournalEntry => ({ kind: "compacted", throughSeq: 3, summary: "short", enough, usage });
const notCompacted: JournalEntry = { kind: "compaction-failed", errorKind: "auth", message: "no key" };

function failed(errorKind: string): Extract<JournalEntry, { kind: "model-error" }> {
  return { kind: "model-error", errorKind, message: "too long", retryable: true, retryAtMs: 0, partial: "" };
}

test("a call beyond the limit, or one that the provider found too long, is preceded by a compaction", () => {
  assert.deepEqual(next(fold([input]), { ...full, tokens: full.limit }), { do: "call-model", model: "m", notBeforeMs: 0 });
  assert.deepEqual(next(fold([input]), full), { do: "compact", model: "m", notBeforeMs: 0 });
  assert.deepEqual(next(fold([input, tooLong])), { do: "compact", model: "m", notBeforeMs: 0 });
  assert.equal(next(fold([input, compacted(true)])).do, "call-model");
});

test("a compaction that failed is tried again when its time has come", () => {
  assert.deepEqual(next(fold([input, { ...notCompacted, retryAtMs: 700 }]), full), { do: "compact", model: "m", notBeforeMs: 700 });
});

test("what is still found too long after a compaction ends the run, and is not compacted again", () => {
  const planned = next(fold([input, tooLong, compacted(true), tooLong]));

  assert.equal(planned.do === "end" && planned.ending.stopReason, "context_length");
});

test("without a compaction the call is made as long as it fits, and is a typed end when it does not", () => {
  for (const last of [compacted(false), notCompacted]) {
    const ends: Plan[] = [next(fold([input, last]), overfull), next(fold([input, tooLong, last, tooLong]), full)];

    assert.equal(next(fold([input, last]), full).do, "call-model");
    assert.deepEqual(
      ends.map((one) => one.do === "end" && [one.ending.outcome, one.ending.stopReason]),
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
  assert.equal(compactAgainAtMs({ ...busy, retryAfterMs: tooLongToWait }, 0, 1_000), undefined);
});

const failureOf = (model: string, over: Partial<Extract<JournalEntry, { kind: "model-error" }>> = {}): JournalEntry => ({
  kind: "model-error",
  model,
  errorKind: "overloaded",
  message: "busy",
  retryable: true,
  retryAtMs: 700,
  partial: "half",
  ...over,
});
const times = (count: number, entry: JournalEntry): readonly JournalEntry[] => Array.from({ length: count }, () => entry);

const noKey = (model: string): JournalEntry => failureOf(model, { errorKind: "auth", retryable: false });
const asksFor = (model: string, retryAfterMs: number): JournalEntry => failureOf(model, { errorKind: "rate_limit", retryAfterMs });
const [aLittleLong, tooLongToWait] = [runLimits.longestBackoffMs + 1, runLimits.longestWaitMs + 1];

const failovers: Readonly<Record<string, { entries: readonly JournalEntry[]; cooling?: readonly string[]; plan: string }>> = {
  "a model that may be asked again is": { entries: [failureOf("m")], plan: "m" },
  "a model that was asked often enough is stood in for": { entries: times(runLimits.attempts, failureOf("m")), plan: "n" },
  "a model without its key is stood in for at once": { entries: [failureOf("m", { errorKind: "auth", retryable: false })], plan: "n" },
  "the stand-in has attempts of its own": { entries: [...times(runLimits.attempts, failureOf("m")), failureOf("n")], plan: "n" },
  "a stand-in that is left out is passed over": { entries: times(runLimits.attempts, failureOf("m")), cooling: ["n"], plan: "o" },
  "when every model has failed the run ends": {
    entries: ["m", "n", "o"].map((model) => failureOf(model, { errorKind: "auth", retryable: false })),
    plan: "end",
  },
  "a refusal is nobody's to stand in for": { entries: [failureOf("m", { errorKind: "refused", retryable: false })], plan: "end" },
  "a provider that asks for no more than our longest backoff is waited for": {
    entries: [asksFor("m", runLimits.longestBackoffMs)],
    plan: "m",
  },
  "one that asks for more is stood in for at once": { entries: [asksFor("m", aLittleLong)], plan: "n" },
  "so is a stand-in": { entries: [asksFor("m", 86_400_000), asksFor("n", aLittleLong)], plan: "o" },
  "when the others have failed, one that asked for more is asked again": {
    entries: [asksFor("m", aLittleLong), noKey("n"), ...times(runLimits.attempts, failureOf("o"))],
    plan: "m",
  },
  "not when it asked for more than a run waits": { entries: [asksFor("m", tooLongToWait), noKey("n"), noKey("o")], plan: "end" },
  "what it was asked before counts": {
    entries: [asksFor("m", aLittleLong), noKey("n"), noKey("o"), ...times(runLimits.attempts - 2, asksFor("m", aLittleLong))],
    plan: "m",
  },
  "and is no more than its attempts": {
    entries: [asksFor("m", aLittleLong), noKey("n"), noKey("o"), ...times(runLimits.attempts - 1, asksFor("m", aLittleLong))],
    plan: "end",
  },
  "a refusal of a stand-in ends the run, whoever asked to wait": {
    entries: [asksFor("m", aLittleLong), failureOf("n", { errorKind: "refused", retryable: false })],
    plan: "end",
  },
  "a failure from before there was more than one model is the run's own": {
    entries: [{ kind: "model-error", errorKind: "auth", message: "no key", retryable: false, retryAtMs: 0, partial: "" }],
    plan: "n",
  },
};

for (const [name, { entries, cooling, plan: expected }] of Object.entries(failovers)) {
  test(name, () => {
    const planned = plan(fold([input, ...entries]), ["n", "o"], cooling);

    assert.equal(planned.do === "call-model" ? planned.model : planned.do, expected);
  });
}

test("with nobody to stand in, a run waits as long as it was asked to, and ends when that is too long", () => {
  const asks = (retryAfterMs: number): Plan => plan(fold([input, failureOf("m", { retryAfterMs, message: "HTTP 429" })]));

  assert.deepEqual(asks(runLimits.longestWaitMs), { do: "call-model", model: "m", notBeforeMs: 700 });
  assert.deepEqual(asks(86_400_000), {
    do: "end",
    ending: {
      outcome: "failed",
      text: "half",
      error: "HTTP 429; it asked not to be called again for 86400 s, and a run waits for 600 s at most",
      stopReason: "overloaded",
    },
  });
});

test("of those that asked to wait, the one that may be asked first is", () => {
  const [later, sooner] = [
    failureOf("m", { retryAfterMs: 90_000, retryAtMs: 90_000 }),
    failureOf("n", { retryAfterMs: 60_000, retryAtMs: 60_000 }),
  ];

  assert.deepEqual(plan(fold([input, later, sooner]), ["n"]), { do: "call-model", model: "n", notBeforeMs: 60_000 });
});

test("the model that answered last is asked again", () => {
  const answeredByN: JournalEntry = { ...(call as Extract<JournalEntry, { kind: "reply" }>), model: "n" };

  const planned = plan(fold([input, failureOf("m", { errorKind: "auth", retryable: false }), answeredByN, result(false)]), ["n"]);

  assert.equal(planned.do === "call-model" && planned.model, "n");
});

test("a spent budget says which one it is, what is left, and what a price would need", () => {
  const exceeded = { kind: "exceeded", dimension: "tokens", needed: 15, left: { tokens: 4, turns: 1 }, isDay: false } as const;

  const endings = [
    toBudgetEnding(exceeded, "main"),
    toBudgetEnding({ ...exceeded, isDay: true }, "main"),
    toBudgetEnding({ ...exceeded, dimension: "usd", needed: Infinity, isDay: true }, "main"),
  ];

  assert.deepEqual(
    endings.map(({ outcome, stopReason }) => [outcome, stopReason]),
    [
      ["budget_exceeded", "budget_tokens"],
      ["budget_exceeded", "budget_day_tokens"],
      ["budget_exceeded", "budget_day_usd"],
    ],
  );
  assert.match(endings[0]?.error ?? "", /^the budget is spent: .* about 15 tokens; left are 4 tokens, 1 turns$/);
  assert.match(endings[1]?.error ?? "", /^the budget of agent main for this day \(budgetPerDay, until 00:00 UTC\) is spent/);
  assert.match(endings[2]?.error ?? "", /price of the model is not known \(models\.prices\)/);
});
