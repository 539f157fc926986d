import assert from "node:assert/strict";
import { test } from "node:test";
import type { LanguageModelV4, LanguageModelV4StreamPart } from "@ai-sdk/provider";
import { createSystemClock } from "../kit/clock.ts";
import { createAiSdkModel, type ProviderAccess } from "./ai-sdk.ts";
import { ModelError } from "./model.ts";

const access: ProviderAccess = {
  provider: "local",
  baseUrl: "https://127.0.0.1:1/v1",
  apiKey: undefined,
  keyPlace: "models.providers.local.apiKey",
  clock: createSystemClock(),
};

test("a level that the model does not think at makes it unusable for this request, and says nothing of any other", async () => {
  const begun: LanguageModelV4StreamPart = {
    type: "stream-start",
    warnings: [{ type: "unsupported", feature: "reasoning", details: "no such level" }],
  };
  const languageModel: LanguageModelV4 = {
    specificationVersion: "v4",
    provider: "local",
    modelId: "m",
    supportedUrls: {},
    doGenerate: () => Promise.reject(new Error("nothing here generates")),
    doStream: () => Promise.resolve({ stream: ReadableStream.from([begun]) }),
  };
  const model = createAiSdkModel(languageModel, access, { problemWithThinking: () => Promise.resolve(undefined) });
  const request = { system: "", messages: [], tools: [], thinking: "high", signal: new AbortController().signal } as const;

  const asked = Array.fromAsync(model.stream(request));

  await assert.rejects(asked, (error) => {
    assert.ok(error instanceof ModelError);
    assert.deepEqual([error.kind, error.message, error.isOfRequest], ["unusable", "no such level", true]);
    return true;
  });
});
