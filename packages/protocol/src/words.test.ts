import assert from "node:assert/strict";
import { test } from "node:test";
import { authenticationWords, wordList, type WordFacts } from "./words.ts";

const facts: WordFacts = { gatewayKey: "gateway-key", deviceKey: "device-key", nonce: "nonce", signature: "signature" };

test("both sides derive the same four words, on every machine and in every version", async () => {
  assert.equal(await authenticationWords(facts), await authenticationWords({ ...facts }));
  assert.equal(await authenticationWords(facts), "basket lemon dinner cube");
});

for (const field of Object.keys(facts) as (keyof WordFacts)[]) {
  test(`another ${field} gives other words`, async () => {
    assert.notEqual(await authenticationWords({ ...facts, [field]: `${facts[field]}x` }), await authenticationWords(facts));
  });
}

test("facts that only read the same when they are run together give other words", async () => {
  const shifted = { ...facts, gatewayKey: "gateway-keyd", deviceKey: "evice-key" };

  assert.notEqual(await authenticationWords(shifted), await authenticationWords(facts));
});

test("the list has one short word a byte, which its first four letters tell from every other one", () => {
  assert.equal(wordList.length, 256);
  assert.equal(new Set(wordList.map((word) => word.slice(0, 4))).size, 256);
  assert.deepEqual(
    wordList.filter((word) => !/^[a-z]{3,8}$/.test(word)),
    [],
  );
  assert.deepEqual(
    wordList.filter((word) => wordList.some((other) => other !== word && other.startsWith(word))),
    [],
  );
});
