import assert from "node:assert/strict";
import { test } from "node:test";
import { callTools, say, startFakeOpenAi, type FakeOpenAi, type FakeReply } from "../../../../test/support/fake-openai.ts";
import type { Clock } from "../kit/clock.ts";
import { Secret } from "../kit/secret.ts";
import { failureOf, joinText, modelContract, readAll, requestOf, userSays, type ModelUnderTest } from "./model-contract.ts";
import type { Model, ModelError, ModelMessage } from "./model.ts";
import { createModels } from "./registry.ts";

const key = "sk-test-0123456789";
const never = new Promise<never>(() => {});

async function openModel(provider: FakeOpenAi, clock?: Clock): Promise<Model> {
  const models = createModels({
    providers: { local: { api: "openai-compatible", baseUrl: provider.baseUrl, apiKey: new Secret(key) } },
    defaultModel: undefined,
    env: {},
    ...(clock === undefined ? {} : { clock }),
  });
  return await models.get("local/qwen3");
}

async function answering(reply: FakeReply): Promise<ModelUnderTest> {
  const provider = await startFakeOpenAi();
  provider.enqueue(reply);
  return { model: await openModel(provider), messages: [userSays("go")], [Symbol.asyncDispose]: () => provider[Symbol.asyncDispose]() };
}

async function failureWith(reply: FakeReply, clock?: Clock): Promise<ModelError> {
  await using provider = await startFakeOpenAi();
  provider.enqueue(reply);
  const model = await openModel(provider, clock);
  return await failureOf(model.stream(requestOf([userSays("go")])));
}

modelContract("openai-compatible", {
  text: () => answering(say("one two three four")),
  toolCalls: () => answering(callTools({ id: "a1", name: "look", args: { at: "a" } }, { id: "b2", name: "look", args: { at: "b" } })),
  hang: () => answering({ steps: [{ text: "wait " }, { hold: never }] }),
  failure: () => answering({ status: 503 }),
});

test("the request carries model, key, system text, tools and the wish for usage", async () => {
  await using provider = await startFakeOpenAi();
  provider.enqueue(say("ok"));
  const model = await openModel(provider);

  await readAll(model.stream(requestOf([userSays("go")])));

  const { path, headers, body } = await provider.request(0);
  assert.equal(path, "/v1/chat/completions");
  assert.equal(headers.authorization, `Bearer ${key}`);
  assert.equal(body.model, "qwen3");
  assert.deepEqual(body.stream_options, { include_usage: true });
  assert.deepEqual(
    body.messages?.map(({ role, content }) => [role, content]),
    [
      ["system", "You are a test."],
      ["user", "go"],
    ],
  );
  assert.deepEqual(
    body.tools?.map((tool) => tool.function.name),
    ["look"],
  );
});

test("an event without end is a failure of the provider that is not tried again", async () => {
  const { kind, retryable } = await failureWith({ steps: [{ text: "x".repeat(9_000_000) }] });

  assert.deepEqual([kind, retryable], ["incomplete", false]);
});

test("tool calls and their results go back to the provider, also calls whose arguments were not JSON", async () => {
  await using provider = await startFakeOpenAi();
  provider.enqueue(say("ok"));
  const model = await openModel(provider);
  const messages: readonly ModelMessage[] = [
    userSays("go"),
    {
      role: "assistant",
      content: [
        { type: "text", text: "Let me look." },
        { type: "toolCall", id: "a1", name: "look", arguments: { at: "a" } },
        { type: "toolCall", id: "b2", name: "look", arguments: "{oops" },
      ],
    },
    { role: "toolResult", content: [{ type: "toolResult", toolCallId: "a1", toolName: "look", text: "a door", isError: false }] },
    { role: "toolResult", content: [{ type: "toolResult", toolCallId: "b2", toolName: "look", text: "not valid", isError: true }] },
    { role: "assistant", content: [] },
  ];

  await readAll(model.stream(requestOf(messages)));

  const sent = (await provider.request(0)).body.messages ?? [];
  assert.deepEqual(
    sent.map((message) => message.role),
    ["system", "user", "assistant", "tool", "tool"],
  );
  assert.deepEqual(
    sent[2]?.tool_calls?.map((call) => [call.id, JSON.parse(call.function.arguments)]),
    [
      ["a1", { at: "a" }],
      ["b2", { invalid: "{oops" }],
    ],
  );
  assert.deepEqual(
    sent.slice(3).map((message) => [message.tool_call_id, message.content]),
    [
      ["a1", "a door"],
      ["b2", "not valid"],
    ],
  );
});

