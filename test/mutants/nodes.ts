import { type Mutant, tests } from "./mutant-list.ts";

const approvalStore = "packages/gateway/src/store/sql/approvals.ts";
const approvers = "packages/gateway/src/principal/approvers.ts";
const effect = "packages/gateway/src/approvals/effect.ts";
const invocations = "packages/gateway/src/nodes/invocations.ts";
const invoking = "packages/gateway/src/nodes/invoking.ts";
const nodeWork = "packages/gateway/src/store/sql/node-work.ts";
const programRun = "packages/gateway/src/nodes/program-run.ts";

const nodes = { testFile: tests.nodes };
const approvals = { testFile: tests.execApprovals };
const ofApprovers = { testFile: tests.approvers };
const asks = { testFile: tests.approvalAsk };
const stored = { testFile: tests.approvalStore };
const work = { testFile: tests.nodeWork };

export const nodeMutants: readonly Mutant[] = [
  {
    what: "a node answers over another connection, or for another node",
    file: invocations,
    from: "found.link.connId === by.connId ?",
    to: "true ?",
    killedBy: "^an answer counts once",
    ...nodes,
  },
  {
    what: "a node works on for a caller whose connection was closed",
    file: invocations,
    from: 'gone.addEventListener("abort", () => this.#cancel(id, "cancelled"), { once: true });',
    to: "",
    testFile: tests.invocations,
    killedBy: "^a command whose callers have all gone is over",
  },
  {
    what: "an answer counts although its command is approved no more",
    file: invoking,
    from: "const isApproved = approved?.commands.includes(command) === true;",
    to: "const isApproved = approved !== undefined || command !== '';",
    testFile: tests.invocations,
    killedBy: "^an answer to a command that is approved no more",
  },
  {
    what: "a command is sent that the node does not declare",
    file: invoking,
    from: "if (!link.declared.commands.includes(command))",
    to: "if (command === '')",
    killedBy: "^(what is not declared|an approved command that the node says no more)",
    ...nodes,
  },
  {
    what: "what a node declares is live before it is approved",
    file: nodeWork,
    from: 'if (!(JSON.parse(node.declaration) as NodeDeclaration).commands.includes(command)) return "command-unapproved";',
    to: "",
    killedBy: "nothing begins that is not approved",
    ...work,
  },
  {
    what: "a command is sent twice under one key",
    file: nodeWork,
    from: 'if (known !== undefined) return known.fingerprint === fingerprint ? "repeated" : "other-ask";',
    to: "",
    killedBy: "a key stands for one ask",
    ...work,
  },
  {
    what: "a node finishes another's work",
    file: nodeWork,
    from: 'db.deleteFrom("node_work").where("node_id", "=", arg("nodeId")).where("work_id", "=", arg("id")),',
    to: 'db.deleteFrom("node_work").where("work_id", "=", arg("id")),',
    killedBy: "^work for a node waits over a restart",
    ...nodes,
  },
  {
    what: "the node of an event is whoever holds a scope of that name",
    file: "packages/gateway/src/principal/hearing.ts",
    from: 'if (scope === "addressee") return false;',
    to: "",
    testFile: "packages/gateway/src/connection/subscriptions.test.ts",
    killedBy: "^one who calls a scope what it is not",
  },
  {
    what: "whoever asks decides",
    file: approvalStore,
    from: 'if (approval.requester === by.id) return { kind: "own-request" };',
    to: "",
    killedBy: "the first decision holds",
    ...stored,
  },
  {
    what: "every approver sees every request",
    file: approvers,
    from: "reviewers.includes(principal.deviceId)",
    to: "reviewers.length >= 0",
    killedBy: "^another approver",
    ...ofApprovers,
  },
  {
    what: "a device that the request names needs no scope",
    file: approvers,
    from: 'if (!covers(principal.scopes, "operator.approvals")) return false;',
    to: "",
    killedBy: "^a device the request names, without the scope",
    ...ofApprovers,
  },
  {
    what: "a decision is made about what the decider does not see",
    file: approvalStore,
    from: "if (approval === undefined || !by.maySee(approval))",
    to: "if (approval === undefined)",
    killedBy: "the first decision holds",
    ...stored,
  },
  {
    what: "a second decision replaces the first",
    file: approvalStore,
    from: 'if (approval.state === "decided") return approval.decision === decision ? { kind: "repeated", approval } : { kind: "already-decided" };\n  if (approval.state !== "pending"',
    to: 'if (approval.state === "expired"',
    killedBy: "the first decision holds",
    ...stored,
  },
  {
    what: "a request is decided after its time",
    file: approvalStore,
    from: "|| approval.expiresAtMs <= nowMs)",
    to: ")",
    testFile: tests.approvalStore,
    killedBy: "nothing is decided after its time",
  },
  {
    what: "a device that may decide no more decides",
    file: approvalStore,
    from: 'if (!mayStillDecide(sql, by, nowMs)) return { kind: "denied" };',
    to: "",
    testFile: tests.approvalStore,
    killedBy: "a device that was removed or narrowed",
  },
  {
    what: "an approval is used twice",
    file: approvalStore,
    from: '    .where("used_at_ms", "is", null)\n    .where("expires_at_ms", ">", arg("now"))',
    to: '    .where("expires_at_ms", ">", arg("now"))',
    killedBy: "an approval is used once, in its time",
    ...stored,
  },
  {
    what: "an approval is used by whoever knows its id",
    file: approvalStore,
    from: '    .where("requester", "=", arg("requester"))\n    .where("binding"',
    to: '    .where("binding"',
    killedBy: "an approval is used once, in its time",
    ...stored,
  },
  {
    what: "an approval is for whatever is run under its id",
    file: approvalStore,
    from: '    .where("binding", "=", arg("binding"))\n',
    to: "",
    killedBy: "an approval is used once, in its time",
    ...stored,
  },
  {
    what: "an approval that waits or was denied is one",
    file: approvalStore,
    from: '    .where("decision", "in", ["allow-once", "allow-always"])\n',
    to: "",
    killedBy: "an approval is used once, in its time",
    ...stored,
  },
  {
    what: "the environment is no part of what is approved",
    file: effect,
    from: "cwd, variables, agentId",
    to: "cwd, agentId",
    killedBy: "^another argv, folder",
    ...asks,
  },
  {
    what: "the file that a program reads is no part of what is approved",
    file: effect,
    from: "file === null ? null : [file.argvIndex, file.path, file.sha256]",
    to: "null",
    killedBy: "^another argv, folder",
    ...asks,
  },
  {
    what: "what is shown are the words that came beside the program",
    file: "packages/gateway/src/approvals/approval-ask.ts",
    from: "command: argv === undefined ? shownText(commandLine) : shownArgv(argv),",
    to: "command: params.command ?? shownArgv(argv ?? []),",
    killedBy: "^what is shown is made from the argv",
    ...asks,
  },
  {
    what: "any variable is approved",
    file: effect,
    from: "filter((name) => !settable.test(name))",
    to: "filter((name) => name === '')",
    killedBy: "^a variable that loads code",
    ...asks,
  },
  {
    what: "a caller's own word that it is approved goes to the node",
    file: programRun,
    from: "if (runId === undefined && (approved !== undefined || approvalDecision !== undefined))",
    to: "if (approvalDecision === 'never')",
    killedBy: "^what waits, was denied",
    ...approvals,
  },
  {
    what: "a program that names no approval needs no admin",
    file: "packages/protocol/src/node-commands.ts",
    from: 'typeof params["runId"] === "string") return "operator.write";',
    to: 'params["runId"] !== null) return "operator.write";',
    killedBy: "^what waits, was denied",
    ...approvals,
  },
  {
    what: "what a removed device asked for stands on",
    file: "packages/gateway/src/store/sql/device-management.ts",
    from: 'await runAwaited(tx, endApprovalsOf, { requester: `device:${deviceId}`, nodeId: deviceId, now: nowMs });\n  await tx.deleteFrom("device_grants")',
    to: 'await tx.deleteFrom("device_grants")',
    killedBy: "what a device that is gone",
    ...stored,
  },
];
