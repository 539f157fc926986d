/** Runs on a provider that misbehaves: what the run engine makes of it. And the demo on anything OpenAI-compatible. */
import assert from "node:assert/strict";
import test from "node:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ChatEvent } from "@portreeve/protocol";
import { runCli } from "./support/cli.ts";
import { callTools, type ChatBody, type FakeReply, say, startFakeOpenAi } from "./support/fake-openai.ts";
import { startGateway, type TestGateway } from "./support/start-gateway.ts";

function configFor(baseUrl: string, apiKey = "none"): object {
  return { models: { providers: { fake: { api: "openai-compatible", baseUrl, apiKey } } }, agents: { defaults: { model: "fake/test" } } };
}

const unavailable: FakeReply = { status: 503, headers: { "retry-after-ms": "1" }, body: { error: { message: "busy" } } };

function ask(gw: TestGateway) {
  return gw.callerWith("operator.write").call("agent", { message: "hello", idempotencyKey: "k" });
}

test("a provider that is busy once is asked again, and the run succeeds", async () => {
  await using provider = await startFakeOpenAi();
  provider.enqueue(unavailable, say("here I am"));
  await using gw = await startGateway({ config: configFor(provider.baseUrl) });

  const { status, result } = await ask(gw);

  assert.deepEqual([status, result.payloads[0]?.text, provider.requests.length], ["ok", "here I am", 2]);
  assert.deepEqual(result.meta.agentMeta.usage, { input: 3, output: 2, totalTokens: 5 });
});

test("a reply that the provider cut off with its filter is asked for once, and history holds it once", async () => {
  await using provider = await startFakeOpenAi();
  provider.enqueue({ steps: [{ text: "half an ans" }, { finish: "content_filter" }] });
  await using gw = await startGateway({ config: configFor(provider.baseUrl) });

  await ask(gw).catch(() => undefined);
  const { messages } = await gw.callerWith("operator.read").call("chat.history", { sessionKey: "main" });

  assert.equal(provider.requests.length, 1);
  assert.deepEqual(
    messages.map(({ role, content }) => [role, content.map((block) => (block.type === "text" ? block.text : block.type)).join()]),
    [
      ["user", "hello"],
      ["assistant", "half an ans"],
    ],
  );
});

test("a stream cut in the middle is asked for again: the new text replaces the half one, and history holds it once", async () => {
  await using provider = await startFakeOpenAi();
  provider.enqueue({ steps: [{ text: "half an ans" }, { cut: true }] }, say("a whole answer"));
  await using gw = await startGateway({ config: configFor(provider.baseUrl) });
  const chats: ChatEvent[] = [];
  gw.gateway.bus.subscribe("chat", (event) => chats.push(event));

  const { result } = await ask(gw);
  const { messages } = await gw.callerWith("operator.read").call("chat.history", { sessionKey: "main" });

  assert.equal(result.payloads[0]?.text, "a whole answer");
  assert.deepEqual(
    chats.flatMap((event) => (event.state === "delta" && event.replace === true ? [event.message.content[0]?.text?.slice(0, 1)] : [])),
    ["a"],
  );
  assert.deepEqual(
    messages.map((message) => message.role),
    ["user", "assistant"],
  );
});

test("a refused key ends the run at once with a reason that does not hold the key", async () => {
  await using provider = await startFakeOpenAi();
  provider.enqueue({ status: 401, body: { error: { message: "bad key sk-live-12345" } } });
  await using gw = await startGateway({ config: configFor(provider.baseUrl, "sk-live-12345") });

  await assert.rejects(ask(gw), (error: Error) => /refused the key/.test(error.message) && !error.message.includes("sk-live"));

  assert.equal(provider.requests.length, 1);
  assert.doesNotMatch(JSON.stringify(gw.logLines), /sk-live/);
});

/** What the log says of failed calls. */
function failedCalls(gw: TestGateway) {
  return gw.logLines.filter(({ message }) => message === "a model call failed").map(({ facts }) => facts);
}

test("what a provider answered to a failed call is in the log once, with its run and model, bounded and without the key", async () => {
  await using provider = await startFakeOpenAi();
  const key = "sk-live-12345";
  provider.enqueue({ status: 400, body: { detail: `no such thing for ${key}`, more: `${"x".repeat(100_000)}${key}` } });
  await using gw = await startGateway({ config: configFor(provider.baseUrl, key) });

  await assert.rejects(ask(gw));

  const { runs } = await gw.callerWith("operator.read").call("runs.list", {});
  const [call, ...others] = failedCalls(gw);
  assert.deepEqual(others, []);
  assert.deepEqual([call?.["runId"], call?.["model"], call?.["httpStatus"]], [runs[0]?.runId, "fake/test", 400]);
  assert.match(String(call?.["answer"]), /no such thing for \[secret\]/);
  assert.equal(JSON.stringify(gw.logLines).includes(key), false);
  assert.ok(JSON.stringify(call).length < 5_000);
});

test("a call that is asked for again is in the log each time it fails", async () => {
  await using provider = await startFakeOpenAi();
  provider.enqueue(unavailable, unavailable, say("here I am"));
  await using gw = await startGateway({ config: configFor(provider.baseUrl) });

  await ask(gw);

  assert.deepEqual(
    failedCalls(gw).map((facts) => [facts["kind"], facts["httpStatus"]]),
    [
      ["overloaded", 503],
      ["overloaded", 503],
    ],
  );
});

