import assert from "node:assert/strict";
import { test } from "node:test";
import { startFakeOpenAi } from "../../../../test/support/fake-openai.ts";
import { Secret } from "../kit/secret.ts";
import { failureOf, requestOf, userSays } from "./model-contract.ts";
import type { ModelMessage, ModelRequest } from "./model.ts";
import { createModels } from "./registry.ts";

/** Of a request to `model`: what it says of thought, and how long the reply may be, thought included. */
async function sentBy(model: string, messages: readonly ModelMessage[], more: Partial<ModelRequest>) {
  await using provider = await startFakeOpenAi();
  provider.enqueue({ status: 400, body: {} });
  const { baseUrl } = provider;
  const models = createModels({
    providers: { anthropic: { api: "anthropic", baseUrl, apiKey: new Secret("key-of-the-test-0123456789") } },
    defaultModel: undefined,
    env: {},
  });
  await failureOf((await models.get(`anthropic/${model}`)).stream(requestOf(messages, more)));
  const { thinking, max_tokens: maxTokens } = (await provider.request(0)).body;
  return { thinking, maxTokens };
}

const go = userSays("go");
const call: ModelMessage = { role: "assistant", content: [{ type: "toolCall", id: "a", name: "look", arguments: {} }] };
const result: ModelMessage = {
  role: "toolResult",
  content: [{ type: "toolResult", toolCallId: "a", toolName: "look", text: "a door", isError: false }],
};
const said: ModelMessage = { role: "assistant", content: [{ type: "text", text: "A door." }] };
const thinking = "medium";

test("a model with a budget for thought goes on without thought after tool calls, whose thought was not kept", async () => {
  const inTurn = [
    await sentBy("claude-sonnet-4-5", [go, call, result], { thinking }),
    await sentBy("claude-sonnet-4-5", [go, call, result, userSays("hurry")], { thinking }),
  ];
  const anew = [
    await sentBy("claude-sonnet-4-5", [go], { thinking }),
    await sentBy("claude-sonnet-4-5", [go, call, result, said, userSays("and now?")], { thinking }),
  ];

  assert.deepEqual(
    [...inTurn, ...anew].map((sent) => sent.thinking),
    [undefined, undefined, { type: "enabled", budget_tokens: 19_200 }, { type: "enabled", budget_tokens: 19_200 }],
  );
});

test("a model that decides by itself how much it thinks does so after tool calls too", async () => {
  const { thinking: sent } = await sentBy("claude-opus-4-6", [go, call, result], { thinking });

  assert.deepEqual(sent, { type: "adaptive", display: "summarized" });
});

test("thought and reply together stay within what the reply may be", async () => {
  const within = async (model: string, maxOutputTokens: number) => await sentBy(model, [go], { thinking, maxOutputTokens });

  assert.deepEqual(
    [await within("claude-sonnet-4-5", 30_000), await within("claude-sonnet-4-5", 8_192), await within("claude-sonnet-4-5", 2_047)],
    [
      { thinking: { type: "enabled", budget_tokens: 15_000 }, maxTokens: 30_000 },
      { thinking: { type: "enabled", budget_tokens: 4_096 }, maxTokens: 8_192 },
      { thinking: undefined, maxTokens: 2_047 },
    ],
  );
  assert.equal((await within("claude-opus-4-6", 8_192)).maxTokens, 8_192);
  assert.equal((await sentBy("claude-sonnet-4-5", [go], { thinking: "off", maxOutputTokens: 500 })).maxTokens, 500);
});
