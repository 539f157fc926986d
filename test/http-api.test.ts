/** Programs over HTTP: what clients of OpenAI's API send is one durable run, answered in their words; a tool is called without one. */
import assert from "node:assert/strict";
import { request as httpRequest } from "node:http";
import test, { after, before } from "node:test";
import type { AgentEvent, Scope } from "@portreeve/protocol";
import { z } from "zod";
import { defineTool } from "../packages/gateway/src/tools/tool.ts";
import { startFakeOpenAi } from "./support/fake-openai.ts";
import { gate } from "./support/gate-tool.ts";
import { script, type Step } from "./support/script.ts";
import { startGateway, type TestGateway, writeWorkspaceFile } from "./support/start-gateway.ts";

const chat = "/v1/chat/completions";
const held = gate();
let gw: TestGateway;

before(async () => {
  const ownerOnly = defineTool({
    name: "owner_only",
    description: "For the owner's runs.",
    parameters: z.strictObject({}),
    repeat: "safe",
    ownerOnly: true,
    withoutRun: true,
    execute: () => Promise.resolve({ text: "done" }),
  });
  const entries = { main: {}, ops: { tools: { deny: ["read"] } } };
  gw = await startGateway({ tools: [held.tool, ownerOnly], config: { agents: { entries } } });
});
after(() => gw[Symbol.asyncDispose]());

