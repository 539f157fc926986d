import assert from "node:assert/strict";
import test from "node:test";
import { Speech } from "./speech.ts";

function takeAll(speech: Speech): readonly string[] {
  const pieces: string[] = [];
  for (let piece = speech.take(); piece !== ""; piece = speech.take()) pieces.push(piece);
  return pieces;
}

type Step = { readonly hear: string } | "ends" | { readonly finish: string };

const cases: readonly (readonly [what: string, steps: readonly Step[], said: string])[] = [
  ["a reply that grows is given out once", [{ hear: "a" }, { hear: "ab" }, { hear: "abc" }, { finish: "abc" }], "abc"],
  ["what was not heard comes at the end", [{ hear: "a" }, { finish: "abc" }], "abc"],
  ["nothing heard, all of it comes at the end", [{ finish: "abc" }], "abc"],
  ["a run that answers nothing adds nothing", [{ hear: "a" }, { finish: "" }], "a"],
  [
    "an attempt that begins again is not repeated",
    [{ hear: "ab" }, { hear: "a" }, { hear: "ab" }, { hear: "abc" }, { finish: "abc" }],
    "abc",
  ],
  ["an attempt that goes another way stands below", [{ hear: "ab" }, { hear: "a" }, { hear: "ax" }, { finish: "ax" }], "ab\n\nax"],
  ["the next reply stands below", [{ hear: "one" }, "ends", { hear: "t" }, { hear: "two" }, { finish: "two" }], "one\n\ntwo"],
  ["the next reply may say the same", [{ hear: "ok" }, "ends", { hear: "ok" }, { finish: "ok" }], "ok\n\nok"],
  ["the next reply may say the same unheard", [{ hear: "ok" }, "ends", { finish: "ok" }], "ok\n\nok"],
  ["tools before the first word are no reply", ["ends", { hear: "ok" }, { finish: "ok" }], "ok"],
];

for (const [what, steps, said] of cases) {
  test(what, () => {
    const speech = new Speech();
    let heard = "";

    for (const step of steps) {
      if (step === "ends") speech.endReply();
      else if ("hear" in step) speech.hear(step.hear);
      else speech.finish(step.finish);
      heard += takeAll(speech).join("");
    }

    assert.equal(heard, said);
  });
}

test("what a slow reader left waiting comes in pieces, and no character is cut", () => {
  const speech = new Speech();
  const text = `${"a".repeat(16_383)}😀${"b".repeat(20_000)}`;
  speech.hear(text);

  const pieces = takeAll(speech);

  assert.equal(pieces.join(""), text);
  assert.ok(pieces.every((piece) => piece.length <= 16_384 && piece.isWellFormed()));
  assert.ok(pieces.length >= 3);
});
