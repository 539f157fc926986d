import assert from "node:assert/strict";
import test from "node:test";
import { findMeant, type Named } from "./handles.ts";

function named(runId: string, over: Partial<Named> = {}): Named {
  return { runId, sessionKey: `agent:main:subagent:${runId}`, taskName: undefined, label: undefined, hasEnded: false, ...over };
}

const all: readonly Named[] = [
  named("run_5", { taskName: "survey", label: "Survey of files" }),
  named("run_4", { taskName: "survey", label: "an older survey", hasEnded: true }),
  named("run_3", { taskName: "sum_up", label: "twin" }),
  named("run_2", { label: "twin" }),
  named("run_1b", { sessionKey: "agent:main:subagent:run_1", label: "again", hasEnded: true }),
  named("run_1", { label: "again", hasEnded: true }),
  named("run_0", { label: "run_3", hasEnded: true }),
];

const cases: readonly (readonly [handle: string, meant: string | readonly string[]])[] = [
  ["run_2", "run_2"],
  ["agent:main:subagent:run_4", "run_4"],
  // Of one name the open one comes first.
  ["survey", "run_5"],
  ["sum_up", "run_3"],
  ["sum", "run_3"],
  ["an older", "run_4"],
  ["twin", ["run_3", "run_2"]],
  ["tw", ["run_3", "run_2"]],
  // Beginnings of two that are open.
  ["su", ["run_5", "run_3"]],
  // Several runs of one session are one sub-agent.
  ["again", "run_1b"],
  // An id is never shadowed by a label.
  ["run_3", "run_3"],
  ["run_", "run_0"],
  ["nobody", []],
  ["", []],
];

for (const [handle, expected] of cases) {
  test(`${JSON.stringify(handle)} means ${JSON.stringify(expected)}`, () => {
    const meant = findMeant(all, handle);

    const said = meant.kind === "one" ? meant.one.runId : meant.kind === "none" ? [] : meant.candidates.map(({ runId }) => runId);
    assert.deepEqual(said, expected);
  });
}
