/** OpenAI's Responses API. */
import { createOpenAI } from "@ai-sdk/openai";
import { askAboutThinking, createAiSdkModel, fetchNothing, fetchWithoutRedirects, type KeyedAccess } from "./ai-sdk.ts";
import type { Model } from "./model.ts";

export function openOpenAi(access: KeyedAccess): (name: string) => Model {
  const settings = { baseURL: access.baseUrl, apiKey: access.apiKey.reveal() };
  const provider = createOpenAI({ ...settings, fetch: fetchWithoutRedirects });
  const dry = createOpenAI({ ...settings, fetch: fetchNothing });
  return (name) =>
    createAiSdkModel(provider.responses(name), access, {
      // The transcript is the gateway's; by default the provider would keep a copy that nothing here reads.
      providerOptions: { openai: { store: false } },
      problemWithThinking: (level) => askAboutThinking(dry.responses(name), level),
    });
}
