/** OpenAI's Responses API. */
import { createOpenAI } from "@ai-sdk/openai";
import { askAboutThinking, createAiSdkModel, fetchNothing, type KeyedAccess } from "./ai-sdk.ts";
import { httpFetch } from "./http-fetch.ts";
import type { Model } from "./model.ts";

export function openOpenAi(access: KeyedAccess): (name: string) => Model {
  const settings = { baseURL: access.baseUrl, apiKey: access.apiKey.reveal() };
  const provider = createOpenAI({ ...settings, fetch: httpFetch });
  const dry = createOpenAI({ ...settings, fetch: fetchNothing });
  return (name) =>
    createAiSdkModel(provider.responses(name), access, {
      // The transcript is the gateway's; by default the provider would keep a copy that nothing here reads.
      providerOptions: { openai: { store: false } },
      problemWithThinking: (level) => askAboutThinking(dry.responses(name), level),
    });
}
