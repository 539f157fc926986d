/** The agent of an editor: its protocol's own client drives `./portreeve acp` as a process, against a real gateway. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable, Writable } from "node:stream";
import test, { after, before } from "node:test";
import * as acp from "@agentclientprotocol/sdk";
import { GatewayClient } from "@portreeve/client";
import { AcpAgent } from "../packages/cli/src/acp/agent.ts";
import { run } from "../packages/cli/src/program.ts";
import { runGateway } from "../packages/gateway/src/main.ts";
import { captureIo } from "./support/captured-io.ts";
import { type CliHome, openHome } from "./support/cli.ts";
import { bareEnv } from "./support/gateway-process.ts";
import { startGateway } from "./support/start-gateway.ts";
import { script, spawnStep, type Step } from "./support/script.ts";

const cwd = tmpdir();
const { agent: methods } = acp.methods;
let home: CliHome;
let editor: Editor;

before(async () => {
  home = await openHome({ gateway: { drainSeconds: 0 } });
  editor = openEditor(home.path);
});
after(async () => {
  await editor[Symbol.asyncDispose]();
  await home[Symbol.asyncDispose]();
});

interface Editor extends AsyncDisposable {
  readonly connection: acp.ClientConnection;
  readonly child: ChildProcess;
  readonly updates: readonly acp.SessionNotification[];
  stdout(): string;
  stderr(): string;
  /** The next update that fits, or one that came already. */
  update(fits: (one: acp.SessionNotification) => boolean): Promise<acp.SessionNotification>;
}

/** The protocol's own client over the command line as a process. */
function openEditor(path: string): Editor {
  const child = spawn(process.execPath, [join(import.meta.dirname, "../packages/cli/src/main.ts"), "acp"], { env: bareEnv(path), cwd });
  const updates: acp.SessionNotification[] = [];
  const waiting = new Set<() => void>();
  let [out, err] = ["", ""];
  child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString("utf8")));
  child.stderr.on("data", (chunk: Buffer) => (err += chunk.toString("utf8")));
  const app = acp.client({ name: "test" }).onNotification(acp.methods.client.session.update, ({ params }) => {
    updates.push(params);
    for (const look of waiting) look();
  });
  // Node's stream of bytes and the web's are one type at run time.
  const input = Readable.toWeb(child.stdout) as ReadableStream<Uint8Array>;
  const connection = app.connect(acp.ndJsonStream(Writable.toWeb(child.stdin), input));
  return {
    connection,
    child,
    updates,
    stdout: () => out,
    stderr: () => err,
    update(fits) {
      const { promise, resolve } = Promise.withResolvers<acp.SessionNotification>();
      const look = (): void => {
        const found = updates.find(fits);
        if (found !== undefined && waiting.delete(look)) resolve(found);
      };
      waiting.add(look);
      look();
      return promise;
    },
    async [Symbol.asyncDispose]() {
      const exited = child.exitCode === null ? once(child, "exit") : undefined;
      child.stdin.end();
      await exited;
    },
  };
}

async function newSession(): Promise<string> {
  return (await editor.connection.agent.request(methods.session.new, { cwd, mcpServers: [] })).sessionId;
}

function prompt(sessionId: string, text: string, ...steps: readonly Step[]): Promise<acp.PromptResponse> {
  return editor.connection.agent.request(methods.session.prompt, { sessionId, prompt: [{ type: "text", text: script(text, ...steps) }] });
}

const of = (sessionId: string) => editor.updates.filter((one) => one.sessionId === sessionId).map(({ update }) => update);
/** Text that came in several pieces counts once. */
const kindsOf = (updates: readonly acp.SessionUpdate[]) =>
  updates.map(({ sessionUpdate }) => sessionUpdate).filter((kind, index, all) => kind !== all[index - 1]);
const isCommands = ({ sessionUpdate }: acp.SessionUpdate): boolean => sessionUpdate === "available_commands_update";
const textOf = (updates: readonly acp.SessionUpdate[]): string =>
  updates.map((one) => (one.sessionUpdate === "agent_message_chunk" && one.content.type === "text" ? one.content.text : "")).join("");

