import assert from "node:assert/strict";
import test from "node:test";
import type { Result, RunRow } from "@portreeve/protocol/wire";
import { CliError } from "../exit.ts";
import { chooseRun } from "./find.ts";
import { showRun, showRuns, showTree, tellWho } from "./show.ts";

const minuteMs = 60_000;

function row(over: Partial<RunRow> = {}): RunRow {
  return {
    runId: "run_0000000000000000000000000aaaaaaaa",
    wireId: "k1",
    sessionKey: "agent:main:main",
    rootSessionKey: "agent:main:main",
    agentId: "main",
    trigger: "message",
    task: "look \u001b[31mat it",
    model: "scripted/scripted",
    startedBy: `device:${"8d20b1f4".padEnd(64, "0")}`,
    depth: 0,
    scopes: ["operator.write"],
    owner: false,
    status: "waiting",
    createdAt: 0,
    startedAt: minuteMs,
    usage: { input: 7, output: 5, totalTokens: 12 },
    children: { total: 1, open: 1 },
    waitsFor: { kind: "children", runIds: ["run_0000000000000000000000000bbbbbbbb"] },
    delivery: { status: "not_required" },
    ...over,
  };
}

const child = row({
  runId: "run_0000000000000000000000000bbbbbbbb",
  wireId: "run_0000000000000000000000000bbbbbbbb",
  sessionKey: "agent:main:subagent:x",
  label: "survey",
  startedBy: "run:run_0000000000000000000000000aaaaaaaa",
  parentRunId: "run_0000000000000000000000000aaaaaaaa",
  depth: 1,
  status: "succeeded",
  stopReason: "stop",
  endedAt: 3 * minuteMs,
  waitsFor: undefined,
  delivery: { status: "blocked", at: 3 * minuteMs },
});

test("a list says who asked what, the state, how long, what it waits for, tokens, and what became of the result", () => {
  const [heading = "", ...lines] = showRuns([row(), child], 5 * minuteMs).split("\n");

  assert.match(heading, /^RUN +STATE +ASKED BY +WHAT +SINCE +FOR +WAITS FOR +TOKENS +RESULT$/);
  assert.match(lines[0] ?? "", /^aaaaaaaa {2}waiting +device 8d20b1f4 +look at it +1970-01-01 00:01Z +4 min +bbbbbbbb +12 +not required$/);
  assert.match(lines[1] ?? "", /^bbbbbbbb {2}succeeded +run aaaaaaaa +survey +1970-01-01 00:01Z +2 min +- +12 +blocked$/);
});

test("an empty list says how to begin", () => {
  assert.match(showRuns([], 0), /\.\/portreeve agent/);
});

test("a tree indents what runs below, and says when it was cut", () => {
  const lines = showTree({ runs: [row(), child], isCut: true }, 0).split("\n");

  assert.match(lines[2] ?? "", /^· bbbbbbbb/);
  assert.equal(lines[3], "There are more.");
});

test("one run is told with outcome and delivery apart, each failure, each delivery, and its causes", () => {
  const details: Result<"runs.get"> = {
    run: child,
    result: "three files",
    ancestors: [row()],
    attempts: { claims: 2, modelCalls: 3, toolCalls: 1, failures: [{ at: minuteMs, errorKind: "overloaded", message: "busy" }] },
    deliveries: [{ generation: 1, state: "unread", toSessionKey: "agent:main:main", createdAt: 3 * minuteMs }],
  };

  const text = showRun(details, 5 * minuteMs);

  for (const line of [
    /^state +succeeded \(stop\)$/m,
    /^result +blocked, 1970-01-01 00:03Z$/m,
    /^asked by +run aaaaaaaa$/m,
    /^may +write, depth 1$/m,
    /^attempts +taken up 2 times; 3 model calls, 1 tool calls$/m,
    /failed 1970-01-01 00:01Z: overloaded: busy$/m,
    /^said +three files$/m,
    /^delivery 1 to agent:main:main, made 1970-01-01 00:03Z: unread$/m,
    /^because run run_0+a{8} \(waiting\) asked it\n +asked by device 8d20b1f4 /m,
  ])
    assert.match(text, line);
});

test("a reply that was cut off is told as that, and only that", () => {
  const noteOf = (over: Partial<RunRow>): string | undefined => {
    const attempts = { claims: 1, modelCalls: 1, toolCalls: 0, failures: [] };
    const shown = showRun({ run: { ...child, ...over }, result: "1. apples 2.", ancestors: [], attempts, deliveries: [] }, 0);
    return /^note +(.*)$/m.exec(shown)?.[1];
  };

  const notes = [noteOf({ stopReason: "length" }), noteOf({}), noteOf({ stopReason: "length", status: "failed" })];

  assert.deepEqual(notes, ["the reply was cut off: its model had no tokens left to go on", undefined, undefined]);
});

for (const [principal, words] of [
  ["secret:local", "the local secret"],
  ["run:run_12345678abcdefgh", "run abcdefgh"],
  ["device:0123456789abcdef", "device 01234567"],
  ["lifecycle:x", "lifecycle:x"],
] as const) {
  test(`${principal} reads as ${words}`, () => {
    assert.equal(tellWho(principal), words);
  });
}

test("a run is meant by the end of its id, its wire id, its label, or its session's newest", () => {
  const runs = [child, row()];

  const meant = ["bbbbbbbb", "k1", "survey", "main", "agent:main:subagent:x", "unheard of"].map((text) => chooseRun(runs, text));

  assert.deepEqual(meant, [child.runId, row().runId, child.runId, row().runId, child.runId, "unheard of"]);
});

test("what may mean several runs is refused with all of them, and so short an end means none", () => {
  const runs = [row(), row({ runId: "run_0000000000000000000000001aaaaaaaa" })];

  assert.throws(
    () => chooseRun(runs, "aaaaaaaa"),
    (error) => error instanceof CliError && /0aaaaaaaa[^]*1aaaaaaaa/.test(error.message),
  );
  assert.equal(chooseRun(runs, "aa"), "aa");
});
