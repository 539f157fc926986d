/** What becomes of a child's result: quoted, cut, silent, or wanted by nobody. */
import assert from "node:assert/strict";
import test from "node:test";
import type { AgentEvent, ChatEvent } from "@portreeve/protocol";
import { readCompletions } from "../packages/gateway/src/models/completion-text.ts";
import { callTools, type ChatBody, type FakeReply, say, startFakeOpenAi } from "./support/fake-openai.ts";
import { startGateway, type TestGateway } from "./support/start-gateway.ts";

interface Played {
  readonly gw: TestGateway;
  /** What the parent's model was sent after its child's end, as one text. */
  readonly told: string | undefined;
  readonly events: readonly (AgentEvent | ChatEvent)[];
}

const hasText = (body: ChatBody, text: string): boolean => body.messages?.some(({ content }) => content?.includes(text) ?? false) ?? false;

/**
 * Lets a parent spawn one child with `args`, wait for it if `waits`, and say "parent done"; the child replies with `child`.
 * Calls `look` when everything has ended.
 */
async function play(
  {
    child,
    args = {},
    waits = true,
    parent = say("parent done"),
  }: { child: FakeReply | ((body: ChatBody) => FakeReply); args?: object; waits?: boolean; parent?: FakeReply },
  look: (played: Played) => void | Promise<void>,
): Promise<void> {
  let told: string | undefined;
  await using provider = await startFakeOpenAi({
    handler: ({ body }) => {
      if (body.messages?.some(({ role, content }) => role === "user" && content === "CHILD") === true)
        return typeof child === "function" ? child(body) : child;
      const last = body.messages?.at(-1);
      if (last?.role === "user" && hasText(body, "<subagent_result")) {
        told = last.content ?? "";
        return parent;
      }
      const calls = body.messages?.flatMap((message) => message.tool_calls ?? []) ?? [];
      if (calls.length === 0) return callTools({ id: "1", name: "sessions_spawn", args: { task: "CHILD", ...args } });
      return waits && calls.length === 1 ? callTools({ id: "2", name: "sessions_yield", args: {} }) : say("parent done");
    },
  });
  const local = { api: "openai-compatible", baseUrl: provider.baseUrl };
  await using gw = await startGateway({ config: { models: { providers: { local } }, agents: { defaults: { model: "local/m" } } } });
  const events: (AgentEvent | ChatEvent)[] = [];
  const childEnded = Promise.withResolvers<void>();
  using _agent = gw.gateway.bus.subscribe("agent", (event) => void events.push(event));
  using _chat = gw.gateway.bus.subscribe("chat", (event) => {
    events.push(event);
    if (event.spawnedBy !== undefined && event.state !== "delta") childEnded.resolve();
  });
  await gw.callerWith("operator.write").call("agent", { message: "go", idempotencyKey: "k" });
  await childEnded.promise;
  await look({ gw, told, events });
}

async function childOf(gw: TestGateway) {
  const { runs } = await gw.callerWith("operator.read").call("runs.list", {});
  return runs.find((run) => run.parentRunId !== undefined) ?? assert.fail("there is no child");
}

for (const [silence, note] of [
  ["ANNOUNCE_SKIP", "it asked for its result to be told to nobody"],
  ["NO_REPLY", "it ended without saying anything: the result is missing"],
] as const) {
  test(`a child that says ${silence} and nothing else: the parent is told that, and nobody is shown the word`, async () => {
    await play({ child: say(` ${silence}\n`) }, async ({ gw, told, events }) => {
      assert.match(told ?? "", new RegExp(`note="${note}">\n> \n</subagent_result>`));
      assert.doesNotMatch(told ?? "", new RegExp(silence));
      assert.equal(JSON.stringify(events.filter((event) => "state" in event)).includes(silence), false);
      const announced = events.find((event) => "stream" in event && event.stream === "subagent" && event.data.phase === "announced");
      assert.partialDeepStrictEqual(announced, { data: { result: "", silence } });
      const { messages } = await gw.callerWith("operator.read").call("chat.history", { sessionKey: (await childOf(gw)).sessionKey });
      assert.partialDeepStrictEqual(messages.at(-1), { role: "assistant", content: [], silence });
    });
  });

  test(`${silence} in prose is prose`, async () => {
    await play({ child: say(`I was told to say ${silence} here`) }, ({ told }) => {
      assert.match(told ?? "", new RegExp(`\n> I was told to say ${silence} here\n`));
      assert.doesNotMatch(told ?? "", /note=/);
    });
  });
}

test("a parent that says NO_REPLY to a result shows nobody anything, and its run has ended well", async () => {
  await play({ child: say("fine"), parent: say("NO_REPLY") }, async ({ gw, events }) => {
    const final = events.find((event): event is ChatEvent => "state" in event && event.state === "final" && event.spawnedBy === undefined);

    assert.deepEqual([final?.state, final !== undefined && "message" in final], ["final", false]);
    assert.equal(JSON.stringify(events.filter((event) => "state" in event)).includes("NO_REPLY"), false);
    const { status, result } = await gw.callerWith("operator.write").call("agent", { message: "go", idempotencyKey: "k" });
    assert.deepEqual([status, result.payloads], ["ok", []]);
  });
});

