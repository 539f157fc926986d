/** What is approved is one exact effect, shown whole, and used once. */
import assert from "node:assert/strict";
import { connectWire, createWireKey, type Frame, type Wire } from "../support/wire-client.ts";
import { advisory, ownerWith, shareGateway } from "./advisory.ts";

const shared = shareGateway();
const argv = ["/usr/bin/make", "test"];
let asked = 0;

interface Host extends AsyncDisposable {
  readonly nodeId: string;
  readonly node: Wire;
  readonly owner: Wire;
  readonly requester: Wire;
}

/** A node that runs programs and is approved for it, who may ask for approvals, and who decides about them. */
async function openHost(): Promise<Host> {
  const { gateway } = shared;
  await using stack = new AsyncDisposableStack();
  const open = async (input: object) => stack.use(await connectWire(gateway.url, { key: createWireKey(), token: gateway.token, ...input }));
  const key = createWireKey();
  const node = await open({ key, role: "node", client: { id: "node-host", mode: "node" }, extra: { commands: ["system.run"] } });
  const owner = stack.use(await ownerWith(gateway, "operator.admin"));
  const { payload } = await owner.request("node.pair.list", {});
  const pending = payload?.["pending"] as readonly { readonly nodeId: string; readonly requestId: string }[];
  await owner.request("node.pair.approve", { requestId: pending.find(({ nodeId }) => nodeId === key.id)?.requestId });
  const requester = await open({ scopes: ["operator.approvals", "operator.write"] });
  const owned = stack.move();
  return { nodeId: key.id, node, owner, requester, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

interface Effect {
  readonly argv?: readonly string[];
  readonly env?: object;
  readonly file?: object | null;
}

function planOf({ argv: words = argv, file }: Effect): object {
  return {
    argv: words,
    cwd: "/srv",
    commandText: words.join(" "),
    agentId: null,
    sessionKey: null,
    ...(file && { mutableFileOperand: file }),
  };
}

/** Asks for an effect; answers its id and the words that a person is shown. */
async function ask({ requester, owner, nodeId }: Host, effect: Effect = {}): Promise<{ readonly id: string; readonly shown: string }> {
  asked += 1;
  const env = effect.env ?? { LANG: "C" };
  const params = { host: "node", nodeId, systemRunPlan: planOf(effect), env, twoPhase: true };
  const { error, payload } = await requester.request("exec.approval.request", params);
  assert.equal(error, undefined, JSON.stringify(error));
  const id = String(payload?.["id"]);
  const told = await owner.request("exec.approval.get", { id });
  return { id, shown: JSON.stringify(told.payload) };
}

async function approve(host: Host, effect: Effect = {}, decision = "allow-once"): Promise<string> {
  const { id } = await ask(host, effect);
  const { error } = await host.owner.request("exec.approval.resolve", { id, decision });
  assert.equal(error, undefined, JSON.stringify(error));
  return id;
}

/** Asks the node to do it under the approval. */
function run({ requester, nodeId }: Host, runId: string | undefined, effect: Effect = {}): Promise<Frame> {
  asked += 1;
  const env = effect.env ?? { LANG: "C" };
  const params = {
    command: effect.argv ?? argv,
    cwd: "/srv",
    env,
    systemRunPlan: planOf(effect),
    ...(runId === undefined ? {} : { runId }),
  };
  return requester.request("node.invoke", { nodeId, command: "system.run", idempotencyKey: `run-${asked}`, params });
}

function sentTo({ node }: Host): readonly Frame[] {
  return node.frames.filter((frame) => frame.event === "node.invoke.request");
}

async function refusals(host: Host, runs: readonly Promise<Frame>[]): Promise<readonly unknown[]> {
  const codes = (await Promise.all(runs)).map(({ error }) => error?.details?.["code"]);
  assert.deepEqual(sentTo(host), [], "the node was asked to run something else");
  return [...new Set(codes)];
}

advisory(71, "an approval for one environment opens no other, whether it has more, less or other variables", async () => {
  await using host = await openHost();
  const id = await approve(host);

  const codes = await refusals(
    host,
    [{}, { LANG: "de" }, { LANG: "C", TERM: "xterm" }].map((env) => run(host, id, { env })),
  );

  assert.deepEqual(codes, ["APPROVAL_UNUSABLE"]);
});

advisory(72, "a script is approved with its digest, and as another one it is not run", async () => {
  await using host = await openHost();
  const file = { argvIndex: 1, path: "/srv/test", sha256: "a".repeat(64) };
  const id = await approve(host, { file });

  const codes = await refusals(host, [run(host, id, { file: { ...file, sha256: "b".repeat(64) } }), run(host, id, { file: null })]);

  assert.deepEqual(codes, ["APPROVAL_UNUSABLE"]);
});

advisory(73, "a wrapper that is always allowed allows nothing else inside of it, and stands for nothing that was not asked", async () => {
  await using host = await openHost();
  const wrapped = (inner: string): Effect => ({ argv: ["/bin/sh", "-c", inner] });
  const id = await approve(host, wrapped("make test"), "allow-always");

  const codes = await refusals(host, [run(host, id, wrapped("rm -rf /")), run(host, undefined, wrapped("rm -rf /"))]);

  assert.deepEqual(codes, ["APPROVAL_UNUSABLE", "MISSING_SCOPE"]);
});

advisory(74, "arguments that are split, joined, dropped or added after the approval are another command", async () => {
  await using host = await openHost();
  const id = await approve(host);
  const others = [["/usr/bin/make test"], ["/usr/bin/make"], [...argv, ""], [...argv, "-B"], ["make", "test"], ["test", "/usr/bin/make"]];

  const codes = await refusals(
    host,
    others.map((words) => run(host, id, { argv: words })),
  );

  assert.deepEqual(codes, ["APPROVAL_UNUSABLE"]);
});

advisory(75, "a space at the end of an argument is shown, and with or without it it is another command", async () => {
  await using host = await openHost();
  const spaced = { argv: ["/usr/bin/make", "test "] };
  const { shown } = await ask(host, spaced);
  const id = await approve(host);

  const codes = await refusals(host, [run(host, id, spaced)]);

  assert.match(shown, /'test '/);
  assert.deepEqual(codes, ["APPROVAL_UNUSABLE"]);
});

advisory(76, "a command is shown to its last character, however long it is", async () => {
  await using host = await openHost();

  const { shown } = await ask(host, { argv: ["/bin/echo", "x".repeat(20_000), "; rm -rf /"] });

  assert.match(shown, /x{20000}'? '; rm -rf \/'/);
});

advisory(78, "the node is given the environment that was approved, and no other words than those", async () => {
  await using host = await openHost();
  const env = { LANG: "C", TERM: "dumb" };
  const id = await approve(host, { env });

  const running = run(host, id, { env });
  const { payload } = await host.node.frame((frame) => frame.event === "node.invoke.request");
  await host.node.request("node.invoke.result", { id: payload?.["id"], nodeId: host.nodeId, ok: true });

  assert.equal((await running).ok, true);
  const sent = JSON.parse(String(payload?.["paramsJSON"])) as Record<string, unknown>;
  assert.deepEqual([sent["env"], sent["command"], sent["approvalDecision"]], [env, argv, "allow-once"]);
});

advisory(81, "variables by which a program loads or runs something else are not even asked about", async () => {
  await using host = await openHost();
  const pivots = ["GIT_SSH_COMMAND", "SHELLOPTS", "PS4", "NODE_OPTIONS", "LD_PRELOAD", "PATH", "BASH_ENV"];

  const codes: unknown[] = [];
  for (const name of pivots) {
    const params = { host: "node", nodeId: host.nodeId, systemRunPlan: planOf({}), env: { [name]: "x" }, twoPhase: true };
    codes.push((await host.requester.request("exec.approval.request", params)).error?.details?.["code"]);
  }

  assert.deepEqual([...new Set(codes)], ["NOT_ALLOWED"]);
});

advisory(79, "who decides is who is connected and may, whoever a decision says it is from", async () => {
  await using host = await openHost();
  const { owner, requester } = host;
  const { gateway } = shared;
  await using other = await connectWire(gateway.url, { key: createWireKey(), token: gateway.token, scopes: ["operator.approvals"] });
  const id = "decided-for-somebody";
  await requester.request("exec.approval.request", { id, command: "make test", twoPhase: true });
  const reviewer = { channel: "chat", accountId: "a", senderId: "owner" };

  const refused = [
    await other.request("exec.approval.resolve", { id, decision: "allow-once" }),
    await requester.request("exec.approval.resolve", { id, decision: "allow-once" }),
    await owner.request("exec.approval.resolve", { id, decision: "allow-once", reviewer }),
  ].map(({ error }) => error?.details?.["code"]);

  assert.deepEqual(refused, ["APPROVAL_NOT_FOUND", "APPROVAL_OWN_REQUEST", "NOT_ALLOWED"]);
  assert.equal((await owner.request("exec.approval.get", { id })).payload?.["status"], "pending");
});
