import assert from "node:assert/strict";
import { test } from "node:test";
import { toTranscript } from "./source-transcript.ts";

const said = (id: string, parentId: string | null, message: object): object => ({ type: "message", id, parentId, message });
const user = (text: string): object => ({ role: "user", content: text, timestamp: 5 });
const call = {
  role: "assistant",
  content: [
    { type: "thinking", thinking: "hm" },
    { type: "toolCall", id: "c1", name: "ls", arguments: { path: "." } },
  ],
  timestamp: 6,
  provider: "p",
  model: "m",
  stopReason: "toolUse",
};
const result = {
  role: "toolResult",
  toolCallId: "c1",
  toolName: "ls",
  content: [
    { type: "text", text: "a" },
    { type: "image", data: "x" },
    { type: "audio", data: "x" },
  ],
  isError: false,
  timestamp: 7,
};

test("what was said comes in its order, calls of tools with their results", () => {
  const { messages, notes } = toTranscript([
    { type: "session", version: 3 },
    said("1", null, user("hello")),
    { type: "model_change", id: "2", parentId: "1" },
    said("3", "2", call),
    said("4", "3", result),
  ]);

  assert.deepEqual(messages, [
    { role: "user", timestamp: 5, content: [{ type: "text", text: "hello" }] },
    {
      role: "assistant",
      timestamp: 6,
      provider: "p",
      model: "m",
      stopReason: "toolUse",
      content: [{ type: "toolCall", id: "c1", name: "ls", arguments: { path: "." } }],
    },
    { role: "toolResult", timestamp: 7, content: [{ type: "toolResult", toolCallId: "c1", toolName: "ls", text: "a", isError: false }] },
  ]);
  assert.deepEqual(notes, ["without 1 passages of thinking", "without 1 images", "without 1 other parts"]);
});

test("of a conversation that was taken back and led on otherwise, only what it is now comes", () => {
  const entries = [said("1", null, user("first")), said("2", "1", user("dropped")), said("3", "1", user("instead"))];

  const texts = toTranscript(entries).messages.flatMap(({ content }) => content.map((block) => (block.type === "text" ? block.text : "")));

  assert.deepEqual(texts, ["first", "instead"]);
});

test("entries that name each other in a circle, or nobody, end nothing", () => {
  const circle = [said("1", "2", user("a")), said("2", "1", user("b"))];
  const unlinked = [{ type: "message", message: user("a") }, null, 7, { type: "message", message: null }];

  assert.equal(toTranscript(circle).messages.length, 2);
  assert.deepEqual(toTranscript(unlinked).messages.length, 1);
  assert.deepEqual(toTranscript(unlinked).notes, ["without 3 entries that cannot be read"]);
});

test("a result without its call, and one that comes twice, does not come: no provider takes it", () => {
  const { messages, notes } = toTranscript([said("1", null, result), said("2", "1", call), said("3", "2", result), said("4", "3", result)]);

  assert.deepEqual(
    messages.map(({ role }) => role),
    ["assistant", "toolResult"],
  );
  assert.ok(notes.includes("without 2 results of tools without their call"));
});

test("a very long text is cut, and its end is counted", () => {
  const { messages, notes } = toTranscript([said("1", null, user("x".repeat(1_000_001)))]);

  const [block] = messages[0]?.content ?? [];
  assert.deepEqual([block?.type === "text" && block.text.length, notes], [1_000_000, ["without 1 ends of very long texts"]]);
});
