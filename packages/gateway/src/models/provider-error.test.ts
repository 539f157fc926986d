import assert from "node:assert/strict";
import { test } from "node:test";
import { createSystemClock } from "../kit/clock.ts";
import { Secret } from "../kit/secret.ts";
import type { ProviderAccess } from "./ai-sdk.ts";
import { toModelError } from "./provider-error.ts";

const access: ProviderAccess = {
  provider: "local",
  baseUrl: "https://127.0.0.1:1/v1",
  apiKey: new Secret("key-of-the-test-0123456789"),
  keyPlace: "models.providers.local.apiKey",
  clock: createSystemClock(),
};

test("no part of a key is left where a long message is cut", () => {
  const error = toModelError({ message: `${"x".repeat(390)} key-of-the-test-0123456789` }, access, "m");

  assert.doesNotMatch(error.message, /key-of/);
});

test("a key is left out of the answer however the body writes it, and what is left is bounded", () => {
  const apiKey = new Secret('key"/of+the+test');
  const responseBody = `${JSON.stringify({ key: apiKey.reveal() })} ?key=${encodeURIComponent(apiKey.reveal())} ${"x".repeat(9_000)}`;

  const { answer = "" } = toModelError({ statusCode: 400, responseBody }, { ...access, apiKey }, "m");

  assert.match(answer, /^\{"key":"\[secret\]"\} \?key=\[secret\] x+…$/);
  assert.ok(answer.length < 2_100);
});

test("a placeholder of a key does not tear messages apart", () => {
  const error = toModelError({ message: "no such thing", statusCode: 400 }, { ...access, apiKey: new Secret("no") }, "m");

  assert.equal(error.message, "local answered with an error (HTTP 400): no such thing");
});

test("a certificate that is not trusted is not worth a retry, a host that is not found is", () => {
  const failures = ["DEPTH_ZERO_SELF_SIGNED_CERT", "EAI_AGAIN"].map((code) => {
    const cause = Object.assign(new Error("no"), { code });
    return toModelError(Object.assign(new Error("no", { cause }), { name: "AI_APICallError", isRetryable: true }), access, "m");
  });

  assert.deepEqual(
    failures.map(({ kind, retryable, message }) => [kind, retryable, message.includes("DEPTH_ZERO") || message.includes("EAI_AGAIN")]),
    [
      ["network", false, true],
      ["network", true, true],
    ],
  );
});

for (const thrown of ["boom", undefined, null, ["boom"], 7, { message: { nested: true } }]) {
  test(`${JSON.stringify(thrown)} thrown by a package is an unknown failure, not another one`, () => {
    const error = toModelError(thrown, access, "m");

    assert.deepEqual([error.kind, error.retryable], ["unknown", false]);
  });
}

const geminiQuota = (quotaId: string, ...more: readonly object[]): string =>
  JSON.stringify({
    error: {
      code: 429,
      status: "RESOURCE_EXHAUSTED",
      message: "You exceeded your current quota, please check your plan and billing details.",
      details: [{ "@type": "type.googleapis.com/google.rpc.QuotaFailure", violations: [{ quotaId }] }, ...more],
    },
  });
const retryInfo = (retryDelay: string): object => ({ "@type": "type.googleapis.com/google.rpc.RetryInfo", retryDelay });

for (const [what, responseBody, retryable, retryAfterMs] of [
  ["by the minute", geminiQuota("GenerateRequestsPerMinutePerProjectPerModel-FreeTier", retryInfo("34s")), true, 34_000],
  ["by the minute, to the fraction", geminiQuota("GenerateContentInputTokensPerModelPerMinute", retryInfo("1.5s")), true, 1_500],
  ["by the day", geminiQuota("GenerateRequestsPerDayPerProjectPerModel-FreeTier", retryInfo("34s")), false, undefined],
  ["that says no time", geminiQuota("GenerateContent"), false, undefined],
  ["of OpenAI that is spent", JSON.stringify({ error: { code: "insufficient_quota", message: "check your plan" } }), false, undefined],
] as const) {
  test(`a quota ${what} is ${retryable ? "worth" : "not worth"} a retry`, () => {
    const error = toModelError({ statusCode: 429, responseBody }, access, "m");

    assert.deepEqual([error.kind, error.retryable, error.retryAfterMs], ["rate_limit", retryable, retryAfterMs]);
  });
}

test("what the header asks for counts before what the body does", () => {
  const responseBody = geminiQuota("PerMinute", retryInfo("34s"));

  const { retryAfterMs } = toModelError({ statusCode: 429, responseHeaders: { "retry-after": "5" }, responseBody }, access, "m");

  assert.equal(retryAfterMs, 5_000);
});

for (const message of [
  "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, decrease input length or `max_tokens` and try again",
  "the request exceeds the available context size, try increasing it",
  "exceed_context_size_error",
  "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
  "Input is too long for requested model.",
  "prompt is too long: 210000 tokens > 200000 maximum",
]) {
  test(`"${message.slice(0, 40)}…" is a matter of length`, () => {
    const { kind, retryable } = toModelError({ statusCode: 400, message }, access, "m");

    assert.deepEqual([kind, retryable], ["context_length", false]);
  });
}