async function refusal(asked: Promise<unknown>): Promise<{ readonly code: number; readonly message: string }> {
  const error = await asked.then(
    () => assert.fail("it was answered"),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof acp.RequestError, String(error));
  return error;
}

const reads: readonly Step[] = [
  { call: [{ tool: "ls", args: {} }], say: "I look." } as Step,
  { call: [{ tool: "read", args: { path: "missing.txt" } }] },
  { say: "Nothing there." },
];

test("it says what it can, and needs no gateway for that", async () => {
  const { agentCapabilities, protocolVersion, agentInfo, authMethods } = await editor.connection.agent.request(methods.initialize, {
    protocolVersion: 1,
    clientCapabilities: {},
  });

  assert.deepEqual([protocolVersion, agentInfo?.name, authMethods], [1, "portreeve", []]);
  assert.deepEqual([agentCapabilities?.loadSession, agentCapabilities?.promptCapabilities?.image], [true, false]);
});

test("a prompt streams what the agent says and which tools it calls, and ends; loading it tells the same again", async () => {
  const sessionId = await newSession();
  const { stopReason } = await prompt(sessionId, "look", ...reads);
  const updates = of(sessionId).filter((one) => !isCommands(one));
  const before = of(sessionId).length;
  await editor.connection.agent.request(methods.session.load, { sessionId, cwd, mcpServers: [] });
  const loaded = of(sessionId)
    .slice(before)
    .filter((one) => !isCommands(one));
  const { sessions } = await editor.connection.agent.request(methods.session.list, {});

  const calls = updates.filter((one) => one.sessionUpdate === "tool_call");
  const results = updates.filter((one) => one.sessionUpdate === "tool_call_update");
  assert.equal(stopReason, "end_turn");
  assert.match(sessionId, /^agent:main:acp:/);
  assert.match(textOf(updates), /^I look\.Nothing there\./);
  const turns = ["agent_message_chunk", "tool_call", "tool_call_update", "tool_call", "tool_call_update", "agent_message_chunk"];
  assert.deepEqual([kindsOf(updates), kindsOf(loaded)], [turns, ["user_message_chunk", ...turns]]);
  assert.deepEqual(
    calls.map(({ title, kind }) => [title, kind]),
    [
      ["ls", "read"],
      ["read missing.txt", "read"],
    ],
  );
  assert.deepEqual(
    results.map(({ toolCallId, status }) => [toolCallId, status]),
    [
      [calls[0]?.toolCallId, "completed"],
      [calls[1]?.toolCallId, "failed"],
    ],
  );
  assert.equal(textOf(loaded), textOf(updates));
  assert.ok(sessions.some((one) => one.sessionId === sessionId));
});

test("a prompt that is cancelled ends as cancelled, and so does its run", async () => {
  const sessionId = await newSession();
  const answered = prompt(sessionId, "wait", { hang: true });
  await editor.update((one) => one.sessionId === sessionId && one.update.sessionUpdate === "agent_message_chunk");

  await editor.connection.agent.notify(methods.session.cancel, { sessionId });
  const { stopReason } = await answered;
  const runs = JSON.parse((await home.cli(["runs", "--session", sessionId, "--json"])).out) as { runs: { status: string }[] };

  assert.equal(stopReason, "cancelled");
  assert.deepEqual(
    runs.runs.map(({ status }) => status),
    ["cancelled"],
  );
});

test("a prompt that is cancelled in the same breath ends as cancelled, and a session is loaded by its short name too", async () => {
  const sessionId = await newSession();
  const answered = prompt(sessionId, "wait", { hang: true });
  await editor.connection.agent.notify(methods.session.cancel, { sessionId });
  await home.cli(["agent", "--session", "notes", "remember"]);
  await editor.connection.agent.request(methods.session.load, { sessionId: "notes", cwd, mcpServers: [] });
  const before = of("notes").length;

  const second = await editor.connection.agent.request(methods.session.prompt, {
    sessionId: "notes",
    prompt: [{ type: "text", text: "go" }],
  });

  assert.deepEqual([(await answered).stopReason, second.stopReason], ["cancelled", "end_turn"]);
  assert.ok(before > 0);
  assert.match(textOf(of("notes").slice(before)), /go/);
});

