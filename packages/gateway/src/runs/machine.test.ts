import assert from "node:assert/strict";
import test from "node:test";
import type { JournalEntry } from "../store/journal.ts";
import { apply, fold, JournalError, type RunState } from "./machine.ts";

const usage = { input: 1, output: 1, totalTokens: 2 };
const call = (id: string): JournalEntry => ({
  kind: "reply",
  content: [{ type: "toolCall", id, name: "ls", arguments: {} }],
  model: "m",
  reason: "tool-calls",
  usage,
});
const said = (text: string): JournalEntry => ({ kind: "reply", content: [{ type: "text", text }], model: "m", reason: "stop", usage });
const result = (toolCallId: string, over: Partial<Extract<JournalEntry, { kind: "tool-result" }>> = {}): JournalEntry => ({
  kind: "tool-result",
  toolCallId,
  name: "ls",
  text: "",
  isError: false,
  parks: false,
  ...over,
});
const input: JournalEntry = { kind: "input", text: "go" };
const parked: JournalEntry = { kind: "parked", on: "children", eventSeq: 7 };
const completions: JournalEntry = { kind: "completions", completions: [] };
const failed: JournalEntry = {
  kind: "model-error",
  errorKind: "overloaded",
  message: "busy",
  retryable: true,
  retryAtMs: 5,
  partial: "half",
};
const compacted = (enough: boolean): JournalEntry => ({ kind: "compacted", throughSeq: 3, summary: "short", enough, usage });
const notCompacted = (retryAtMs?: number): JournalEntry => ({
  kind: "compaction-failed",
  errorKind: "overloaded",
  message: "busy",
  ...(retryAtMs === undefined ? {} : { retryAtMs }),
});
const ended: JournalEntry = { kind: "ended", outcome: "succeeded", text: "", error: undefined, stopReason: "stop" };
const intent: JournalEntry = { kind: "tool-intent", toolCallId: "a", name: "ls", args: {} };

/** One journal that reaches each phase. */
const journals = {
  fresh: [],
  thinking: [input],
  working: [input, call("a")],
  parking: [input, call("a"), result("a", { parks: true })],
  parked: [input, call("a"), result("a", { parks: true }), parked],
  answered: [input, said("done")],
  ended: [input, said("done"), ended],
} satisfies Record<RunState["phase"], readonly JournalEntry[]>;

/** Which entries may follow in which phase: the whole table, so that a new entry or phase must be placed in it. */
const follows: Record<JournalEntry["kind"], { entry: JournalEntry; in: readonly RunState["phase"][] }> = {
  input: { entry: input, in: ["fresh"] },
  completions: { entry: completions, in: ["fresh", "parked"] },
  steered: { entry: { kind: "steered", messages: [{ runId: "run_2", from: "device:d", text: "stop" }] }, in: ["thinking", "parked"] },
  repair: { entry: { kind: "repair", message: "not JSON" }, in: ["answered"] },
  reply: { entry: said("x"), in: ["thinking"] },
  "model-error": { entry: failed, in: ["thinking"] },
  compacted: { entry: compacted(true), in: ["thinking"] },
  "compaction-failed": { entry: notCompacted(), in: ["thinking"] },
  "tool-intent": { entry: intent, in: ["working"] },
  "tool-result": { entry: result("a"), in: ["working"] },
  parked: { entry: parked, in: ["parking"] },
  ended: { entry: ended, in: ["fresh", "thinking", "working", "parking", "parked", "answered"] },
};

for (const phase of Object.keys(journals) as RunState["phase"][]) {
  test(`phase ${phase} takes exactly the entries that may follow it`, () => {
    const state = fold(journals[phase]);

    assert.equal(state.phase, phase);
    for (const { entry, in: phases } of Object.values(follows)) {
      if (phases.includes(phase)) assert.doesNotThrow(() => apply(state, entry), entry.kind);
      else assert.throws(() => apply(state, entry), JournalError, entry.kind);
    }
  });
}