interface Sent {
  readonly bearer?: string;
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

function post(body: object | string, { bearer = gw.token, path = chat, headers = {}, signal }: Sent = {}): Promise<Response> {
  return fetch(gw.url.replace(/^ws/, "http") + path, {
    method: "POST",
    headers: { authorization: `Bearer ${bearer}`, "content-type": "application/json", ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body),
    ...(signal === undefined ? {} : { signal }),
  });
}

const asked = (content: string, more: object = {}) => ({ model: "openclaw", messages: [{ role: "user", content }], ...more });
const scripted = (...steps: readonly Step[]) => asked(script("go", ...steps));

interface Completion {
  readonly id: string;
  readonly object: string;
  readonly model: string;
  readonly choices: readonly { readonly message: { readonly content: string }; readonly finish_reason: string }[];
  readonly usage: Readonly<Record<string, unknown>>;
}

interface Chunk {
  readonly object: string;
  readonly choices: readonly {
    readonly delta: { readonly role?: string; readonly content?: string };
    readonly finish_reason: string | null;
  }[];
  readonly usage?: Readonly<Record<string, unknown>> | null;
  readonly error?: Readonly<Record<string, unknown>>;
}

interface Refusal {
  readonly error: { readonly message: string; readonly type: string; readonly param: string | null; readonly code: string };
}

const answer = async (response: Response): Promise<Completion> => (await response.json()) as Completion;
const refusal = async (response: Response): Promise<Refusal["error"]> => ((await response.json()) as Refusal).error;

/** What the events of an answer hold, until it ends. */
async function readEvents(response: Response): Promise<{ readonly chunks: readonly Chunk[]; readonly isDone: boolean }> {
  const data = [...(await response.text()).matchAll(/^data: (.*)$/gm)].map(([, json = ""]) => json);
  const isDone = data.at(-1) === "[DONE]";
  return { isDone, chunks: data.slice(0, isDone ? -1 : undefined).map((json) => JSON.parse(json) as Chunk) };
}

function textOf(chunks: readonly Chunk[]): string {
  return chunks.flatMap(({ choices }) => choices.map(({ delta }) => delta.content ?? "")).join("");
}

/** Resolves with the first event of a run that fits. */
function heard(fits: (event: AgentEvent) => boolean): Promise<AgentEvent> {
  const { promise, resolve } = Promise.withResolvers<AgentEvent>();
  const subscription = gw.gateway.bus.subscribe("agent", (event) => {
    if (!fits(event)) return;
    subscription[Symbol.dispose]();
    resolve(event);
  });
  return promise;
}

const speaks = (): Promise<AgentEvent> => heard(({ stream }) => stream === "assistant");
const ends = (runId?: string): Promise<AgentEvent> =>
  heard((event) => event.stream === "lifecycle" && event.data.phase === "end" && (runId === undefined || event.runId === runId));
const statusOf = async (runId: string) => (await gw.gateway.store.runs.findByWireId(runId, {}))?.status;

let names = 0;
async function issue(...scopes: readonly Scope[]) {
  names += 1;
  return await gw.callerWith("operator.admin").call("device.token.issue", { label: `program ${names}`, scopes: [...scopes] });
}

test("a request is one durable run, answered whole with its usage, and never the owner's, whatever the bearer holds", async () => {
  const { token: admin } = await issue("operator.admin");

  const bySecret = await post(asked(script("hello", { say: "hi there" })));
  const byAdmin = await post(asked(script("hello", { say: "hi there" })), { bearer: admin });
  const completion = await answer(bySecret);
  const runs = await Promise.all([completion, await answer(byAdmin)].map(({ id }) => gw.gateway.store.runs.findByWireId(id, {})));

  const [choice] = completion.choices;
  assert.deepEqual([bySecret.status, completion.object, completion.model], [200, "chat.completion", "openclaw"]);
  assert.match(completion.id, /^chatcmpl_[0-9a-f-]{36}$/);
  assert.match(choice?.message.content ?? "", /^hi there/);
  assert.equal(choice?.finish_reason, "stop");
  const { input = 0, output = 0, totalTokens = 0 } = runs[0]?.usage ?? {};
  assert.ok(input > 0 && output > 0);
  assert.deepEqual(
    [completion.usage["prompt_tokens"], completion.usage["completion_tokens"], completion.usage["total_tokens"]],
    [input, output, totalTokens],
  );
  assert.deepEqual(
    runs.map((run) => [run?.status, run?.authority.owner, run?.authority.scopes]),
    [
      ["succeeded", false, ["operator.write"]],
      ["succeeded", false, ["operator.write"]],
    ],
  );
});

test("a streamed answer comes as the agent speaks, over tools, ends with a stop, and counts its tokens when asked to", async () => {
  const steps: readonly Step[] = [{ call: [{ tool: "gate", args: {} }], say: "first" } as Step, { say: "second" }];
  const response = await post({ ...scripted(...steps), stream: true, stream_options: { include_usage: true } });
  const [live, copy] = response.body?.tee() ?? [];
  let early = "";
  for await (const part of live?.pipeThrough(new TextDecoderStream()) ?? []) {
    early += part;
    if (early.includes("first")) break;
  }
  const statusWhileOpen = (await gw.callerWith("operator.read").call("runs.list", { status: ["running"] })).runs.length;
  held.open();
  const { chunks, isDone } = await readEvents(new Response(copy));

  assert.equal(response.headers.get("content-type"), "text/event-stream; charset=utf-8");
  assert.equal(statusWhileOpen, 1);
  assert.doesNotMatch(early, /second/);
  assert.match(textOf(chunks), /^first\n\nsecond/);
  assert.deepEqual(chunks[0]?.choices[0]?.delta, { role: "assistant", content: "", refusal: null });
  assert.deepEqual([chunks.at(-2)?.choices[0]?.finish_reason, chunks.at(-1)?.choices, isDone], ["stop", [], true]);
  assert.ok(chunks.slice(0, -1).every(({ usage, object }) => usage === null && object === "chat.completion.chunk"));
  assert.ok(Number(chunks.at(-1)?.usage?.["total_tokens"]) > 0);
});

test("without being asked to, no chunk counts tokens", async () => {
  const { chunks, isDone } = await readEvents(await post({ ...scripted({ say: "x" }), stream: true }));

  assert.ok(isDone && chunks.length >= 3);
  assert.ok(chunks.every((chunk) => !("usage" in chunk)));
});

for (const stream of [false, true]) {
  test(`whoever leaves ${stream ? "a streamed" : "an"} answer stops its run`, async () => {
    const leaving = new AbortController();
    const [speaking, ended] = [speaks(), ends()];
    const left = post({ ...scripted({ hang: true }), stream }, { signal: leaving.signal }).then((response) => response.text());
    const { runId } = await speaking;

    leaving.abort();
    await assert.rejects(left);
    await ended;

    assert.equal(await statusOf(runId), "cancelled");
    assert.deepEqual(
      gw.logLines.filter(({ level }) => level === "error"),
      [],
    );
  });
}

test("with a key to repeat it by, a request may be left and asked again: one run, one answer", async () => {
  const leaving = new AbortController();
  const waits = gate();
  await using other = await startGateway({ tools: [waits.tool] });
  const url = other.url.replace(/^ws/, "http") + chat;
  const headers = { authorization: `Bearer ${other.token}`, "idempotency-key": "again" };
  const body = JSON.stringify(scripted({ call: [{ tool: "gate", args: {} }] }, { say: "done" }));
  const send = (sent: object = {}): Promise<Response> => fetch(url, { method: "POST", headers, body, ...sent });

  const left = send({ signal: leaving.signal });
  await waits.entered;
  leaving.abort();
  await assert.rejects(left);
  const again = send();
  waits.open();
  const replies = [await answer(await again), await answer(await send())];
  const changed = await send({ body: JSON.stringify(asked("something else")) });

  assert.deepEqual(
    replies.map(({ choices }) => choices[0]?.message.content.startsWith("done")),
    [true, true],
  );
  assert.equal((await other.callerWith("operator.read").call("runs.list", {})).runs.length, 1);
  assert.deepEqual([changed.status, (await refusal(changed)).code], [400, "IDEMPOTENCY_MISMATCH"]);
});

test("a header, a session id or a user keeps to one session; without any, each request has its own", async () => {
  const historyOf = async (sessionKey: string) => (await gw.callerWith("operator.read").call("chat.history", { sessionKey })).totalMessages;
  const say = script("x", { say: "y" });
  const keys: (string | null)[] = [];
  const send = async (more: object, headers: Record<string, string> = {}): Promise<void> => {
    const response = await post(asked(say, more), { headers });
    await response.text();
    keys.push(response.headers.get("x-openclaw-session-key"));
  };

  await send({ session_id: "ignored", max_tokens: 4096 }, { "x-openclaw-session-key": "mcp-1" });
  await send({ session_id: "MCP-1" });
  await send({ user: "ada" });
  await send({ user: "ada" });
  await send({ model: "openclaw/ops" });
  await send({});

  assert.deepEqual(keys.slice(0, 2), ["agent:main:mcp-1", "agent:main:mcp-1"]);
  assert.equal(keys[2], keys[3]);
  assert.match(keys[4] ?? "", /^agent:ops:openai:[0-9a-f-]{36}$/);
  assert.equal(new Set(keys).size, 4);
  assert.deepEqual([await historyOf("mcp-1"), await historyOf(keys[2] ?? ""), await historyOf(keys[5] ?? "")], [4, 4, 2]);
});

test("what is wrong with a request is said in these clients' words, and starts nothing", async () => {
  const before = (await gw.callerWith("operator.read").call("runs.list", {})).runs.length;
  const cases: readonly (readonly [
    body: object | string,
    headers: Record<string, string>,
    status: number,
    code: string,
    param: string | null,
  ])[] = [
    ["{", {}, 400, "INVALID_PARAMS", null],
    [{ model: "health-check", messages: [], max_tokens: 1 }, {}, 400, "INVALID_PARAMS", "model"],
    [asked("hi", { model: "openclaw/nobody" }), {}, 404, "model_not_found", null],
    [asked("hi"), { "x-openclaw-agent-id": "nobody" }, 404, "model_not_found", null],
    [asked("hi", { model: "openclaw/ops" }), { "x-openclaw-session-key": "agent:main:main" }, 400, "INVALID_PARAMS", null],
    [asked("hi", { tools: [{ type: "function" }] }), {}, 400, "NOT_SUPPORTED", "tools"],
    [asked("hi"), { "x-openclaw-message-channel": "whatsapp" }, 400, "NOT_SUPPORTED", "x-openclaw-message-channel"],
    [asked("/reset"), {}, 400, "NOT_SUPPORTED", null],
    [asked("x".repeat(1_000_001)), {}, 400, "INVALID_PARAMS", null],
    [asked("hi"), { "idempotency-key": "run_1" }, 400, "INVALID_PARAMS", null],
    [asked("hi"), { "x-openclaw-scopes": "operator.read" }, 403, "MISSING_SCOPE", null],
  ];

  for (const [body, headers, status, code, param] of cases) {
    const response = await post(body, { headers });
    const error = await refusal(response);
    assert.deepEqual([response.status, error.code, error.param], [status, code, param], JSON.stringify(body).slice(0, 200));
    assert.ok(error.message.length > 0 && error.type.length > 0);
  }
  const ignored = await post({ ...scripted({ say: "x" }), temperature: 0.1, max_tokens: 5 });
  await ignored.text();
  const after = (await gw.callerWith("operator.read").call("runs.list", {})).runs.length;

  assert.equal(ignored.headers.get("x-portreeve-ignored"), "temperature, max_tokens");
  assert.equal(after, before + 1);
});

test("a body beyond the bound is refused before it is read", async () => {
  const { promise, resolve, reject } = Promise.withResolvers<number | undefined>();
  const headers = { authorization: `Bearer ${gw.token}`, "content-length": "8388609" };
  const sent = httpRequest(gw.url.replace(/^ws/, "http") + chat, { method: "POST", headers }, (response) =>
    resolve(response.resume().statusCode),
  );
  sent.on("error", reject).flushHeaders();

  assert.equal(await promise, 413);
  sent.destroy();
});

test("a run that fails is no answer: whole it has a status that is not asked again, streamed an error and no end", async () => {
  const failing = scripted({ fail: { kind: "refused", retryable: false } });

  const whole = await post(failing);
  const streamed = await readEvents(await post({ ...failing, stream: true }));

  assert.deepEqual([whole.status, whole.headers.get("x-should-retry"), (await refusal(whole)).code], [500, "false", "RUN_FAILED"]);
  assert.deepEqual([streamed.isDone, streamed.chunks.at(-1)?.error?.["code"]], [false, "RUN_FAILED"]);
  assert.ok(streamed.chunks.every(({ choices }) => choices === undefined || choices[0]?.finish_reason === null));
});

test("a run that is stopped elsewhere is no answer either", async () => {
  const speaking = speaks();
  const replying = post(scripted({ hang: true }));
  const { runId, sessionKey } = await speaking;

  await gw.callerWith("operator.write").call("chat.abort", { sessionKey, runId });
  const response = await replying;

  assert.deepEqual([response.status, (await refusal(response)).message], [500, "the run was cancelled"]);
});

test("when a bearer ends, its answer breaks off and its run stops", async () => {
  const { token, deviceId } = await issue("operator.write");
  const [speaking, ended] = [speaks(), ends()];
  const response = await post({ ...scripted({ hang: true }), stream: true }, { bearer: token });
  const { runId } = await speaking;

  await gw.callerWith("operator.admin").call("device.pair.remove", { deviceId });
  await assert.rejects(response.text());
  await ended;

  assert.equal(await statusOf(runId), "cancelled");
});

test("a reply that is long, cut by its length and partly cached is told so, and comes whole however it is asked for", async () => {
  const text = "0123456789abcde\n".repeat(65_536);
  const pieces = text.match(/.{16384}/gs) ?? [];
  const usage = { input: 100, output: 7, cached: 60 };
  const steps = [...pieces.map((piece) => ({ text: piece })), { finish: "length" as const, usage }];
  await using provider = await startFakeOpenAi({ handler: () => ({ steps }) });
  const fake = { api: "openai-compatible", baseUrl: provider.baseUrl, apiKey: "none" };
  await using other = await startGateway({ config: { models: { providers: { fake } }, agents: { defaults: { model: "fake/test" } } } });
  const send = (more: object): Promise<Response> =>
    fetch(other.url.replace(/^ws/, "http") + chat, {
      method: "POST",
      headers: { authorization: `Bearer ${other.token}` },
      body: JSON.stringify(asked("hi", more)),
    });

  const whole = await answer(await send({}));
  const { chunks } = await readEvents(await send({ stream: true, stream_options: { include_usage: true } }));

  const counted = { prompt_tokens: 100, completion_tokens: 7, total_tokens: 107, prompt_tokens_details: { cached_tokens: 60 } };
  assert.ok(whole.choices[0]?.message.content === text && textOf(chunks) === text);
  assert.deepEqual([whole.choices[0].finish_reason, chunks.at(-2)?.choices[0]?.finish_reason], ["length", "length"]);
  assert.deepEqual([whole.usage, chunks.at(-1)?.usage], [counted, counted]);
});

interface NewerResponse {
  readonly id: string;
  readonly status: string;
  readonly output: readonly { readonly content: readonly { readonly text: string }[] }[];
  readonly usage: Readonly<Record<string, number>> | null;
  readonly error: Readonly<Record<string, unknown>> | null;
}

const responses = { path: "/v1/responses" };
const responseTo = (...steps: readonly Step[]) => ({ model: "openclaw", instructions: "be brief", input: script("go", ...steps) });

interface NamedEvent {
  readonly type: string;
  readonly sequence_number: number;
  readonly delta?: string;
  readonly response?: NewerResponse;
}

async function readNamedEvents(response: Response): Promise<{ readonly events: readonly NamedEvent[]; readonly isDone: boolean }> {
  const found = [...(await response.text()).matchAll(/^event: (.*)\ndata: (.*)$/gm)];
  const events = found.map(([, name, json = ""]) => {
    const event = JSON.parse(json) as NamedEvent;
    assert.equal(event.type, name);
    return event;
  });
  return { events, isDone: events.at(-1)?.type === "response.completed" };
}

test("the newer API answers from one run too, whole with its usage, and streamed in its own events", async () => {
  const whole = (await (await post(responseTo({ say: "hi there" }), responses)).json()) as NewerResponse;
  const { events, isDone } = await readNamedEvents(await post({ ...responseTo({ say: "hi there" }), stream: true }, responses));
  const run = await gw.gateway.store.runs.findByWireId(whole.id, {});

  const deltas = events.filter(({ type }) => type === "response.output_text.delta").map(({ delta = "" }) => delta);
  const { usage: counted, output } = events.at(-1)?.response ?? assert.fail();
  assert.deepEqual([whole.status, whole.usage?.["total_tokens"], whole.error], ["completed", run?.usage.totalTokens, null]);
  assert.match(run?.input ?? "", /^\[Instructions\]\nbe brief\n\n\[Message\]\ngo\n/);
  assert.match(whole.output[0]?.content[0]?.text ?? "", /^hi there/);
  assert.deepEqual(
    [deltas.join(""), output[0]?.content[0]?.text, isDone],
    [whole.output[0]?.content[0]?.text, whole.output[0]?.content[0]?.text, true],
  );
  assert.ok(Number(counted?.["output_tokens"]) > 0);
  assert.deepEqual(
    events.map(({ sequence_number: number }) => number),
    events.map((_, index) => index),
  );
  assert.deepEqual(
    events.map(({ type }) => type).filter((type) => type !== "response.output_text.delta"),
    [
      "response.created",
      "response.in_progress",
      "response.output_item.added",
      "response.content_part.added",
      "response.output_text.done",
      "response.content_part.done",
      "response.output_item.done",
      "response.completed",
    ],
  );
});

test("the newer API refuses by name what it cannot honour, and a run that fails streams a failed response", async () => {
  const input = { model: "openclaw", input: "hi" };
  const cases: readonly (readonly [body: object, param: string])[] = [
    [{ ...input, previous_response_id: "resp_1" }, "previous_response_id"],
    [{ ...input, tools: [{ type: "web_search" }] }, "tools"],
    [{ ...input, background: true }, "background"],
    [{ ...input, input: " " }, "input"],
    [{ ...input, input: [{ type: "function_call_output", call_id: "1", output: "x" }] }, "input[0].type 'function_call_output'"],
    [{ ...input, input: [{ role: "user", content: [{ type: "input_image", image_url: "x" }] }] }, "input[0].content[0].input_image"],
    [{ ...input, input: [{ content: "x" }] }, "input[0].role"],
    [{ ...input, text: { format: { type: "json_schema" } } }, "text.format.type"],
    [{ ...input, lane: "x" }, "lane"],
  ];

  for (const [body, param] of cases) {
    const response = await post(body, responses);
    assert.deepEqual([response.status, (await refusal(response)).param], [400, param], JSON.stringify(body));
  }
  const failing = { ...responseTo({ fail: { kind: "refused", retryable: false } }), stream: true };
  const { events, isDone } = await readNamedEvents(await post(failing, responses));

  const last = events.at(-1);
  assert.deepEqual(
    [isDone, last?.type, last?.response?.status, last?.response?.error?.["code"]],
    [false, "response.failed", "failed", "RUN_FAILED"],
  );
});

test("what was said is told in parts and in turns to the newer API as well", async () => {
  const input = [
    { role: "user", content: "one?" },
    { type: "message", role: "assistant", content: [{ type: "output_text", text: "1" }] },
    { role: "user", content: [{ type: "input_text", text: script("two?", { say: "2" }) }] },
  ];

  const { id } = (await (await post({ model: "openclaw", input }, responses)).json()) as NewerResponse;
  const run = await gw.gateway.store.runs.findByWireId(id, {});

  assert.match(run?.input ?? "", /^\[Conversation so far\]\nUser: one\?\n\nAssistant: 1\n\n\[Message\]\ntwo\?\n/);
});

test("a tool that only looks is called without a run, within the agent's policy, and every other is not there", async () => {
  const invoke = async (body: object, sent: Sent = {}) => {
    const response = await post(body, { path: "/tools/invoke", ...sent });
    return { status: response.status, body: (await response.json()) as { ok: boolean; result?: object; error?: Record<string, unknown> } };
  };
  await writeWorkspaceFile(gw, "note.txt", "remember");
  const { token: admin } = await issue("operator.admin");
  const before = (await gw.callerWith("operator.read").call("runs.list", {})).runs.length;

  const read = await invoke({ tool: "read", action: "json", args: { path: "note.txt" } });
  const listed = await invoke({ name: "sessions_list" });
  const outside = await invoke({ tool: "read", args: { path: "../state/secret" } });
  const denied = await invoke({ tool: "read", agentId: "ops", args: { path: "note.txt" } });
  const unavailable = ["sessions_spawn", "sessions_send", "subagents", "exec", "__proto__", "owner_only"];
  const refused = await Promise.all(unavailable.map((tool) => invoke({ tool }, { bearer: admin })));
  const bad = [
    await invoke({}),
    await invoke({ tool: "read", args: { nothing: 1 } }),
    await invoke({ tool: "read", dryRun: true }),
    await invoke({ tool: "read", agentId: "nobody" }),
    await invoke({ tool: "read" }, { headers: { "x-openclaw-scopes": "operator.read" } }),
  ];

  assert.deepEqual([read.status, read.body], [200, { ok: true, result: { content: [{ type: "text", text: "remember" }] } }]);
  assert.equal(listed.status, 200);
  assert.deepEqual([outside.status, outside.body.error?.["type"]], [400, "tool_error"]);
  assert.doesNotMatch(JSON.stringify(outside), new RegExp(gw.token));
  assert.deepEqual([denied.status, denied.body.error?.["message"]], [404, "Tool not available: read"]);
  assert.deepEqual(
    refused.map(({ status, body }) => [status, body.error?.["message"]]),
    unavailable.map((tool) => [404, `Tool not available: ${tool}`]),
  );
  assert.deepEqual(
    bad.map(({ status }) => status),
    [400, 400, 400, 404, 403],
  );
  assert.equal((await gw.callerWith("operator.read").call("runs.list", {})).runs.length, before);
});

test("in a session that was narrowed a tool is called within its limits", async () => {
  const caller = gw.callerWith("operator.write");
  const spawn = { tool: "sessions_spawn", args: { label: "narrow", task: script("do", { say: "done" }), tools: ["ls"] } };
  await caller.call("agent", {
    message: script("go", { call: [spawn] }, { awaitChildren: true }, { say: "x" }),
    idempotencyKey: "narrowing",
  });
  const child = (await caller.call("runs.tree", { runId: "narrowing" })).runs.find(({ label }) => label === "narrow") ?? assert.fail();
  const place = { sessionKey: child.sessionKey };

  const ls = await caller.call("tools.invoke", { name: "ls", ...place });

  assert.equal(ls.ok, true);
  await assert.rejects(caller.call("tools.invoke", { name: "read", args: { path: "note.txt" }, ...place }), /Tool not available: read/);
});

test("a gateway that stops says so in the answer, and its run goes on with the next one", async () => {
  const speaking = speaks();
  const response = await post({ ...scripted({ hang: true }), stream: true });
  const { runId } = await speaking;

  await gw.restart();
  const { chunks, isDone } = await readEvents(response);

  assert.deepEqual([isDone, chunks.at(-1)?.error?.["code"], await statusOf(runId)], [false, "SHUTTING_DOWN", "running"]);
});
