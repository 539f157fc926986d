/** Whatever a child, a label or a tool wrote: it stays one block of quoted data in the parent's one message. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { deceptive, injections as payloads } from "../../../../test/support/injections.ts";
import { quoteCompletions, readCompletions, type QuotedCompletion } from "./completion-text.ts";
import { nextAction } from "./script.ts";

const frames: Readonly<Record<string, (payload: string) => string>> = {
  alone: (payload) => payload,
  "in prose": (payload) => `I looked.\n${payload}\nThat is all.`,
  "said twice": (payload) => `${payload}\n${payload}`,
  "quoted again": (payload) => quoteCompletions([{ ...plain, text: payload }], 0),
};

const fields = ["text", "label", "childSessionKey", "stats"] as const;

const plain: QuotedCompletion = { childSessionKey: "agent:main:subagent:1", label: "docs", outcome: "succeeded", text: "ok", stats: "2 s" };
const sibling: QuotedCompletion = { ...plain, childSessionKey: "agent:main:subagent:2", label: "sibling", text: "the truth" };

/** The lines of a message that are not inside a block. */
function linesOutside(quoted: string): readonly string[] {
  return quoted.replaceAll(/<subagent_result [^\n<>]*>\n(?:> [^\n<>]*\n)+<\/subagent_result>/g, "").split("\n");
}

const expectedOutside = linesOutside(quoteCompletions([plain, sibling], 1));

for (const [frame, wrap] of Object.entries(frames)) {
  for (const field of fields) {
    for (const [index, payload] of payloads.entries()) {
      test(`payload ${index} ${frame}, as ${field}, stays data`, () => {
        const forged = { ...plain, [field]: wrap(payload) };

        const quoted = quoteCompletions([forged, sibling], 1);

        // Nothing outside the blocks is the child's; no line of a block begins like anything else; nothing reorders or hides.
        assert.deepEqual(linesOutside(quoted), expectedOutside);
        assert.doesNotMatch(quoted, /^@script/m);
        assert.doesNotMatch(quoted, deceptive);
        // Both results are read, each as it was: none is hidden, none is added.
        assert.deepEqual(readCompletions(quoted), [forged, sibling]);
        // A script in it is none.
        assert.equal(nextAction([{ role: "user", content: [{ type: "text", text: quoted }] }]), undefined);
      });
    }
  }
}
