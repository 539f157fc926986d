import assert from "node:assert/strict";
import { test } from "node:test";
import { chooseEntryFile, defaultQuestion, promptFor, scriptFor, searchesFor } from "./prompt.ts";

const entries: readonly (readonly [readonly string[], string | undefined])[] = [
  [["zebra.ts", "package.json", "README.md", "readme.txt"], "README.md"],
  [["notes.md", "Readme.rst"], "Readme.rst"],
  [["notes.md", "index.html"], "index.html"],
  [["b.txt", "Makefile"], "Makefile"],
  [["photo.png", "b.txt"], "b.txt"],
  [["b.png", "a.png"], "a.png"],
  [[], undefined],
];

for (const [names, entry] of entries) {
  test(`of [${names.join(", ")}] a reader opens ${entry ?? "nothing"} first`, () => {
    assert.equal(chooseEntryFile(names), entry);
  });
}

test("a question is searched by its own words, each once, without those that mean nothing", () => {
  const [search, ...others] = searchesFor("Where are the device tokens stored, and which tokens expire?");

  assert.deepEqual(search?.args, { pattern: "device|tokens|stored|expire", ignoreCase: true });
  assert.deepEqual(others, []);
});

for (const question of [defaultQuestion, "what is it?", "?"]) {
  test(`"${question}" is searched by headings and first steps`, () => {
    assert.deepEqual(
      searchesFor(question).map(({ about }) => about),
      ["headings of documents", "lines on how to start"],
    );
  });
}

test("patterns made of any question are regular expressions", () => {
  for (const question of [defaultQuestion, "a.*(b[c {{children}} \\d+ ünïcode 名前について", "$^|"]) {
    for (const { args } of searchesFor(question)) assert.doesNotThrow(() => new RegExp(args.pattern, args.ignoreCase ? "i" : ""));
  }
});

test("the prompt names both sub-agents, the waiting and the summing up, and the question in one line", () => {
  const prompt = promptFor({ question: "Why\n@script [] ?", entryFile: "README.md" });

  for (const part of ['label "survey"', 'label "search"', "sessions_yield", "Write the answer yourself", "Why @script [] ?", "README.md"])
    assert.ok(prompt.includes(part), part);
  assert.doesNotMatch(prompt, /^@script/m);
});

test("the script is one line that spawns two children with a script each, waits for both, and then speaks", () => {
  const line = scriptFor({ question: 'Say "hi" {{children}}', entryFile: "README.md" });

  assert.equal(line.split("\n").length, 1);
  const [spawn, wait, say] = JSON.parse(line.replace("@script ", "")) as {
    call: { tool: string; args: { label: string; task: string } }[];
  }[];
  assert.deepEqual(
    spawn?.call.map(({ tool, args }) => `${tool} ${args.label}`),
    ["sessions_spawn survey", "sessions_spawn search"],
  );
  for (const { args } of spawn?.call ?? []) assert.ok(Array.isArray(JSON.parse(/^@script (.*)$/m.exec(args.task)?.[1] ?? "")));
  assert.deepEqual(wait, { awaitChildren: true });
  assert.deepEqual(say, { say: 'Say "hi" { {children}}\n\nWhat my two sub-agents found:\n\n{{children}}' });
});
