/** Anthropic's Messages API. */
import { createAnthropic } from "@ai-sdk/anthropic";
import { askAboutThinking, createAiSdkModel, fetchNothing, type KeyedAccess } from "./ai-sdk.ts";
import { httpFetch } from "./http-fetch.ts";
import type { Model } from "./model.ts";

export function openAnthropic(access: KeyedAccess): (name: string) => Model {
  const settings = { baseURL: access.baseUrl, apiKey: access.apiKey.reveal() };
  const provider = createAnthropic({ ...settings, fetch: httpFetch });
  const dry = createAnthropic({ ...settings, fetch: fetchNothing });
  return (name) =>
    createAiSdkModel(provider(name), access, {
      hasPlainCallIds: true,
      problemWithThinking: (level) => askAboutThinking(dry(name), level),
    });
}
