/** Bodies from anybody: each is parsed or refused with a ProtocolError, and nothing else is thrown. */
import assert from "node:assert/strict";
import test from "node:test";
import { ProtocolError } from "@portreeve/protocol";
import fc from "fast-check";
import { parseBody } from "./body.ts";
import { chatShape, readMessages } from "./chat-request.ts";
import { findMeant } from "./openai-session.ts";
import { toPrompt } from "./prompt.ts";
import { readInput, responsesShape } from "./responses-request.ts";

const readers: Readonly<
  Record<string, { readonly read: (body: Buffer) => string; readonly told: string; readonly keys: readonly string[] }>
> = {
  "chat completions": {
    read(body) {
      const { value } = parseBody(body, chatShape);
      findMeant(value, {}, "new");
      return toPrompt(readMessages(value), { isNamed: false, param: "messages" });
    },
    told: "messages",
    keys: [...Object.keys(chatShape.fields.shape), ...chatShape.ignored, ...chatShape.unsupported],
  },
  responses: {
    read(body) {
      const { value } = parseBody(body, responsesShape);
      findMeant(value, {}, "new");
      return toPrompt(readInput(value), { isNamed: false, param: "input" });
    },
    told: "input",
    keys: [...Object.keys(responsesShape.fields.shape), ...responsesShape.ignored, ...responsesShape.unsupported],
  },
};

const words = fc.constantFrom("user", "assistant", "system", "tool", "text", "input_text", "image_url", "message", "openclaw", "hi", "");
const block = fc.record({ type: fc.oneof(words, fc.jsonValue()), text: fc.oneof(words, fc.jsonValue()) }, { requiredKeys: [] });
const said = fc.record(
  { role: fc.oneof({ weight: 4, arbitrary: words }, fc.jsonValue()), content: fc.oneof(words, fc.array(block), fc.jsonValue()) },
  { requiredKeys: [] },
);

for (const [name, { read, keys, told }] of Object.entries(readers)) {
  test(`whatever ${name} are asked for with is a prompt or a refusal, and says no more of itself than 300 characters`, () => {
    const value = fc.oneof(words, fc.array(said), fc.jsonValue());
    const more = fc.dictionary(fc.oneof(fc.constantFrom(...keys, "__proto__", "constructor"), fc.string()), value, { maxKeys: 2 });
    const body = fc.tuple(fc.array(said, { maxLength: 3 }), more).map(([all, rest]) => ({ model: "openclaw", [told]: all, ...rest }));
    const bytes = fc.oneof(
      { weight: 8, arbitrary: body.map((one) => Buffer.from(JSON.stringify(one))) },
      fc.uint8Array().map((some) => Buffer.from(some)),
      fc.json().map((text) => Buffer.from(text)),
    );
    const plain = { model: "openclaw", [told]: [{ role: "user", content: "hi" }] };

    fc.assert(
      fc.property(bytes, (sent) => {
        try {
          assert.notEqual(read(sent).trim(), "");
        } catch (error) {
          assert.ok(error instanceof ProtocolError, String(error));
          assert.ok(error.message.length <= 300, error.message);
        }
      }),
      { numRuns: 500 },
    );

    assert.equal(read(Buffer.from(JSON.stringify(plain))), "hi");
  });
}