test("a skipped result of a child that nobody waits for starts no turn", async () => {
  await play({ child: say("ANNOUNCE_SKIP"), waits: false }, async ({ gw }) => {
    const { runs } = await gw.callerWith("operator.read").call("runs.list", {});

    assert.deepEqual(
      runs.filter((run) => run.runId.startsWith("announce:")),
      [],
    );
    assert.equal((await childOf(gw)).delivery.status, "dismissed");
  });
});

test("a result that nobody asked for is delivered to nobody, and a parent cannot wait for it", async () => {
  await play({ child: say("unread"), args: { expectsCompletionMessage: false } }, async ({ gw, told }) => {
    const { messages } = await gw.callerWith("operator.read").call("chat.history", { sessionKey: "main" });
    const results = messages.flatMap(({ content }) => content.flatMap((block) => (block.type === "toolResult" ? [block.text] : [])));

    assert.match(results[0] ?? "", /"delivery":"not_required","note":"Nobody is told/);
    assert.match(results[1] ?? "", /NO_OPEN_CHILDREN/);
    assert.equal(told, undefined);
    assert.equal((await childOf(gw)).delivery.status, "not_required");
  });
});

test("of a result of 5 MB the parent reads the beginning, and where the rest is", async () => {
  const word = "abcdefghi ";
  await play({ child: { steps: [{ text: word.repeat(500_000) }, { finish: "stop" }] } }, async ({ gw, told }) => {
    const { sessionKey } = await childOf(gw);

    assert.ok((told ?? "").length < 110_000);
    assert.ok(told?.includes(`note="the first 100000 of 5000000 characters; sessions_history of ${sessionKey} has the rest"`));
    const { messages } = await gw.gateway.store.sessions.listMessages(sessionKey, { limit: 1, offset: 0 });
    assert.equal(messages[0]?.content.map((block) => (block.type === "text" ? block.text.length : 0))[0], 5_000_000);
  });
});

test("an empty result is said to be missing", async () => {
  await play({ child: { steps: [{ finish: "stop" }] } }, ({ told }) => {
    assert.match(
      told ?? "",
      /outcome="succeeded"[^>]*note="it ended without saying anything: the result is missing">\n> \n<\/subagent_result>/,
    );
  });
});

const cutOff = "the reply was cut off: its model had no tokens left to go on";
const missing = "it ended without saying anything: the result is missing";

for (const [what, text, note] of [
  ["in the middle", "It holds 3 items: 1. apples 2.", cutOff],
  ["before it began", "", `${missing}; ${cutOff}`],
] as const) {
  test(`a child whose reply was cut off ${what} has ended well, and its parent is told that it was cut off`, async () => {
    const child: FakeReply = { steps: [...(text === "" ? [] : [{ text }]), { finish: "length" }] };

    await play({ child }, async ({ gw, told }) => {
      const [quoted] = readCompletions(told ?? "");
      const { status, stopReason } = await childOf(gw);

      assert.deepEqual([quoted?.outcome, quoted?.text, quoted?.note], ["succeeded", text, note]);
      assert.deepEqual([status, stopReason], ["succeeded", "length"]);
    });
  });
}

test("a child whose reply the content filter stopped has failed, and its parent reads why below what was said", async () => {
  await play({ child: { steps: [{ text: "It holds" }, { finish: "content_filter" }] } }, ({ told }) => {
    const [quoted] = readCompletions(told ?? "");

    assert.deepEqual([quoted?.outcome, quoted?.text], ["failed", "It holds\n\nthe provider's content filter stopped the reply"]);
  });
});

const outputSchema = { type: "object", properties: { files: { type: "integer" } }, required: ["files"] };

test("a value without an end is no value: it is asked for once more, and then delivered as text with the reason", async () => {
  const text = `${"[".repeat(9_000)}${"]".repeat(9_000)}`;

  await play({ child: say(text), args: { outputSchema: { type: "array" } } }, ({ told }) => {
    const [quoted] = readCompletions(told ?? "");

    assert.deepEqual([quoted?.text, quoted?.note], [text, "not the value that outputSchema asks for: it nests deeper than 128 levels"]);
  });
});

for (const [how, first, second, text, note] of [
  ["at once", '{ "files": 3 }', "never said", '{"files":3}', undefined],
  ["in a fence", '```json\n{"files":3}\n```', "never said", '{"files":3}', undefined],
  ["when told what was wrong", "There are 3.", '{"files":3}', '{"files":3}', undefined],
  ["never", "There are 3.", '{"files":"3"}', '{"files":"3"}', "not the value that outputSchema asks for: the value.files must be integer"],
] as const) {
  test(`a result that was asked for as a value comes ${how}`, async () => {
    const asked: ChatBody[] = [];
    const child = (body: ChatBody): FakeReply => {
      asked.push(body);
      return say(asked.length === 1 ? first : second);
    };

    await play({ child, args: { outputSchema } }, ({ told }) => {
      const quoted = readCompletions(told ?? "");

      assert.deepEqual([quoted[0]?.text, quoted[0]?.note, quoted.length], [text, note, 1]);
      assert.ok(String(asked[0]?.messages?.[0]?.content).includes(JSON.stringify(outputSchema)));
      assert.equal(asked.length, second === "never said" ? 1 : 2);
      if (asked.length === 2)
        assert.match(String(asked[1]?.messages?.at(-1)?.content), /^Your last message is not the value that was asked for: it is not JSON/);
    });
  });
}
