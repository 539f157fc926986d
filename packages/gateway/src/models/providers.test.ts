import assert from "node:assert/strict";
import { test } from "node:test";
import { startFakeOpenAi, type FakeOpenAi, type FakeStep } from "../../../../test/support/fake-openai.ts";
import { Secret } from "../kit/secret.ts";
import type { KeyedApi } from "./defaults.ts";
import { failureOf, readAll, requestOf, userSays } from "./model-contract.ts";
import type { Model } from "./model.ts";
import { createModels } from "./registry.ts";

const key = "key-of-the-test-0123456789";
const never = new Promise<never>(() => {});

/** How each family's wire looks: where it asks, where its key goes, and one reply with text and a tool call. */
const families: Readonly<Record<KeyedApi, { path: string; header: string; value: string; reply: readonly unknown[]; textFrames: number }>> =
  {
    anthropic: {
      path: "/v1/messages",
      header: "x-api-key",
      value: key,
      textFrames: 3,
      reply: [
        {
          type: "message_start",
          message: {
            id: "msg_1",
            type: "message",
            role: "assistant",
            model: "m",
            content: [],
            stop_reason: null,
            usage: { input_tokens: 11, output_tokens: 1 },
          },
        },
        { type: "content_block_start", index: 0, content_block: { type: "text", text: "" } },
        { type: "content_block_delta", index: 0, delta: { type: "text_delta", text: "hello" } },
        { type: "content_block_stop", index: 0 },
        { type: "content_block_start", index: 1, content_block: { type: "tool_use", id: "a1", name: "look", input: {} } },
        { type: "content_block_delta", index: 1, delta: { type: "input_json_delta", partial_json: '{"at":' } },
        { type: "content_block_delta", index: 1, delta: { type: "input_json_delta", partial_json: '"a"}' } },
        { type: "content_block_stop", index: 1 },
        { type: "message_delta", delta: { stop_reason: "tool_use" }, usage: { output_tokens: 7 } },
        { type: "message_stop" },
      ],
    },
    openai: {
      path: "/v1/responses",
      header: "authorization",
      value: `Bearer ${key}`,
      textFrames: 3,
      reply: [
        { type: "response.created", sequence_number: 0, response: { id: "resp_1", created_at: 1_700_000_000, model: "m" } },
        { type: "response.output_item.added", sequence_number: 1, output_index: 0, item: { type: "message", id: "msg_1" } },
        { type: "response.output_text.delta", sequence_number: 2, item_id: "msg_1", output_index: 0, content_index: 0, delta: "hello" },
        { type: "response.output_item.done", sequence_number: 3, output_index: 0, item: { type: "message", id: "msg_1" } },
        {
          type: "response.output_item.added",
          sequence_number: 4,
          output_index: 1,
          item: { type: "function_call", id: "fc_1", call_id: "a1", name: "look", arguments: "" },
        },
        { type: "response.function_call_arguments.delta", sequence_number: 5, item_id: "fc_1", output_index: 1, delta: '{"at":"a"}' },
        {
          type: "response.output_item.done",
          sequence_number: 6,
          output_index: 1,
          item: { type: "function_call", id: "fc_1", call_id: "a1", name: "look", arguments: '{"at":"a"}', status: "completed" },
        },
        { type: "response.completed", sequence_number: 7, response: { id: "resp_1", usage: { input_tokens: 11, output_tokens: 7 } } },
      ],
    },
    google: {
      path: "/v1/models/m:streamGenerateContent?alt=sse",
      header: "x-goog-api-key",
      value: key,
      textFrames: 1,
      reply: [
        { candidates: [{ index: 0, content: { role: "model", parts: [{ text: "hello" }] } }] },
        {
          candidates: [
            {
              index: 0,
              content: { role: "model", parts: [{ functionCall: { id: "a1", name: "look", args: { at: "a" } } }] },
              finishReason: "STOP",
            },
          ],
          usageMetadata: { promptTokenCount: 11, candidatesTokenCount: 7, totalTokenCount: 18 },
        },
      ],
    },
  };

async function openModel(api: KeyedApi, provider: FakeOpenAi): Promise<Model> {
  const models = createModels({
    providers: { [api]: { api, baseUrl: provider.baseUrl, apiKey: new Secret(key) } },
    defaultModel: undefined,
    env: {},
  });
  return await models.get(`${api}/m`);
}

