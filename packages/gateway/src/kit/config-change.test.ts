import assert from "node:assert/strict";
import { test } from "node:test";
import { ConfigError } from "./config.ts";
import { assertKeysStay, changedPaths, mergePatch } from "./config-change.ts";
import { sentinel } from "./config-redaction.ts";

test("a patch merges objects, takes away what is null, and replaces the rest", () => {
  const current = { a: { b: 1, c: [1, 2], d: 3 }, e: 4 };

  assert.deepEqual(mergePatch(current, { a: { b: 2, c: [3], d: null }, f: { g: null, h: 1 } }), { a: { b: 2, c: [3] }, e: 4, f: { h: 1 } });
  assert.deepEqual(mergePatch(current, { a: { b: 2 } }, ["a"]), { a: { b: 2 }, e: 4 });
  assert.deepEqual(mergePatch({}, JSON.parse('{"__proto__":{"polluted":1}}')), JSON.parse('{"__proto__":{"polluted":1}}'));
  assert.equal(({} as { polluted?: number }).polluted, undefined);
});

test("keys that differ are named, what is new as a whole in its parts", () => {
  const paths = changedPaths({ a: { b: 1, c: 2 }, d: [1] }, { a: { b: 1, c: 3 }, d: [1, 2], e: { f: 1 } });

  assert.deepEqual(paths, [["a", "c"], ["d"], ["e", "f"]]);
  assert.deepEqual(changedPaths({ a: 1 }, { a: 1 }), []);
  assert.deepEqual(changedPaths({ a: { b: 1 } }, { a: 2, c: {} }), [["a"], ["c"]]);
});

const at = (provider: object): object => ({ models: { providers: { p: provider } } });
const stored = at({ api: "openai", baseUrl: "https://a/v1", apiKey: "k" });
const moves: readonly (readonly [name: string, before: object, written: object, after: object, refused: boolean])[] = [
  ["nothing of it changed", stored, at({ apiKey: sentinel }), stored, false],
  [
    "another address, the key as it was",
    stored,
    at({ baseUrl: "https://b/v1" }),
    at({ api: "openai", baseUrl: "https://b/v1", apiKey: "k" }),
    true,
  ],
  [
    "another address, the key as a sentinel",
    stored,
    at({ baseUrl: "https://b/v1", apiKey: sentinel }),
    at({ api: "openai", baseUrl: "https://b/v1", apiKey: "k" }),
    true,
  ],
  ["another address with its own key", stored, at({ apiKey: "n" }), at({ api: "openai", baseUrl: "https://b/v1", apiKey: "n" }), false],
  [
    "an address for the key of the environment",
    at({ api: "openai" }),
    at({ baseUrl: "https://b/v1" }),
    at({ api: "openai", baseUrl: "https://b/v1" }),
    true,
  ],
  [
    "the key of the environment for an address",
    at({ api: "openai-compatible", baseUrl: "https://b/v1" }),
    at({ api: "openai" }),
    at({ api: "openai", baseUrl: "https://b/v1" }),
    true,
  ],
  ["the stored key to the provider's own address", stored, at({ baseUrl: null }), at({ api: "openai", apiKey: "k" }), true],
  [
    "a local one without a key",
    at({ api: "openai-compatible", baseUrl: "http://a" }),
    at({}),
    at({ api: "openai-compatible", baseUrl: "http://b" }),
    false,
  ],
  ["a new one without an address", {}, at({ api: "openai" }), at({ api: "openai" }), false],
];

for (const [name, before, written, after, refused] of moves) {
  test(`a stored key goes to no new address: ${name}`, () => {
    const check = (): void => assertKeysStay(before, written, after);

    if (refused) assert.throws(check, (error) => error instanceof ConfigError && error.issues[0]?.path === "models.providers.p.apiKey");
    else assert.doesNotThrow(check);
  });
}