test("a turn goes on only when every call of the reply has its result", () => {
  const two: JournalEntry = {
    kind: "reply",
    content: ["a", "b"].map((id) => ({ type: "toolCall", id, name: "ls", arguments: {} })),
    model: "m",
    reason: "tool-calls",
    usage,
  };

  const half = fold([input, two, result("b")]);
  const whole = fold([input, two, result("b"), result("a")]);

  assert.equal(half.phase, "working");
  assert.equal(whole.phase, "thinking");
});

test("a run that parks waits for the other calls of the same reply", () => {
  const two: JournalEntry = {
    kind: "reply",
    content: ["a", "b"].map((id) => ({ type: "toolCall", id, name: "ls", arguments: {} })),
    model: "m",
    reason: "tool-calls",
    usage,
  };

  const states = [fold([input, two, result("a", { parks: true })]), fold([input, two, result("a", { parks: true }), result("b")])];

  assert.deepEqual(
    states.map((state) => state.phase),
    ["working", "parking"],
  );
});

test("a second result for one call is refused", () => {
  assert.throws(() => fold([input, call("a"), result("a"), result("a")]), JournalError);
});

test("failed attempts are counted until a reply succeeds", () => {
  const state = fold([input, failed, failed]);
  const after = fold([input, failed, failed, call("a"), result("a")]);

  assert.equal(state.phase === "thinking" && state.failures.length, 2);
  assert.equal(after.phase === "thinking" && after.failures.length, 0);
});

test("one reply is preceded by one compaction, and the next one may be again", () => {
  assert.throws(() => fold([input, compacted(true), compacted(true)]), JournalError);
  assert.throws(() => fold([input, compacted(true), notCompacted()]), JournalError);
  assert.equal(fold([input, compacted(true), call("a"), result("a"), compacted(true)]).phase, "thinking");
});

test("a message that steers may need a compaction of its own, unless another is of no use", () => {
  const steered: JournalEntry = { kind: "steered", messages: [{ runId: "run_2", from: "device:d", text: "long" }] };
  const compactionAfter = (entry: JournalEntry) => {
    const state = fold([input, entry, steered]);
    return state.phase === "thinking" && state.compaction.kind;
  };

  assert.deepEqual([compacted(true), compacted(false), notCompacted(5)].map(compactionAfter), ["possible", "given-up", "possible"]);
  assert.equal(fold([input, compacted(true), steered, compacted(true)]).phase, "thinking");
  assert.throws(() => fold([input, compacted(true), steered, compacted(true), compacted(true)]), JournalError);
});

test("a compaction that was not enough, or failed for good, is the run's last one", () => {
  for (const last of [compacted(false), notCompacted()])
    assert.throws(() => fold([input, last, call("a"), result("a"), compacted(true)]), JournalError);
  assert.equal(fold([input, notCompacted(5), compacted(true)]).phase, "thinking");
});

test("what failed before a compaction does not count after it, and the compaction counts as a call", () => {
  const state = fold([input, failed, compacted(true)]);

  assert.deepEqual(state.phase === "thinking" && [state.failures.length, state.modelCalls], [0, 2]);
});

test("the same failing call counts once a reply, however often the reply makes it", () => {
  const three: JournalEntry = {
    kind: "reply",
    content: ["a", "b", "c"].map((id) => ({ type: "toolCall", id, name: "ls", arguments: {} })),
    model: "m",
    reason: "tool-calls",
    usage,
  };
  const reply = [three, ...["a", "b", "c"].map((id) => result(id, { isError: true }))];
  const timesAfter = (...entries: readonly JournalEntry[]) => {
    const state = fold([input, ...entries]);
    return state.phase === "thinking" && state.repeated?.times;
  };

  assert.deepEqual([timesAfter(...reply), timesAfter(...reply, failed, ...reply, call("d"), result("d", { isError: true }))], [1, 3]);
});