test("usage is what the provider counted", async () => {
  await using ready = await answering(say("ok", { input: 11, output: 7 }));

  const events = await readAll(ready.model.stream(requestOf(ready.messages)));

  assert.deepEqual(events.at(-1), { type: "finish", reason: "stop", usage: { input: 11, output: 7, totalTokens: 18 } });
});

test("what the provider's cache held is counted apart", async () => {
  await using ready = await answering(say("ok", { input: 11, output: 7, cached: 8 }));

  const events = await readAll(ready.model.stream(requestOf(ready.messages)));

  const usage = { input: 3, output: 7, cacheRead: 8, cacheWrite: 0, totalTokens: 18 };
  assert.deepEqual(events.at(-1), { type: "finish", reason: "stop", usage });
});

test("no count that cannot be is believed", async () => {
  const most = 1_000_000_000;
  for (const [counted, usage] of [
    [
      { input: Number.MAX_SAFE_INTEGER, output: 1e300 },
      { input: most, output: most, totalTokens: 2 * most },
    ],
    [
      { input: -5, output: 2.4 },
      { input: 0, output: 2, totalTokens: 2 },
    ],
  ] as const) {
    await using ready = await answering(say("ok", counted));

    const events = await readAll(ready.model.stream(requestOf(ready.messages)));

    assert.deepEqual(events.at(-1), { type: "finish", reason: "stop", usage });
  }
});

test("a provider that counts nothing leaves the usage at nothing", async () => {
  await using ready = await answering({ steps: [{ text: "ok" }, { finish: "stop" }] });

  const events = await readAll(ready.model.stream(requestOf(ready.messages)));

  assert.deepEqual(events.at(-1), { type: "finish", reason: "stop", usage: { input: 0, output: 0, totalTokens: 0 } });
});

for (const { pieces, expected } of [
  { pieces: ['{"at"', ":", '"é☃"}'], expected: { at: "é☃" } },
  { pieces: [""], expected: {} },
  { pieces: ['{"at": '], expected: '{"at": ' },
]) {
  test(`tool arguments that come as ${JSON.stringify(pieces)} are read as ${JSON.stringify(expected)}`, async () => {
    await using ready = await answering({
      steps: [{ toolCall: { id: "a1", name: "look", argumentPieces: pieces } }, { finish: "tool_calls" }],
    });

    const events = await readAll(ready.model.stream(requestOf(ready.messages)));

    assert.deepEqual(events[0], { type: "tool-call", call: { id: "a1", name: "look", arguments: expected } });
  });
}

test("the calls decide what a reply with tool calls is, where a server says stop", async () => {
  await using ready = await answering({ steps: [{ toolCall: { id: "a1", name: "look", argumentPieces: ["{}"] } }, { finish: "stop" }] });

  const events = await readAll(ready.model.stream(requestOf(ready.messages)));

  assert.deepEqual(events.at(-1), { type: "finish", reason: "tool-calls", usage: { input: 0, output: 0, totalTokens: 0 } });
});

for (const [wire, reason] of [
  ["length", "length"],
  ["content_filter", "content-filter"],
] as const) {
  test(`a reply that ends with ${wire} says so`, async () => {
    await using ready = await answering({ steps: [{ text: "half" }, { finish: wire }] });

    const events = await readAll(ready.model.stream(requestOf(ready.messages)));

    assert.deepEqual(events.at(-1), { type: "finish", reason, usage: { input: 0, output: 0, totalTokens: 0 } });
  });
}

const atNoon: Clock = { now: () => Date.parse("2026-01-01T12:00:00Z"), schedule: () => ({ [Symbol.dispose]: () => {} }) };