test("what a sub-agent brings after the prompt is told when it comes", async () => {
  const sessionId = await newSession();
  const steps: readonly Step[] = [{ call: [spawnStep("scout", { say: "x" })] }, { say: "It is under way." }, { say: "The scout is back." }];
  const { stopReason } = await prompt(sessionId, "delegate", ...steps);

  await editor.update(() => textOf(of(sessionId)).includes("scout is back."));

  assert.equal(stopReason, "end_turn");
  assert.match(textOf(of(sessionId)), /^It is under way\..*\n\nThe scout is back\./s);
});

test("what cannot be asked is refused by name, and the next request is answered", async () => {
  const sessionId = await newSession();
  const ask = (params: object) => refusal(editor.connection.agent.request("session/prompt", { sessionId, ...params }));
  const running = prompt(sessionId, "wait", { hang: true });
  await editor.update((one) => one.sessionId === sessionId && one.update.sessionUpdate === "agent_message_chunk");

  const refusals = [
    await ask({ prompt: [{ type: "text", text: "two" }] }),
    await ask({ prompt: [{ type: "image", data: "", mimeType: "image/png" }] }),
    await ask({ prompt: [] }),
    await ask({ sessionId: "agent:main:nobody", prompt: [{ type: "text", text: "x" }] }),
    await refusal(editor.connection.agent.request(methods.session.load, { sessionId: "agent:main:nobody", cwd, mcpServers: [] })),
    await refusal(editor.connection.agent.request("session/unheard_of", {})),
  ];
  await editor.connection.agent.request(methods.session.close, { sessionId });

  assert.deepEqual(
    refusals.map(({ code }) => code),
    [-32_600, -32_602, -32_602, -32_002, -32_002, -32_601],
  );
  assert.match(refusals[1]?.message ?? "", /image/);
  assert.equal((await running).stopReason, "cancelled");
});

test("files and links of the editor are told as text", async () => {
  const sessionId = await newSession();
  await editor.connection.agent.request(methods.session.prompt, {
    sessionId,
    prompt: [
      { type: "text", text: "compare" },
      { type: "resource", resource: { uri: "file:///a.txt", text: "alpha" } },
      { type: "resource_link", name: "b", uri: "file:///b.txt" },
    ],
  });

  const { out } = await home.cli(["call", "chat.history", JSON.stringify({ sessionKey: sessionId, limit: 2 })]);

  assert.match(out, /compare\\n\\n\[begin of file:\/\/\/a\.txt\]\\nalpha\\n\[end of file:\/\/\/a\.txt\]\\n\\n\[b\]\(file:\/\/\/b\.txt\)/);
});

test("a prompt with separators of lines and paragraphs arrives whole", async () => {
  const sessionId = await newSession();
  const text = "line one\u2028line two\u2029the end";

  const { stopReason } = await editor.connection.agent.request(methods.session.prompt, { sessionId, prompt: [{ type: "text", text }] });
  const { out } = await home.cli(["call", "chat.history", JSON.stringify({ sessionKey: sessionId, limit: 2 })]);

  assert.equal(stopReason, "end_turn");
  assert.match(out, /line one\\u2028line two\\u2029the end/);
});

