import assert from "node:assert/strict";
import test from "node:test";
import { ProtocolError } from "@portreeve/protocol";
import { type ApprovalParams, toAsk } from "./approval-ask.ts";

const plan = { argv: ["sh", "run.sh"], cwd: "/srv", commandText: "sh run.sh", agentId: null, sessionKey: null };
const onNode: ApprovalParams = { host: "node", nodeId: "n1", systemRunPlan: plan };
const file = { argvIndex: 1, path: "/srv/run.sh", sha256: "ab" };

const others: readonly (readonly [what: string, params: ApprovalParams])[] = [
  ["argv", { ...onNode, systemRunPlan: { ...plan, argv: ["sh", "run.sh "] } }],
  ["argv joined otherwise", { ...onNode, systemRunPlan: { ...plan, argv: ["sh run.sh"] } }],
  ["folder", { ...onNode, systemRunPlan: { ...plan, cwd: "/srv/" } }],
  ["environment", { ...onNode, env: { LANG: "C" } }],
  ["node", { ...onNode, nodeId: "n2" }],
  ["agent", { ...onNode, agentId: "main" }],
  ["session", { ...onNode, sessionKey: "agent:main:main" }],
  ["words of the plan", { ...onNode, systemRunPlan: { ...plan, commandText: "sh other.sh" } }],
  ["file that is read", { ...onNode, systemRunPlan: { ...plan, mutableFileOperand: file } }],
  ["digest of the file", { ...onNode, systemRunPlan: { ...plan, mutableFileOperand: { ...file, sha256: "cd" } } }],
  ["host", { commandArgv: plan.argv, cwd: plan.cwd }],
  ["line for a shell", { command: "sh run.sh", cwd: plan.cwd }],
];

test("another argv, folder, environment, node, agent, session, plan or file is another effect", () => {
  const bindings = [onNode, ...others.map(([, params]) => params)].map((params) => toAsk(params).binding);

  assert.equal(new Set(bindings).size, others.length + 1);
  assert.equal(toAsk({ ...onNode, warningText: "x", ask: "always", commandArgv: plan.argv }).binding, bindings[0]);
});

const refused: readonly (readonly [what: string, params: ApprovalParams, message: RegExp])[] = [
  ["nothing to run", {}, /command or commandArgv is needed/],
  ["an empty argv", { commandArgv: [] }, /command or commandArgv is needed/],
  ["a node without a plan", { host: "node", nodeId: "n1", commandArgv: ["ls"] }, /needs nodeId and a systemRunPlan/],
  ["a plan without a node", { host: "node", systemRunPlan: plan }, /needs nodeId and a systemRunPlan/],
  ["a node that is not the host", { nodeId: "n1", command: "ls" }, /nodeId needs host 'node'/],
  ["two argvs", { ...onNode, commandArgv: ["ls"] }, /commandArgv and systemRunPlan say two different things/],
  ["two folders", { ...onNode, cwd: "/" }, /cwd and systemRunPlan say two different things/],
  ["a variable that loads code", { command: "ls", env: { LD_PRELOAD: "x.so" } }, /not allowed: env\.LD_PRELOAD/],
  ["a variable that names a program", { command: "git fetch", env: { GIT_SSH_COMMAND: "sh -c id" } }, /not allowed: env\.GIT_SSH_COMMAND/],
  ["a variable of the shell", { command: "ls", env: { SHELLOPTS: "xtrace", PS4: "$(id)" } }, /not allowed: env\.SHELLOPTS/],
  ["a variable nobody knows", { command: "ls", env: { "\u202eX": "1" } }, /not allowed: env\.\$'\\u202eX'/],
];

for (const [what, params, message] of refused) {
  test(`${what} is refused`, () => {
    assert.throws(
      () => toAsk(params),
      (error) => error instanceof ProtocolError && message.test(error.message),
    );
  });
}

test("what is shown is made from the argv, in full, and not from the words that came with it", () => {
  const argv = ["python", "-c", "x".repeat(20_000), "end"];
  const { shown } = toAsk({ command: "ls", commandArgv: argv, warningText: "safe\u202e", cwd: "/a\nb", env: { LANG: "de" } });

  assert.equal(shown.command, `python -c ${"x".repeat(20_000)} end`);
  assert.deepEqual([shown.warningText, shown.cwd, shown.env], [String.raw`$'safe\u202e'`, String.raw`$'/a\u000ab'`, { LANG: "de" }]);
});

test("allow-always is offered unless every run is to be asked about or it is ruled out", () => {
  const decisions = [
    { command: "ls" },
    { command: "ls", ask: "always" },
    { command: "ls", unavailableDecisions: ["allow-always" as const] },
  ];

  assert.deepEqual(
    decisions.map((params) => toAsk(params).decisions),
    [
      ["allow-once", "allow-always", "deny"],
      ["allow-once", "deny"],
      ["allow-once", "deny"],
    ],
  );
});
