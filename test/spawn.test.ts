/** What a spawn may ask for, what its receipt promises, and that a refused one leaves nothing. */
import assert from "node:assert/strict";
import { mkdtempDisposableSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { type AgentEvent, type ErrorCode, type ParamsInput, ProtocolError, type Result } from "@portreeve/protocol";
import { callTools, type ChatBody, say, startFakeOpenAi } from "./support/fake-openai.ts";
import { script } from "./support/script.ts";
import { createManualClock } from "./support/manual-clock.ts";
import { startGateway, type TestGateway } from "./support/start-gateway.ts";

type Ask = Omit<ParamsInput<"subagents.spawn">, "idempotencyKey" | "task"> & { readonly task?: string };
type Receipt = Result<"subagents.spawn">;

/** Spawns for the main session, as an operator would. */
function spawn(gw: TestGateway, ask: Ask, key = "k"): Promise<Receipt> {
  const task = ask.task ?? script("look", { say: "seen" });
  return gw.callerWith("operator.write").call("subagents.spawn", { ...ask, task, idempotencyKey: key });
}

/** Rows of sessions and runs: what a refused spawn must not change. */
async function countRows(gw: TestGateway): Promise<readonly number[]> {
  const { byStatus } = await gw.gateway.store.runs.counts();
  return [await gw.gateway.store.sessions.count(), Object.values(byStatus).reduce((sum, n) => sum + n, 0)];
}

const limited = {
  agents: {
    defaults: { subagents: { runTimeoutSeconds: 60, runTimeoutMinSeconds: 10, runTimeoutMaxSeconds: 100 } },
    entries: { reader: { tools: { allow: ["read", "ls"], deny: ["ls"] } } },
  },
};

/** Past the types, as a model or a client would. */
const bad = (ask: object): Ask => ask as Ask;

const deep = (levels: number): Record<string, unknown> => JSON.parse(`${'{"items":'.repeat(levels)}{}${"}".repeat(levels)}`);

const refused: readonly (readonly [what: string, ask: Ask, code: ErrorCode, says: RegExp])[] = [
  ...["target", "channel", "to", "threadId", "thread_id", "replyTo", "reply_to", "transport"].map(
    (field) => [`the delivery address ${field}`, bad({ [field]: "" }), "NOT_ALLOWED", new RegExp(`not allowed: ${field}`)] as const,
  ),
  ["an agentId that is an error sentence", { agentId: "Error: agent not found" }, "INVALID_PARAMS", /agentId: must be an agent id/],
  ["an agentId with white space around it", { agentId: " main " }, "INVALID_PARAMS", /agentId: must be an agent id/],
  ["an agentId in capitals", { agentId: "MAIN" }, "INVALID_PARAMS", /agentId: must be an agent id/],
  ["an agent that is not configured", { agentId: "ghost" }, "UNKNOWN_AGENT_ID", /unknown agent id "ghost"/],
  [
    "a session of an agent that is not configured",
    { sessionKey: "agent:ghost:x", agentId: "main" },
    "UNKNOWN_AGENT_ID",
    /agent id "ghost"/,
  ],
  ["a session key that names no agent", { sessionKey: "agent:" }, "INVALID_PARAMS", /not a session key: "agent:"/],
  ["a session key that names no session", { sessionKey: "agent:main" }, "INVALID_PARAMS", /not a session key: "agent:main"/],
  ["a task of 5 MB", { task: "x".repeat(5_000_000) }, "INVALID_PARAMS", /task: must NOT have more than 200000 characters/],
  ["an empty task", { task: "" }, "INVALID_PARAMS", /task: must NOT have fewer/],
  ["a taskName in capitals", { taskName: "Look" }, "INVALID_PARAMS", /taskName: must be a task name/],
  ["the taskName last", { taskName: "last" }, "INVALID_PARAMS", /must not be 'last' or 'all'/],
  ["the taskName all", { taskName: "all" }, "INVALID_PARAMS", /must not be 'last' or 'all'/],
  ["mode session without a thread", { mode: "session" }, "MODE_UNAVAILABLE", /requires thread: true/],
  ["a thread", { thread: true, mode: "session" }, "MODE_UNAVAILABLE", /no channel of this gateway has threads/],
  ["a sandbox", { sandbox: "require" }, "SANDBOX_UNAVAILABLE", /has no sandbox/],
  ["a model nobody configured", { model: "nowhere/m" }, "MODEL_UNUSABLE", /there is no provider "nowhere"/],
  ["a model that does not think, to think", { thinking: "high" }, "THINKING_UNUSABLE", /the built-in model does not think/],
  ["a level of thinking nobody knows", bad({ thinking: "ultra" }), "INVALID_PARAMS", /thinking: must be equal to one of/],
  [
    "a deadline above the operator's",
    { runTimeoutSeconds: 101 },
    "SPAWN_TIMEOUT",
    /at most 100 s \(agents.defaults.subagents.runTimeoutMax/,
  ],
  ["no deadline where there must be one", { runTimeoutSeconds: 0 }, "SPAWN_TIMEOUT", /no deadline; the operator allows at most 100 s/],
  ["a deadline below the operator's", { runTimeoutSeconds: 9 }, "SPAWN_TIMEOUT", /at least 10 s \(agents.defaults.subagents.runTimeoutMin/],
  ["a budget below nothing", { budget: { tokens: -1 } }, "INVALID_PARAMS", /tokens: must be >= 0/],
  ["a budget of half a token", { budget: { tokens: 0.5 } }, "INVALID_PARAMS", /tokens: must be int/],
  ["another agent's conversation", { agentId: "reader", context: "fork" }, "FORK_OTHER_AGENT", /reader is another agent than main/],
  ["attachments, which are off", { attachments: [{ name: "a", content: "" }] }, "ATTACHMENTS_OFF", /subagents\.attachments\.enabled$/],
  ["a place for attachments", bad({ attachAs: { mountPath: "/" } }), "NOT_SUPPORTED", /attachAs/],
  [
    "a schema beyond the subset",
    { outputSchema: { type: "string", pattern: "a" } },
    "SCHEMA_UNUSABLE",
    /outputSchema cannot be used.*pattern/,
  ],
  ["a schema without an end", { outputSchema: deep(5_000) }, "INVALID_PARAMS", /must NOT nest deeper than 128 levels/],
  ["a schema of too many levels", { outputSchema: deep(40) }, "SCHEMA_UNUSABLE", /it nests deeper than 16 levels/],
  [
    "a model's name of a megabyte",
    { model: `a/${"x".repeat(1_000_000)}` },
    "INVALID_PARAMS",
    /^.{0,100}model: must NOT have more than 200 characters$/,
  ],
  [
    "a tool's name of a megabyte",
    { tools: ["x".repeat(1_000_000)] },
    "INVALID_PARAMS",
    /^.{0,100}tools\/0: must NOT have more than 128 characters$/,
  ],
  ["a thousand tools", { tools: Array<string>(1_000).fill("read") }, "INVALID_PARAMS", /^.{0,100}tools: must be <= 256$/],
  ["a tool nobody knows", { tools: ["read", "reed"] }, "TOOL_UNUSABLE", /could not have reed; it could have read/],
  [
    "a tool that the agent's policy denies",
    { agentId: "reader", tools: ["ls"] },
    "TOOL_UNUSABLE",
    /could not have ls; it could have read$/,
  ],
  ["scopes", bad({ scopes: ["operator.admin"] }), "INVALID_PARAMS", /unexpected property 'scopes'/],
  ["a provenance of its own", bad({ inputProvenance: { kind: "x" } }), "NOT_ALLOWED", /not allowed: inputProvenance/],
];

test("a refused spawn says why and makes nothing", async (t) => {
  await using gw = await startGateway({ config: limited });
  const before = await countRows(gw);

  for (const [what, ask, code, says] of refused) {
    await t.test(what, async () => {
      await assert.rejects(spawn(gw, ask), (error: ProtocolError) => {
        assert.equal(error.code, code);
        assert.match(error.message, says);
        return true;
      });
      assert.deepEqual(await countRows(gw), before);
    });
  }
});

test("a receipt says what the child may do: tools, time, model", async () => {
  await using gw = await startGateway({ config: limited });

  const plain = await spawn(gw, {}, "a");
  const narrowed = await spawn(gw, { tools: ["grep", "read"], runTimeoutSeconds: 20, taskName: "narrow" }, "b");
  const bare = await spawn(gw, { tools: [] }, "c");
  const reader = await spawn(gw, { agentId: "reader" }, "d");

  assert.deepEqual([plain.tools.includes("sessions_spawn"), plain.runTimeoutSeconds, plain.taskName], [true, 60, undefined]);
  assert.deepEqual([narrowed.tools, narrowed.runTimeoutSeconds, narrowed.taskName], [["read", "grep"], 20, "narrow"]);
  assert.deepEqual([bare.tools, reader.tools], [[], ["read"]]);
  assert.equal(plain.resolvedModel, "scripted/scripted");
});

test("a taskName is one running child's alone, and free again when that has ended", async () => {
  await using gw = await startGateway();
  const first = await spawn(gw, { taskName: "look", label: "First", task: script("x", { hang: true }) }, "a");
  const before = await countRows(gw);

  await assert.rejects(spawn(gw, { taskName: "look" }, "b"), { code: "TASK_NAME_TAKEN", message: /has that taskName: First$/ });
  assert.deepEqual(await countRows(gw), before);

  await gw.callerWith("operator.write").call("chat.abort", { sessionKey: first.childSessionKey });
  assert.equal((await spawn(gw, { taskName: "look" }, "b")).taskName, "look");
});

test("a refusal inside a run reaches its model typed, and the run goes on", async () => {
  await using gw = await startGateway();
  const call = (args: object) => ({ tool: "sessions_spawn", args: { task: "x", ...args } });
  const calls = [call({ sandbox: "require" }), call({ tools: ["exec"] }), call({ thinking: "low" }), call({ mode: "session" })];

  const { result } = await gw.callerWith("operator.write").call("agent", {
    message: script("go", { call: calls }, { say: "{{result:1}}|{{result:2}}|{{result:3}}|{{result:4}}" }),
    idempotencyKey: "k",
  });

  const text = result.payloads[0]?.text ?? "";
  assert.match(text, /"status":"forbidden","code":"SANDBOX_UNAVAILABLE"/);
  for (const code of ["TOOL_UNUSABLE", "THINKING_UNUSABLE", "MODE_UNAVAILABLE"])
    assert.match(text, new RegExp(`"code":"${code}".*?"remedy":`));
  assert.deepEqual((await countRows(gw))[0], 1);
});

function isOver(event: AgentEvent): boolean {
  return event.stream === "lifecycle" && (event.data.phase === "end" || event.data.phase === "error");
}

/** The transcript of a session once its run has ended. */
async function ended(gw: TestGateway, sessionKey: string) {
  const { promise, resolve } = Promise.withResolvers<void>();
  using _ = gw.gateway.bus.subscribe("agent", (event) => {
    if (event.sessionKey === sessionKey && isOver(event)) resolve();
  });
  const session = await gw.gateway.store.sessions.find(sessionKey);
  if (session?.newestRun?.endedAtMs === undefined) await promise;
  return gw.callerWith("operator.read").call("chat.history", { sessionKey });
}

/** Resolves once a run of each session has begun to speak. */
async function running(gw: TestGateway, ...sessionKeys: readonly string[]): Promise<void> {
  const waiting = new Set(sessionKeys);
  const { promise, resolve } = Promise.withResolvers<void>();
  const seen = (key: string): void => {
    waiting.delete(key);
    if (waiting.size === 0) resolve();
  };
  using _ = gw.gateway.bus.subscribe("agent", (event) => (event.stream === "assistant" ? seen(event.sessionKey) : undefined));
  for (const key of sessionKeys) {
    if ((await gw.gateway.store.sessions.find(key))?.newestRun?.status === "running") seen(key);
  }
  await promise;
}

/** A provider whose main conversation spawns with `args`, and whose children say "done"; answers the children's requests. */
async function spawnOnce(args: object, config: object = {}): Promise<{ readonly child: ChatBody; readonly receipt: Receipt }> {
  const isChild = (body: ChatBody): boolean =>
    body.messages?.some(({ role, content }) => role === "user" && /^CHILD$|FORKED$/.test(content ?? "")) ?? false;
  const lastRole = (body: ChatBody): string | undefined => body.messages?.at(-1)?.role;
  await using provider = await startFakeOpenAi({
    handler: ({ body }) => {
      if (isChild(body) || lastRole(body) === "tool") return say("done");
      return callTools({ id: "1", name: "sessions_spawn", args: { task: "CHILD", ...args } });
    },
  });
  const local = { api: "openai-compatible", baseUrl: provider.baseUrl, thinking: ["low", "high"] };
  await using gw = await startGateway({
    config: { models: { providers: { local } }, agents: { defaults: { model: "local/small" }, ...config } },
  });
  const ended = new Promise<void>((resolve) => {
    gw.gateway.bus.subscribe("agent", (event) => {
      if (isOver(event) && event.spawnedBy !== undefined) resolve();
    });
  });
  await gw.callerWith("operator.write").call("agent", { message: "go", idempotencyKey: "k" });
  await ended;
  const { messages } = await gw.callerWith("operator.read").call("chat.history", { sessionKey: "main" });
  const receipts = messages.flatMap(({ content }) => content.flatMap((block) => (block.type === "toolResult" ? [block.text] : [])));
  const child = provider.requests.find(({ body }) => isChild(body)) ?? assert.fail("no child asked the provider");
  return { child: child.body, receipt: JSON.parse(receipts[0] ?? "") as Receipt };
}

test("the model, the level and the tools of the receipt are those of the child's first request", async () => {
  const { child, receipt } = await spawnOnce({ model: "local/large", thinking: "high", tools: ["read", "ls"] });

  assert.deepEqual([receipt.resolvedModel, receipt.resolvedThinking, receipt.tools], ["local/large", "high", ["read", "ls"]]);
  assert.deepEqual([child.model, child["reasoning_effort"]], ["large", "high"]);
  assert.deepEqual(
    child.tools?.map((tool) => tool.function.name),
    receipt.tools,
  );
});

test("a child has no tool that its parent's agent lacks, whichever agent it is", async () => {
  const entries = { main: { tools: { deny: ["grep", "sessions_list"] } }, wide: {} };

  const { child, receipt } = await spawnOnce({ agentId: "wide" }, { entries });

  assert.deepEqual(
    ["grep", "sessions_list"].filter((name) => receipt.tools.includes(name)),
    [],
  );
  assert.deepEqual(
    child.tools?.map((tool) => tool.function.name),
    receipt.tools,
  );
});

test("what an operator spawns for a session that was narrowed has no tool that the session lacks", async () => {
  await using gw = await startGateway();
  const { childSessionKey: sessionKey } = await spawn(gw, { tools: ["ls", "read"] });

  const { childSessionKey, tools } = await spawn(gw, { sessionKey }, "k2");
  const named = await spawn(gw, { sessionKey, tools: ["ls"] }, "k3");
  const below = await spawn(gw, { sessionKey: childSessionKey }, "k4");
  const { groups } = await gw.callerWith("operator.read").call("tools.effective", { sessionKey: childSessionKey });

  assert.deepEqual([tools, named.tools, below.tools], [["read", "ls"], ["ls"], ["read", "ls"]]);
  assert.deepEqual(
    groups.flatMap((group) => group.tools.map(({ id }) => id)),
    ["read", "ls"],
  );
  await assert.rejects(spawn(gw, { sessionKey, tools: ["grep"] }, "k5"), {
    code: "TOOL_UNUSABLE",
    message: "the sub-agent could not have grep; it could have read, ls",
  });
});

test("a policy that names an unknown tool does not start", async () => {
  const config = { agents: { entries: { main: { tools: { deny: ["gerp"] } } } } };

  await assert.rejects(startGateway({ config }), { name: "ConfigError", message: /agents.entries.main.tools: unknown tool gerp/ });
});

test("a budget bounds the reply on the wire, and a call that does not fit ends the run with what is left", async () => {
  const small = await spawnOnce({ budget: { tokens: 3_000, turns: 1 }, tools: [] });

  assert.deepEqual(small.receipt.budget, { tokens: 3_000, turns: 1 });
  assert.ok(Number(small.child["max_tokens"]) > 64 && Number(small.child["max_tokens"]) < 3_000);

  await using gw = await startGateway();
  const { childSessionKey } = await spawn(gw, {
    budget: { turns: 1 },
    task: script("x", { call: [{ tool: "ls", args: {} }] }, { say: "never" }),
  });
  const [row] = (await ended(gw, childSessionKey)).messages.slice(-1);

  assert.equal(row?.role, "toolResult");
  const { sessions } = await gw.callerWith("operator.read").call("sessions.list", {});
  assert.equal(sessions.find(({ key }) => key === childSessionKey)?.runStatus, "budget_exceeded");
});

test("what an agent may use in a day is shared by all its runs, also by those of people, and is another agent's alone to spend", async () => {
  const entries = { spare: {}, free: { budgetPerDay: {} } };
  await using gw = await startGateway({ config: { agents: { defaults: { budgetPerDay: { turns: 2 } }, entries } } });
  const ask = (sessionKey: string, key: string) =>
    gw.callerWith("operator.write").call("agent", { message: script("x", { say: "y" }), sessionKey, idempotencyKey: key });

  await ask("one", "k1");
  await ask("two", "k2");
  const refused = await ask("three", "k3").then(
    () => assert.fail("it was not refused"),
    (error: unknown) => error,
  );
  const spare = await ask("agent:spare:main", "k4");
  for (const key of ["k5", "k6", "k7"]) await ask("agent:free:main", key);

  assert.ok(refused instanceof ProtocolError);
  assert.deepEqual(
    [refused.code, refused.details["outcome"], refused.details["stopReason"]],
    ["RUN_FAILED", "budget_exceeded", "budget_day_turns"],
  );
  assert.match(refused.message, /the budget of agent main for this day .* is spent: .* left are 0 turns/);
  assert.equal(spare.status, "ok");
});

test("a parent reads what its child's budget has left, and why it ended", async () => {
  await using gw = await startGateway();
  const child = {
    tool: "sessions_spawn",
    args: { budget: { turns: 1 }, task: script("x", { call: [{ tool: "ls", args: {} }] }, { say: "never" }) },
  };

  const { result } = await gw
    .callerWith("operator.write")
    .call("agent", { message: script("go", { call: [child] }, { awaitChildren: true }, { say: "{{children}}" }), idempotencyKey: "k" });

  assert.match(result.payloads[0]?.text ?? "", /the budget is spent: the next model call needs about 1 turns; left are 0 turns/);
  const { messages } = await gw.callerWith("operator.read").call("chat.history", { sessionKey: "main" });
  const quoted = messages.flatMap(({ content }) => content.flatMap((block) => (block.type === "text" ? [block.text] : []))).join("");
  assert.match(quoted, /outcome="budget_exceeded" stats="[^"]*budget left 0 turns"/);
});

test("a budget in money is refused where the model's price is not known, and held where it is", async () => {
  const providers = { local: { api: "openai-compatible", baseUrl: "http://127.0.0.1:1/v1" } };
  await using gw = await startGateway({ config: { models: { providers, prices: { "local/priced": { input: 1, output: 1 } } } } });
  const before = await countRows(gw);

  await assert.rejects(spawn(gw, { model: "local/free", budget: { usd: 1 } }), {
    code: "BUDGET_UNPRICED",
    message: /the price of local\/free/,
  });
  assert.deepEqual(await countRows(gw), before);
  assert.deepEqual((await spawn(gw, { model: "local/priced", budget: { usd: 1 } })).budget, { usd: 1 });
});

test("time in a budget is a bound of the budget, and the deadline one of the run", async () => {
  const clock = createManualClock();
  await using gw = await startGateway({ clock });
  const hang = script("x", { hang: true });
  const [budgeted, timed] = [
    await spawn(gw, { budget: { wallMs: 5_000 }, runTimeoutSeconds: 60, task: hang }, "a"),
    await spawn(gw, { budget: { wallMs: 50_000 }, runTimeoutSeconds: 5, task: hang }, "b"),
  ];
  const both = Promise.all([ended(gw, budgeted.childSessionKey), ended(gw, timed.childSessionKey)]);
  await running(gw, budgeted.childSessionKey, timed.childSessionKey);

  clock.advance(5_000);
  await both;

  const { sessions } = await gw.callerWith("operator.read").call("sessions.list", {});
  const statusOf = ({ childSessionKey }: Receipt) => sessions.find(({ key }) => key === childSessionKey)?.runStatus;
  assert.deepEqual([statusOf(budgeted), statusOf(timed)], ["budget_exceeded", "timed_out"]);
});

test("a fork begins with the parent's conversation, the running turn's finished parts too, and its task comes last, marked", async () => {
  const { child, receipt } = await spawnOnce({ task: "FORKED", context: "fork" });

  const said = child.messages?.slice(1).map(({ role, content, tool_calls: calls }) => [role, content ?? "", calls?.length ?? 0]);
  assert.equal(receipt.context, "fork");
  assert.deepEqual(said?.slice(0, 3), [
    ["user", "go", 0],
    ["assistant", "", 1],
    ["tool", "(This call had no result yet when the sub-agent was started from here.)", 0],
  ]);
  assert.match(String(said?.[3]?.[1]), /^You are a sub-agent from here on\..*background for you\..*\n\nYour task:\n\nFORKED$/s);
  assert.equal(said?.length, 4);
});

test("the built-in model does not take its parent's steps again in a fork", async () => {
  await using gw = await startGateway();
  const child = { tool: "sessions_spawn", args: { context: "fork", label: "fork", task: script("now", { say: "mine" }) } };

  const { result } = await gw
    .callerWith("operator.write")
    .call("agent", { message: script("go", { call: [child] }, { awaitChildren: true }, { say: "{{children}}" }), idempotencyKey: "k" });

  assert.match(result.payloads[0]?.text ?? "", /^fork: mine/);
});

test("a conversation that is too large is not copied, and the receipt says so", async () => {
  await using gw = await startGateway({ config: { agents: { defaults: { subagents: { forkMaxBytes: 100 } } } } });
  await gw.callerWith("operator.write").call("agent", { message: `long ${"x".repeat(100)}`, idempotencyKey: "first" });

  const receipt = await spawn(gw, { context: "fork" });
  const { messages } = await ended(gw, receipt.childSessionKey);

  assert.equal(receipt.context, "isolated");
  assert.match(receipt.warnings?.[0] ?? "", /^the conversation has \d+ bytes, and agents.defaults.subagents.forkMaxBytes is 100: /);
  assert.deepEqual([messages.length, messages[0]?.content], [2, [{ type: "text", text: script("look", { say: "seen" }) }]]);
});

for (const method of ["sessions.delete", "sessions.reset"] as const) {
  test(`a parent takes its running child with it by ${method}, and nothing is announced`, async () => {
    await using gw = await startGateway();
    const { childSessionKey } = await spawn(gw, { sessionKey: "side", task: script("x", { hang: true }) });
    const over = ended(gw, childSessionKey);

    await gw.callerWith("operator.admin").call(method, { key: "side" });
    await over;

    const { byStatus, children } = await gw.gateway.store.runs.counts();
    assert.deepEqual([byStatus, children.announced, children.undelivered], [{ cancelled: 1 }, 0, 0]);
  });
}

test("what was started before is answered as it was, although its tools, limits or model would be refused by now", async () => {
  using home = mkdtempDisposableSync(join(tmpdir(), "portreeve-test-"));
  const root = home.path;
  const ask = { tools: ["ls"], runTimeoutSeconds: 50, task: script("wait", { hang: true }) };
  const message = { message: script("wait", { hang: true }), sessionKey: "beside", idempotencyKey: "m" };
  const first = await startGateway({ root });
  const receipt = await spawn(first, ask);
  const sent = await first.callerWith("operator.write").call("chat.send", message);
  await first[Symbol.asyncDispose]();
  const defaults = { model: "unknown/none", subagents: { runTimeoutMaxSeconds: 10, runTimeoutSeconds: 10 } };
  await using gw = await startGateway({ root, config: { agents: { defaults, entries: { main: { tools: { deny: ["ls"] } } } } } });

  const again = await spawn(gw, ask);
  const sentAgain = await gw.callerWith("operator.write").call("chat.send", message);

  assert.equal(again.runId, receipt.runId);
  assert.deepEqual(
    [sent, sentAgain].map((one) => "runId" in one && [one.runId, one.status]),
    [
      ["m", "started"],
      ["m", "in_flight"],
    ],
  );
  await assert.rejects(spawn(gw, { ...ask, label: "other" }), { code: "IDEMPOTENCY_MISMATCH" });
  await assert.rejects(spawn(gw, ask, "k2"), { code: "SPAWN_TIMEOUT" });
});