test("a gateway that goes and comes back loses no prompt", async () => {
  const sessionId = await newSession();
  const answered = prompt(sessionId, "wait", { hang: true });
  await editor.update((one) => one.sessionId === sessionId && one.update.sessionUpdate === "agent_message_chunk");
  const { path } = home;
  const port = Number(new URL(home.gateway.url).port);

  await home.gateway[Symbol.asyncDispose]();
  const files = { configFile: join(path, "config.json5"), stateDir: join(path, "state"), workspaceDir: join(path, "workspace") };
  await using again = await runGateway({ ...files, port, env: {}, logLevel: "silent" });
  const asked = await newSession();
  await editor.connection.agent.notify(methods.session.cancel, { sessionId });

  assert.equal((await answered).stopReason, "cancelled");
  assert.notEqual(asked, sessionId);
  assert.equal(again.url, home.gateway.url);
});

test("nothing but the protocol is on standard output, and with the end of the input it ends", async () => {
  editor.child.stdin?.end();
  const [code] = (await once(editor.child, "exit")) as [number];

  const lines = editor.stdout().trim().split("\n");
  assert.equal(code, 0);
  assert.ok(lines.length > 10);
  for (const line of lines) assert.equal((JSON.parse(line) as { jsonrpc: string }).jsonrpc, "2.0");
  assert.match(editor.stderr(), /^portreeve: connected$/m);
});

test("a prompt whose gateway does not come back fails with what happened, and an agent that is not there is named", async () => {
  await using gw = await startGateway();
  const spoken = Promise.withResolvers<void>();
  const open = () =>
    GatewayClient.open({
      url: gw.url,
      client: { id: "cli", mode: "cli", version: "0", platform: "test" },
      present: () => ({ scopes: ["operator.write"], credential: { kind: "secret", value: gw.token } }),
    });
  const options = { open, log: () => undefined, version: "0", sessionKey: "one", patienceMs: 0 };
  const update = (_: string, { sessionUpdate }: acp.SessionUpdate): void =>
    sessionUpdate === "agent_message_chunk" ? spoken.resolve() : undefined;
  const agent = new AcpAgent({ ...options, update, agentId: undefined });
  const stranger = new AcpAgent({ ...options, update, agentId: "nobody" });
  await assert.rejects(stranger.request("session/new", {}), /unknown agent id "nobody"/);
  const { sessionId } = (await agent.request("session/new", {})) as acp.NewSessionResponse;
  const failed = agent.request("session/prompt", { sessionId, prompt: [{ type: "text", text: script("go", { hang: true }) }] });
  await spoken.promise;

  // It may fail before the gateway is all gone.
  const refused = assert.rejects(failed, { name: "ConnectionError", kind: "closed" });
  await gw.gateway[Symbol.asyncDispose]();
  await refused;

  await Promise.all([agent, stranger].map((one) => one.close()));
});

test("where no gateway answers, the editor hears so with the next step; lines that are no requests are answered, and kill nothing", async () => {
  const sent = ["{", "[]", '{"jsonrpc":"2.0","id":7,"method":5}', '{"jsonrpc":"2.0","method":"session/cancel","params":{}}', ""];
  const io = captureIo({ env: { PORTREEVE_HOME: join(home.path, "elsewhere"), PORTREEVE_URL: "ws://127.0.0.1:1" } });
  const answered = Promise.withResolvers<void>();
  async function* lines(): AsyncGenerator<string> {
    yield* sent;
    yield JSON.stringify({ jsonrpc: "2.0", id: 8, method: "session/new", params: { cwd, mcpServers: [] } });
    await answered.promise;
  }
  const out = (text: string): void => {
    io.out(text);
    if (text.includes('"id":8')) answered.resolve();
  };

  const code = await run(["acp"], { ...io, lines, out });

  const answers = io.stdout.trim().split("\n");
  const told = answers.map((line) => JSON.parse(line) as { id: unknown; error: { code: number; message: string } });
  assert.equal(code, 0);
  assert.deepEqual(
    told.map(({ id, error }) => [id, error.code]),
    [
      [null, -32_700],
      [null, -32_600],
      [7, -32_600],
      [8, -32_603],
    ],
  );
  assert.match(told[3]?.error.message ?? "", /No gateway answers at ws:\/\/127\.0\.0\.1:1\..*portreeve gateway run/s);
  assert.match(io.stderr, /No gateway answers/);
});