for (const { status, headers, body, kind, retryable, retryAfterMs } of [
  { status: 429, headers: { "retry-after": "7" }, kind: "rate_limit", retryable: true, retryAfterMs: 7_000 },
  { status: 429, headers: { "retry-after": "Thu, 01 Jan 2026 12:00:30 GMT" }, kind: "rate_limit", retryable: true, retryAfterMs: 30_000 },
  { status: 429, headers: { "retry-after": "Thu, 01 Jan 2026 11:00:00 GMT" }, kind: "rate_limit", retryable: true, retryAfterMs: 0 },
  { status: 429, headers: { "retry-after-ms": "250", "retry-after": "7" }, kind: "rate_limit", retryable: true, retryAfterMs: 250 },
  { status: 429, headers: { "retry-after": "9".repeat(400) }, kind: "rate_limit", retryable: true, retryAfterMs: 31_536_000_000 },
  { status: 429, headers: { "retry-after": "soon" }, kind: "rate_limit", retryable: true },
  { status: 429, body: { error: { message: "no money", code: "insufficient_quota" } }, kind: "rate_limit", retryable: false },
  { status: 500, headers: { "retry-after": "1.5" }, kind: "overloaded", retryable: true, retryAfterMs: 1_500 },
  { status: 503, kind: "overloaded", retryable: true },
  { status: 529, kind: "overloaded", retryable: true },
  { status: 408, kind: "overloaded", retryable: true },
  { status: 401, kind: "auth", retryable: false },
  { status: 403, kind: "auth", retryable: false },
  { status: 404, kind: "unusable", retryable: false },
  { status: 413, kind: "context_length", retryable: false },
  {
    status: 400,
    body: { error: { message: "This model's maximum context length is 8192 tokens", code: "context_length_exceeded" } },
    kind: "context_length",
    retryable: false,
  },
  { status: 400, body: { error: { message: "The response was filtered", code: "content_filter" } }, kind: "refused", retryable: false },
  { status: 400, body: { error: { message: "API key not valid. Please pass a valid API key." } }, kind: "auth", retryable: false },
  { status: 400, body: { error: { message: "tools: unexpected" } }, kind: "unknown", retryable: false },
] satisfies readonly (Extract<FakeReply, { status: number }> & { kind: ModelError["kind"]; retryable: boolean; retryAfterMs?: number })[]) {
  const more = JSON.stringify({ ...headers, ...body });
  test(`HTTP ${status} ${more} is ${kind}, ${retryable ? "worth a retry" : "final"}`, async () => {
    const error = await failureWith(
      { status, ...(headers === undefined ? {} : { headers }), ...(body === undefined ? {} : { body }) },
      atNoon,
    );

    assert.deepEqual([error.kind, error.retryable, error.retryAfterMs, error.httpStatus], [kind, retryable, retryAfterMs, status]);
  });
}

test("one call is one request, also when it fails in a way that is worth a retry", async () => {
  await using provider = await startFakeOpenAi({ handler: () => ({ status: 503 }) });
  const model = await openModel(provider);

  await failureOf(model.stream(requestOf([userSays("go")])));

  assert.equal(provider.requests.length, 1);
});

test("a refused key is named by its place and shown nowhere", async () => {
  const error = await failureWith({ status: 401, body: { error: { message: `Incorrect API key provided: ${key}.` } } });

  assert.match(error.message, /^local refused the key \(HTTP 401\): .*check models\.providers\.local\.apiKey$/);
  assert.ok(
    !Reflect.ownKeys(error)
      .map((name) => String(Reflect.get(error, name)))
      .join(" ")
      .includes(key),
  );
  assert.equal(error.cause, undefined);
});

test("a stream that is cut in the middle is a network failure after the text that came", async () => {
  await using ready = await answering({ steps: [{ text: "half " }, { cut: true }] });
  const texts: string[] = [];

  const error = await failureOf(
    (async function* () {
      for await (const event of ready.model.stream(requestOf(ready.messages))) {
        texts.push(joinText([event]));
        yield event;
      }
    })(),
  );

  assert.deepEqual(texts, ["half "]);
  assert.deepEqual([error.kind, error.retryable, error.httpStatus], ["network", true, undefined]);
  assert.match(error.message, /^local: the connection broke in the middle of the reply/);
});

