import assert from "node:assert/strict";
import test from "node:test";
import { type Command, parseCommand } from "./parse.ts";

const spawn = { kind: "spawn", agentId: "main", model: undefined, thinking: undefined } as const;

const commands: readonly (readonly [text: string, command: Command])[] = [
  ["/help", { kind: "help" }],
  [" /STATUS ", { kind: "status" }],
  ["/stop", { kind: "stop" }],
  ["/abort", { kind: "stop" }],
  ["/subagents", { kind: "list", depth: "children" }],
  ["/subagents list", { kind: "list", depth: "children" }],
  ["/SubAgents List ALL", { kind: "list", depth: "all" }],
  ["/subagents info survey", { kind: "info", subagent: "survey" }],
  ['/subagents info "of all files"', { kind: "info", subagent: "of all files" }],
  ["/subagents log survey", { kind: "log", subagent: "survey", limit: 20, withTools: false }],
  ["/subagents log survey tools 5", { kind: "log", subagent: "survey", limit: 5, withTools: true }],
  ["/subagents kill all", { kind: "kill", subagent: "all" }],
  ["/subagents send survey be  brief\nplease", { kind: "send", subagent: "survey", text: "be  brief\nplease" }],
  ["/subagents steer survey /stop", { kind: "steer", subagent: "survey", text: "/stop" }],
  ["/subagents spawn main count the files", { ...spawn, task: "count the files" }],
  ["/subagents\nspawn main\ncount\nthem", { ...spawn, task: "count\nthem" }],
  [
    "/subagents spawn main count --thinking low --model a/b",
    { kind: "spawn", agentId: "main", task: "count", model: "a/b", thinking: "low" },
  ],
  ["/subagents spawn main explain --model a/b to me", { ...spawn, task: "explain --model a/b to me" }],
];

for (const [text, command] of commands) {
  test(`${JSON.stringify(text)} is a command`, () => {
    assert.deepEqual(parseCommand(text), command);
  });
}

for (const text of [
  "",
  "hello",
  "/",
  "/unknown",
  "/new",
  "/etc/passwd: what is it?",
  "/help me with this",
  "/stop the car",
  "/status of the project",
  "/subagentsx list",
  "please /stop",
  "/constructor",
  "/__proto__",
  "// a comment",
]) {
  test(`${JSON.stringify(text)} is for the model`, () => {
    assert.equal(parseCommand(text), undefined);
  });
}

for (const text of [
  "/subagents dance",
  "/subagents constructor",
  "/subagents list some",
  "/subagents info",
  "/subagents info two words",
  "/subagents kill",
  "/subagents kill one two",
  "/subagents log",
  "/subagents log survey 0",
  "/subagents log survey 201",
  "/subagents log survey 5 6",
  "/subagents log survey everything",
  "/subagents send survey",
  "/subagents steer",
  "/subagents spawn",
  "/subagents spawn main",
  "/subagents spawn main --model a/b",
  "/subagents spawn main count --model a/b --model c/d",
  "/subagents spawn main count --thinking hard",
]) {
  test(`${JSON.stringify(text)} is a mistake that says what was expected`, () => {
    const command = parseCommand(text);

    assert.ok(command?.kind === "mistake" && command.problem.length > 10, JSON.stringify(command));
  });
}
