import assert from "node:assert/strict";
import { test } from "node:test";
import { formatSetupCode, parseSetupCode } from "./setup-code.ts";

const code = { url: "wss://gate.example/ü", bootstrapToken: "t0ken", expiresAtMs: 5 };
const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");

test("a setup code is base64url of JSON and reads back as it was", () => {
  const text = formatSetupCode(code);

  assert.match(text, /^[A-Za-z0-9_-]+$/);
  assert.deepEqual(JSON.parse(Buffer.from(text, "base64url").toString("utf8")), code);
  assert.deepEqual(parseSetupCode(` ${text}\n`), code);
});

test("codes of both versions are read, with what else they hold", () => {
  const v3 = { url: "ws://127.0.0.1:1", bootstrapToken: "t" };

  assert.deepEqual(parseSetupCode(encode(v3)), { ...v3, expiresAtMs: undefined });
  assert.deepEqual(parseSetupCode(encode({ ...code, urls: [code.url] })), code);
});

const others: readonly string[] = [
  "",
  "not a code",
  "ünïcode",
  encode("text"),
  encode([]),
  encode({ url: "https://gate.example", bootstrapToken: "t" }),
  encode({ url: "no url", bootstrapToken: "t" }),
  encode({ url: "ws://h", bootstrapToken: "" }),
  encode({ bootstrapToken: "t" }),
  Buffer.from([0xff, 0xfe]).toString("base64url"),
];
for (const text of others) {
  test(`${JSON.stringify(text)} is no setup code`, () => {
    assert.equal(parseSetupCode(text), undefined);
  });
}
