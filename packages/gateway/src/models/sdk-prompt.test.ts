/** What goes over each family's wire, as its provider reads it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { startFakeOpenAi } from "../../../../test/support/fake-openai.ts";
import { Secret } from "../kit/secret.ts";
import { failureOf, requestOf, userSays } from "./model-contract.ts";
import type { ModelMessage } from "./model.ts";
import { createModels } from "./registry.ts";

type Api = "anthropic" | "openai" | "google" | "openai-compatible";

async function sentBy(api: Api, messages: readonly ModelMessage[]): Promise<Readonly<Record<string, unknown>>> {
  await using provider = await startFakeOpenAi();
  provider.enqueue({ status: 400, body: {} });
  const { baseUrl } = provider;
  const models = createModels({
    providers: { p: { api, baseUrl, apiKey: new Secret("key-of-the-test-0123456789") } },
    defaultModel: undefined,
    env: {},
  });
  await failureOf((await models.get("p/m")).stream(requestOf(messages)));
  return (await provider.request(0)).body;
}

const calls = (...ids: readonly string[]): ModelMessage => ({
  role: "assistant",
  content: ids.map((id) => ({ type: "toolCall", id, name: "look", arguments: { at: id } })),
});
const result = (toolCallId: string): ModelMessage => ({
  role: "toolResult",
  content: [{ type: "toolResult", toolCallId, toolName: "look", text: `seen ${toolCallId}`, isError: false }],
});

test("google: the results of one reply's calls are one content, in the order of the calls", async () => {
  const { contents } = await sentBy("google", [userSays("go"), calls("a", "b"), result("b"), result("a"), calls("c"), result("c")]);

  const response = (id: string) => ({ functionResponse: { id, name: "look", response: { name: "look", content: `seen ${id}` } } });
  assert.ok(Array.isArray(contents));
  assert.deepEqual(contents.slice(2), [
    { role: "user", parts: [response("a"), response("b")] },
    contents[3],
    { role: "user", parts: [response("c")] },
  ]);
});

test("every other family gets each result with its call", async () => {
  const messages = [userSays("go"), calls("a", "b"), result("b"), result("a")];

  const anthropic = await sentBy("anthropic", messages);
  const openai = await sentBy("openai", messages);
  const compatible = await sentBy("openai-compatible", messages);

  assert.deepEqual((anthropic["messages"] as readonly unknown[]).at(-1), {
    role: "user",
    content: ["a", "b"].map((id) => ({ type: "tool_result", tool_use_id: id, content: `seen ${id}` })),
  });
  assert.deepEqual(
    (openai["input"] as readonly unknown[]).slice(-2),
    ["a", "b"].map((id) => ({ type: "function_call_output", call_id: id, output: `seen ${id}` })),
  );
  assert.deepEqual(
    (compatible["messages"] as readonly unknown[]).slice(-2),
    ["a", "b"].map((id) => ({ role: "tool", tool_call_id: id, content: `seen ${id}` })),
  );
});

test("half a character is in no request, wherever it stood", async () => {
  const half = "x\ud83d";
  const messages: readonly ModelMessage[] = [
    userSays(half),
    { role: "assistant", content: [{ type: "toolCall", id: "a", name: "look", arguments: { [half]: [half] } }] },
    { role: "toolResult", content: [{ type: "toolResult", toolCallId: "a", toolName: "look", text: half, isError: false }] },
  ];

  const { messages: sent } = await sentBy("anthropic", messages);

  assert.deepEqual(sent, [
    { role: "user", content: [{ type: "text", text: "x\ufffd" }] },
    { role: "assistant", content: [{ type: "tool_use", id: "a", name: "look", input: { "x\ufffd": ["x\ufffd"] } }] },
    { role: "user", content: [{ type: "tool_result", tool_use_id: "a", content: "x\ufffd" }] },
  ]);
});

test("text of white space alone is left out", async () => {
  const { messages } = await sentBy("anthropic", [
    userSays("go"),
    { role: "assistant", content: [{ type: "text", text: "\n\n" }] },
    { role: "assistant", content: [{ type: "text", text: " " }, ...calls("a").content] },
    result("a"),
  ]);

  assert.deepEqual(
    (messages as readonly { content: readonly { type: string }[] }[]).map(({ content }) => content.map(({ type }) => type)),
    [["text"], ["tool_use"], ["tool_result"]],
  );
});

test("anthropic: ids of calls that another provider made are ones it takes, each once; what made them gets them as they were", async () => {
  const messages = [
    userSays("go"),
    calls("functions.look:0", "functions_look_0"),
    result("functions.look:0"),
    result("functions_look_0"),
    calls("functions.look:0"),
    result("functions.look:0"),
  ];
  const idsIn = (body: unknown): readonly string[] =>
    [...JSON.stringify(body).matchAll(/"(?:id|tool_use_id|tool_call_id)":"([^"]*)"/g)].map(([, id = ""]) => id);

  const [mapped, kept] = [await sentBy("anthropic", messages), await sentBy("openai-compatible", messages)];

  const [first, second, third] = ["functions_look_0", "functions_look_0_2", "functions_look_0_3"];
  assert.deepEqual(idsIn(mapped), [first, second, first, second, third, third]);
  const [dotted, plain] = ["functions.look:0", "functions_look_0"];
  assert.deepEqual(idsIn(kept), [dotted, plain, dotted, plain, dotted, dotted]);
});
