import assert from "node:assert/strict";
import test from "node:test";
import { ProtocolError } from "@portreeve/protocol";
import { parseBody } from "./body.ts";
import { chatShape, readMessages } from "./chat-request.ts";
import { findMeant } from "./openai-session.ts";
import { toPrompt } from "./prompt.ts";

const user = { role: "user", content: "hi" };

function promptOf(messages: unknown, isNamed = false): string {
  const body = Buffer.from(JSON.stringify({ model: "openclaw", messages }));
  return toPrompt(readMessages(parseBody(body, chatShape).value), { isNamed, param: "messages" });
}

function refusalOf(ask: () => unknown): readonly unknown[] {
  try {
    ask();
  } catch (error) {
    assert.ok(error instanceof ProtocolError, String(error));
    return [error.code, error.details["param"], error.message];
  }
  return assert.fail("it was taken");
}

const refused = (body: string | object): readonly unknown[] =>
  refusalOf(() => {
    const { value } = parseBody(Buffer.from(typeof body === "string" ? body : JSON.stringify(body)), chatShape);
    toPrompt(readMessages(value), { isNamed: false, param: "messages" });
    findMeant(value, {}, "new");
  });

test("one message of the user is told as it stands, in parts too", () => {
  assert.equal(promptOf([user]), "hi");
  assert.equal(
    promptOf([
      {
        role: "user",
        content: [
          { type: "text", text: "a" },
          { type: "text", text: "b" },
        ],
      },
    ]),
    "a\nb",
  );
});

test("what was said before is told in a session of its own, and stands already in a named one", () => {
  const messages = [
    { role: "developer", content: "be brief" },
    { role: "user", content: "one?" },
    { role: "assistant", content: "1", refusal: null, tool_calls: [], audio: null, annotations: [] },
    { role: "user", content: "two?" },
    { role: "user", content: "now" },
  ];

  assert.equal(
    promptOf(messages),
    "[Instructions]\nbe brief\n\n[Conversation so far]\nUser: one?\n\nAssistant: 1\n\n[Message]\ntwo?\n\nnow",
  );
  assert.equal(promptOf(messages, true), "[Instructions]\nbe brief\n\n[Message]\ntwo?\n\nnow");
  assert.equal(promptOf(messages.slice(1), true), "two?\n\nnow");
});

test("what cannot be honoured and matters is refused by name, where it asks for something", () => {
  const whole = (more: object): object => ({ model: "openclaw", messages: [user], ...more });
  const parts = (type: string): object => ({ model: "openclaw", messages: [{ role: "user", content: [{ type }] }] });
  const said = (message: object): object => ({ model: "openclaw", messages: [message, user] });
  const cases: readonly (readonly [string | object, string | undefined, RegExp])[] = [
    ["{", undefined, /not JSON/],
    [Buffer.from([0x7b, 0xff, 0x7d]).toString("latin1"), undefined, /not JSON/],
    ["[]", undefined, /not a JSON object/],
    ["null", undefined, /not a JSON object/],
    [{ messages: [user] }, "model", /^Missing required parameter: 'model'/],
    [{ model: "openclaw" }, "messages", /^Missing required parameter: 'messages'/],
    [{ model: "openclaw", messages: [] }, "messages", /^Missing user message/],
    [{ model: "openclaw", messages: [{ role: "system", content: "x" }] }, "messages", /^Missing user message/],
    [{ model: "openclaw", messages: [{ role: "user", content: " " }] }, "messages", /^Missing user message/],
    [{ model: "openclaw", messages: [user, { role: "assistant", content: "1" }] }, "messages", /^Missing user message/],
    [whole({ model: "gpt-4o" }), "model", /^Invalid `model`\. Use `openclaw` or `openclaw\/<agentId>`\.$/],
    [whole({ model: 1 }), "model", /^Invalid 'model'/],
    [whole({ n: 2 }), "n", /^Invalid 'n'/],
    [whole({ stream: "yes" }), "stream", /^Invalid 'stream'/],
    [whole({ stream_options: { include: true } }), "stream_options.include", /^Unknown parameter/],
    [whole({ response_format: { type: "json_object" } }), "response_format.type", /^Invalid/],
    [whole({ tools: [{ type: "function" }] }), "tools", /^not supported: tools$/],
    [whole({ functions: [{}] }), "functions", /^not supported/],
    [whole({ tool_choice: "required" }), "tool_choice", /^Invalid/],
    [whole({ stop: "\n" }), "stop", /^not supported/],
    [whole({ logprobs: true }), "logprobs", /^not supported/],
    [whole({ extraSystemPrompt: "x" }), "extraSystemPrompt", /^Unknown parameter/],
    [whole({ lane: "x" }), "lane", /^Unknown parameter/],
    ['{"model":"openclaw","messages":[{"role":"user","content":"hi"}],"__proto__":{}}', "__proto__", /^Unknown parameter/],
    [parts("image_url"), "messages[0].content[0].image_url", /^not supported: messages\[0\]\.content\[0\]\.image_url$/],
    [parts("input_audio"), "messages[0].content[0].input_audio", /^not supported/],
    [parts("text"), "messages[0].content[0].text", /^Missing/],
    [said({ role: "tool", content: "x", tool_call_id: "1" }), "messages[0].role 'tool'", /^not supported/],
    [said({ role: "assistant", content: null, tool_calls: [{}] }), "messages[0].tool_calls", /^not supported/],
    [said({ role: "root", content: "x" }), "messages[0].role", /^Invalid/],
  ];

  for (const [body, param, message] of cases) {
    const [, at, said] = refused(body);
    assert.deepEqual([at, message.test(String(said))], [param, true], `${JSON.stringify(body)}: ${String(said)}`);
  }
});

test("what asks for nothing is no reason to refuse, and what has no effect is named", () => {
  const body = {
    model: "openclaw",
    messages: [user],
    tools: [],
    tool_choice: "none",
    stop: null,
    logprobs: false,
    n: 1,
    temperature: 0,
    max_tokens: 1,
  };

  const { ignored } = parseBody(Buffer.from(JSON.stringify(body)), chatShape);

  assert.deepEqual(ignored, ["temperature", "max_tokens"]);
});

test("the model names an agent, and header, session id or user a session; two users never share one", () => {
  const body = { model: "openclaw/default" };
  const meant = (more: object, headers: Record<string, string> = {}) => findMeant({ ...body, ...more }, headers, "new");
  const users = ["Bob", "bob", "agent:main:main"].map((user) => meant({ user }).sessionKey);

  assert.deepEqual(meant({}), { agentId: undefined, sessionKey: "new", isNamed: false });
  assert.deepEqual(meant({ model: "openclaw/ops" }).agentId, "ops");
  assert.deepEqual(meant({ model: "openclaw" }, { "x-openclaw-agent-id": "ops" }).agentId, "ops");
  assert.deepEqual(meant({ session_id: "s", user: "u" }, { "x-openclaw-session-key": "k" }).sessionKey, "k");
  assert.deepEqual(meant({ session_id: "s", user: "u" }), { agentId: undefined, sessionKey: "s", isNamed: true });
  assert.equal(new Set(users).size, 3);
  assert.ok(users.every((key) => /^openai-user:[0-9a-f]{32}$/.test(key)));
  assert.deepEqual(refusalOf(() => meant({ model: "openclaw/ops" }, { "x-openclaw-agent-id": "main" }))[1], "model");
  assert.deepEqual(
    refusalOf(() => meant({}, { "x-openclaw-model": "gpt" })),
    ["NOT_SUPPORTED", "x-openclaw-model", "not supported: x-openclaw-model"],
  );
});