test("an answer without a body is incomplete and worth a retry", async () => {
  const error = await failureWith({ status: 204 });

  assert.deepEqual([error.kind, error.retryable], ["incomplete", true]);
});

test("a stream that ends without a finish reason is incomplete and worth a retry", async () => {
  const error = await failureWith({ steps: [{ text: "half" }] });

  assert.deepEqual([error.kind, error.retryable], ["incomplete", true]);
  assert.match(error.message, /finish reason/);
});

for (const [frame, kind, retryable] of [
  [{ error: { message: "Rate limit reached", code: 429 } }, "rate_limit", true],
  [{ error: { message: "The server had an error", type: "server_error" } }, "overloaded", true],
  [{ error: { message: "Your prompt is too long: context window exceeded" } }, "context_length", false],
  ["not a chunk", "incomplete", true],
] as const) {
  test(`${JSON.stringify(frame)} in a stream is ${kind}, ${retryable ? "worth a retry" : "final"}`, async () => {
    const error = await failureWith({ steps: [{ text: "half" }, { frame }, { text: "more" }, { finish: "stop" }] });

    assert.deepEqual([error.kind, error.retryable], [kind, retryable]);
  });
}

test("nobody at the address is a network failure that names it", async () => {
  const provider = await startFakeOpenAi();
  const model = await openModel(provider);
  await provider[Symbol.asyncDispose]();

  const error = await failureOf(model.stream(requestOf([userSays("go")])));

  assert.deepEqual([error.kind, error.retryable], ["network", true]);
  assert.equal(
    error.message,
    `local: ${provider.baseUrl} cannot be reached (ECONNREFUSED); check that it runs, and models.providers.local.baseUrl`,
  );
});

test("a redirect is not followed: the key stays with the host that was configured", async () => {
  await using elsewhere = await startFakeOpenAi({ handler: () => say("stolen") });
  await using provider = await startFakeOpenAi();
  provider.enqueue({ status: 307, headers: { location: `${elsewhere.baseUrl}/chat/completions` } });
  const model = await openModel(provider);

  const error = await failureOf(model.stream(requestOf([userSays("go")])));

  assert.deepEqual([error.kind, error.httpStatus, elsewhere.requests.length], ["unknown", 307, 0]);
});

test("an abort closes the provider's connection", async () => {
  await using provider = await startFakeOpenAi();
  provider.enqueue({ steps: [{ text: "wait " }, { hold: never }] });
  const model = await openModel(provider);
  const stop = new AbortController();

  const reading = failureOf(model.stream(requestOf([userSays("go")], { signal: stop.signal })));
  const request = await provider.request(0);
  stop.abort();

  assert.equal((await reading).kind, "aborted");
  assert.equal(await request.ended, "closed");
});

test("a caller that leaves in the middle closes the provider's connection", async () => {
  await using provider = await startFakeOpenAi();
  provider.enqueue({ steps: [{ text: "wait " }, { hold: never }] });
  const model = await openModel(provider);

  for await (const event of model.stream(requestOf([userSays("go")]))) if (event.type === "text") break;

  assert.equal(await (await provider.request(0)).ended, "closed");
});

test("text is there before the reply is over", async () => {
  await using provider = await startFakeOpenAi();
  const gate = Promise.withResolvers<void>();
  provider.enqueue({ steps: [{ text: "first " }, { hold: gate.promise }, { text: "second" }, { finish: "stop" }] });
  const model = await openModel(provider);

  const iterator = model.stream(requestOf([userSays("go")]))[Symbol.asyncIterator]();
  const first = await iterator.next();
  gate.resolve();
  const second = await iterator.next();
  await iterator.next();
  await iterator.next();

  assert.deepEqual(
    [first.value, second.value],
    [
      { type: "text", delta: "first " },
      { type: "text", delta: "second" },
    ],
  );
  assert.equal(await (await provider.request(0)).ended, "complete");
});