for (const api of ["anthropic", "openai", "google"] as const) {
  const family = families[api];
  const frames = family.reply.map((frame): FakeStep => ({ frame }));

  test(`${api}: the request goes to baseUrl with the key in ${family.header}`, async () => {
    await using provider = await startFakeOpenAi();
    provider.enqueue({ steps: frames });
    const model = await openModel(api, provider);

    await readAll(model.stream(requestOf([userSays("go")])));

    const { path, headers } = await provider.request(0);
    assert.deepEqual([path, headers[family.header]], [family.path, family.value]);
  });

  test(`${api}: text, a tool call and usage come through`, async () => {
    await using provider = await startFakeOpenAi();
    provider.enqueue({ steps: frames });
    const model = await openModel(api, provider);

    const events = await readAll(model.stream(requestOf([userSays("go")])));

    assert.deepEqual(events, [
      { type: "text", delta: "hello" },
      { type: "tool-call", call: { id: "a1", name: "look", arguments: { at: "a" } } },
      { type: "finish", reason: "tool-calls", usage: { input: 11, output: 7, totalTokens: 18 } },
    ]);
  });

  test(`${api}: HTTP 401 is a refused key that the error does not show`, async () => {
    await using provider = await startFakeOpenAi();
    provider.enqueue({
      status: 401,
      body: { type: "error", error: { type: "authentication_error", code: 401, status: "UNAUTHENTICATED", message: `invalid key ${key}` } },
    });
    const model = await openModel(api, provider);

    const error = await failureOf(model.stream(requestOf([userSays("go")])));

    assert.deepEqual([error.kind, error.retryable, error.httpStatus, error.cause], ["auth", false, 401, undefined]);
    assert.match(
      error.message,
      new RegExp(`^${api} refused the key .*invalid key \\[secret\\]; check models\\.providers\\.${api}\\.apiKey$`),
    );
  });

  test(`${api}: a stream that ends in the middle without breaking is incomplete`, async () => {
    await using provider = await startFakeOpenAi();
    provider.enqueue({ steps: frames.slice(0, family.textFrames) });
    const model = await openModel(api, provider);

    const error = await failureOf(model.stream(requestOf([userSays("go")])));

    assert.deepEqual([error.kind, error.retryable], ["incomplete", true]);
  });

  test(`${api}: a stream that is cut in the middle is a network failure`, async () => {
    await using provider = await startFakeOpenAi();
    provider.enqueue({ steps: [...frames.slice(0, family.textFrames), { cut: true }] });
    const model = await openModel(api, provider);

    const error = await failureOf(model.stream(requestOf([userSays("go")])));

    assert.deepEqual([error.kind, error.retryable], ["network", true]);
  });

  test(`${api}: a caller that leaves in the middle closes the connection`, async () => {
    await using provider = await startFakeOpenAi();
    provider.enqueue({ steps: [...frames.slice(0, family.textFrames), { hold: never }] });
    const model = await openModel(api, provider);

    for await (const event of model.stream(requestOf([userSays("go")]))) if (event.type === "text") break;

    assert.equal(await (await provider.request(0)).ended, "closed");
  });
}

test("anthropic: a connection that breaks after the end of the message takes nothing away", async () => {
  await using provider = await startFakeOpenAi();
  provider.enqueue({ steps: [...families.anthropic.reply.map((frame) => ({ frame })), { cut: true }] });
  const model = await openModel("anthropic", provider);

  const events = await readAll(model.stream(requestOf([userSays("go")])));

  assert.equal(events.at(-1)?.type, "finish");
});

test("openai: an error before any output closes the connection, also when the server would keep it", async () => {
  await using provider = await startFakeOpenAi();
  const failed = {
    type: "error",
    sequence_number: 1,
    error: { type: "server_error", code: "server_error", message: "The server had an error" },
  };
  provider.enqueue({ steps: [{ frame: families.openai.reply[0] }, { frame: failed }, { hold: never }] });
  const model = await openModel("openai", provider);

  const error = await failureOf(model.stream(requestOf([userSays("go")])));

  assert.deepEqual([error.kind, error.retryable], ["overloaded", true]);
  assert.equal(await (await provider.request(0)).ended, "closed");
});

test("openai: the provider is asked to keep no copy", async () => {
  await using provider = await startFakeOpenAi();
  provider.enqueue({ steps: families.openai.reply.map((frame) => ({ frame })) });
  const model = await openModel("openai", provider);

  await readAll(model.stream(requestOf([userSays("go")])));

  assert.equal((await provider.request(0)).body["store"], false);
});

test("anthropic: an overload that is told inside the stream is worth a retry", async () => {
  await using provider = await startFakeOpenAi();
  provider.enqueue({
    steps: [
      { frame: families.anthropic.reply[0] },
      { frame: { type: "error", error: { type: "overloaded_error", message: "Overloaded" } } },
    ],
  });
  const model = await openModel("anthropic", provider);

  const error = await failureOf(model.stream(requestOf([userSays("go")])));

  assert.deepEqual([error.kind, error.retryable], ["overloaded", true]);
});
