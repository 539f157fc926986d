import assert from "node:assert/strict";
import { test } from "node:test";
import { parseGlob } from "./glob.ts";

const cases: readonly (readonly [pattern: string, fitting: readonly string[], other: readonly string[]])[] = [
  ["*.md", ["a.md", "docs/deep/b.md", ".md"], ["a.mdx", "md", "a.md/x"]],
  ["a?.ts", ["ab.ts", "x/aé.ts", "a😀.ts"], ["a.ts", "abc.ts"]],
  ["*.{ts,tsx}", ["a.ts", "x/b.tsx"], ["a.js", "a.{ts,tsx}"]],
  ["{a,{b,c}}.md", ["a.md", "b.md", "c.md"], ["d.md"]],
  ["src/*.ts", ["src/a.ts"], ["src/x/a.ts", "a.ts", "lib/src/a.ts"]],
  ["src/**/*.ts", ["src/a.ts", "src/x/a.ts", "src/x/y/a.ts"], ["a.ts", "lib/src/a.ts", "src/a.js"]],
  ["**/*.ts", ["a.ts", "x/y/a.ts"], ["a.js"]],
  ["./docs/**", ["docs/a", "docs/a/b"], ["a", "mydocs/a"]],
  ["a.c", ["a.c"], ["abc"]],
  ["[x]+", ["[x]+"], ["x"]],
];

for (const [pattern, fitting, other] of cases) {
  test(`the pattern ${pattern} fits what it says and nothing else`, () => {
    const glob = parseGlob(pattern);

    assert.deepEqual(
      [...fitting, ...other].filter((path) => glob?.(path) === true),
      fitting,
    );
  });
}

test("a pattern of many stars is decided without trying every split", () => {
  const glob = parseGlob(`${"*a".repeat(90)}b`);

  assert.equal(glob?.("a".repeat(250)), false);
});

test("braces that make too many patterns are refused", () => {
  assert.equal(parseGlob("{a,b}".repeat(30)), undefined);
  assert.equal(parseGlob("{".repeat(90) + "}".repeat(90))?.("x"), false);
});
