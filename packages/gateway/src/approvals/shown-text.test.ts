import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import test from "node:test";
import fc from "fast-check";
import { shownArgv, shownText } from "./shown-text.ts";

const hostile: readonly (readonly [argv: readonly string[], shown: string])[] = [
  [["ls", "-la", "/tmp/a.txt"], "ls -la /tmp/a.txt"],
  [["ls "], "'ls '"],
  [["echo", ""], "echo ''"],
  [["echo", "a b; rm -rf /"], "echo 'a b; rm -rf /'"],
  [["echo", "it's"], String.raw`echo 'it'\''s'`],
  [["rm", "\u202etxt.exe"], String.raw`rm $'\u202etxt.exe'`],
  [["echo", "a\u200bb", "\r\nok"], String.raw`echo $'a\u200bb' $'\u000d\u000aok'`],
  [["echo", "\u001b[2K\u001b[1A'\\"], String.raw`echo $'\u001b[2K\u001b[1A\'\\'`],
  [["echo", "a\u00a0b", "\u{e0041}"], String.raw`echo $'a\u00a0b' $'\U000e0041'`],
  [["$(whoami)", "`id`", "*", "~"], "'$(whoami)' '`id`' '*' '~'"],
];

for (const [argv, shown] of hostile) {
  test(`${JSON.stringify(argv)} is shown as ${shown}`, () => {
    assert.equal(shownArgv(argv), shown);
  });
}

test("a shell reads back exactly the words that are shown", () => {
  const words = hostile.flatMap(([argv]) => argv);

  const read = execFileSync("bash", ["-c", `printf '%s\\0' ${shownArgv(words)}`], { env: { LC_ALL: "C.UTF-8" } });

  assert.deepEqual(read.toString("utf8").split("\0").slice(0, -1), words);
});

test("whatever is asked, what is shown is one line in which every character can be seen, and two programs never look the same", () => {
  const word = fc.string({ unit: "binary", maxLength: 12 });
  fc.assert(
    fc.property(fc.array(word, { minLength: 1, maxLength: 3 }), fc.array(word, { minLength: 1, maxLength: 3 }), (one, other) => {
      const shown = shownArgv(one);
      assert.doesNotMatch(shown, /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Co}\p{Cn}]/u);
      assert.equal(shown === shownArgv(other), JSON.stringify(one) === JSON.stringify(other));
    }),
  );
});

test("no two texts look the same", () => {
  const text = fc.oneof(fc.string({ unit: "binary", maxLength: 8 }), fc.constantFrom("ls ", "'ls '", String.raw`$'\u202e'`, "\u202e"));
  fc.assert(fc.property(text, text, (one, other) => (shownText(one) === shownText(other)) === (one === other)));
});

test("a text with nothing hidden in it stays as it is", () => {
  assert.deepEqual(["make test && echo ok", "Größe", " x", "a\u202eb"].map(shownText), [
    "make test && echo ok",
    "Größe",
    "' x'",
    String.raw`$'a\u202eb'`,
  ]);
});