test("a summary that the provider refuses is in the log too", async () => {
  await using provider = await startFakeOpenAi();
  provider.enqueue(say("one"), say("two"), { status: 401, body: { error: { message: "gone" } } });
  await using gw = await startGateway({ config: configFor(provider.baseUrl) });
  await ask(gw);
  await gw.callerWith("operator.write").call("agent", { message: "again", idempotencyKey: "k2" });

  await gw.callerWith("operator.admin").call("sessions.compact", { key: "main" });

  assert.deepEqual(
    failedCalls(gw).map((facts) => [facts["sessionKey"], facts["model"], facts["kind"]]),
    [["agent:main:main", "fake/test", "auth"]],
  );
});

test("a page instead of a stream is named as one, and asked for once", async () => {
  await using provider = await startFakeOpenAi();
  provider.enqueue({ status: 200, headers: { "content-type": "text/html; charset=utf-8" }, body: "<html>Please log in</html>" });
  await using gw = await startGateway({ config: configFor(provider.baseUrl) });

  await assert.rejects(ask(gw), /fake: http:\S+ answers with a page \(text\/html\).*models\.providers\.fake\.baseUrl/);

  assert.equal(failedCalls(gw).length, 1);
});

test("a call that a person stopped is no failure of the provider", async () => {
  await using provider = await startFakeOpenAi();
  provider.enqueue({ steps: [{ text: "one " }, { hold: new Promise(() => undefined) }] });
  await using gw = await startGateway({ config: configFor(provider.baseUrl) });
  const speaks = new Promise<void>((resolve) => gw.gateway.bus.subscribe("chat", (event) => event.state === "delta" && resolve()));
  const ended = ask(gw);
  await speaks;

  await gw.callerWith("operator.write").call("chat.abort", { sessionKey: "main" });
  await ended;

  assert.deepEqual(failedCalls(gw), []);
});

test("an abort reaches the provider: its connection closes", async () => {
  await using provider = await startFakeOpenAi();
  provider.enqueue({ steps: [{ text: "one " }, { hold: new Promise(() => undefined) }] });
  await using gw = await startGateway({ config: configFor(provider.baseUrl) });
  const speaks = new Promise<void>((resolve) => gw.gateway.bus.subscribe("chat", (event) => event.state === "delta" && resolve()));
  const ended = ask(gw);
  await speaks;

  await gw.callerWith("operator.write").call("chat.abort", { sessionKey: "main" });

  assert.equal((await ended).result.payloads[0]?.text, "one ");
  assert.equal(await (await provider.request(0)).ended, "closed");
});

for (const [what, text] of [
  ["that are no JSON", "{oops"],
  ["without an end", `${'{"a":'.repeat(7_000)}1${"}".repeat(7_000)}`],
] as const)
  test(`arguments ${what} come back to the model as an error, and it can try again`, async () => {
    await using provider = await startFakeOpenAi();
    const broken: FakeReply = { steps: [{ toolCall: { id: "a", name: "ls", argumentPieces: [text] } }, { finish: "tool_calls" }] };
    provider.enqueue(broken, callTools({ id: "b", name: "ls", args: {} }), say("done"));
    await using gw = await startGateway({ config: configFor(provider.baseUrl) });

    const { status } = await ask(gw);
    const { messages } = await gw.callerWith("operator.read").call("chat.history", { sessionKey: "main" });

    assert.equal(status, "ok");
    assert.deepEqual(
      messages.flatMap((message) => message.content.flatMap((block) => (block.type === "toolResult" ? [block.isError] : []))),
      [true, false],
    );
  });

/** A model that does what the demo's prompt asks, from the prompt alone. */
function demoModel(body: ChatBody): FakeReply {
  const messages = body.messages ?? [];
  const turns = messages.filter((message) => message.role === "assistant").length;
  const isChild = String(messages[0]?.content).includes("You are a sub-agent");
  if (isChild)
    return turns === 0
      ? callTools({ id: "look", name: "read", args: { path: "harbour.md" } })
      : say(`I read: ${String(messages.at(-1)?.content).slice(0, 80)}`);
  if (turns === 0) {
    return callTools(
      { id: "a", name: "sessions_spawn", args: { task: "read the file", label: "reader" } },
      { id: "b", name: "sessions_spawn", args: { task: "read it again", label: "checker" } },
    );
  }
  const results =
    messages
      .map((message) => String(message.content))
      .join("\n")
      .match(/I read: /g) ?? [];
  return results.length < 2
    ? callTools({ id: `w${turns}`, name: "sessions_yield", args: {} })
    : say("Both say that the harbour opens at six.");
}

test("the demo runs on anything OpenAI-compatible, with the key from the variable that is named", async () => {
  const folder = await mkdtemp(join(tmpdir(), "portreeve-demo-"));
  await writeFile(join(folder, "harbour.md"), "The harbour opens at six.\n");
  await using provider = await startFakeOpenAi({ handler: ({ body }) => demoModel(body) });

  const { code, out, err } = await runCli(
    ["demo", "When does it open?", "--dir", folder, "--base-url", provider.baseUrl, "--model", "tiny", "--api-key-env", "MY_KEY", "--json"],
    { PORTREEVE_HOME: folder, MY_KEY: "key-of-the-demo" },
  );
  await rm(folder, { recursive: true });
  const { model, ...summary } = JSON.parse(out.trim().split("\n").at(-1) ?? "") as { model: string };

  assert.equal(code, 0, err);
  assert.match(model, /\/tiny$/);
  assert.deepEqual(summary, {
    answer: "Both say that the harbour opens at six.",
    selfSockets: 0,
    pairingPrompts: 0,
    children: { accepted: 2, completed: 2, announced: 2 },
  });
  assert.match(out, /The harbour opens at six/);
  assert.equal((await provider.request(0)).headers.authorization, "Bearer key-of-the-demo");
  assert.ok(!out.includes("key-of-the-demo") && !err.includes("key-of-the-demo"));
});
