/** Google's Gemini API. */
import { createGoogle } from "@ai-sdk/google";
import { askAboutThinking, createAiSdkModel, fetchNothing, type KeyedAccess } from "./ai-sdk.ts";
import { httpFetch } from "./http-fetch.ts";
import type { Model } from "./model.ts";

export function openGoogle(access: KeyedAccess): (name: string) => Model {
  const settings = { baseURL: access.baseUrl, apiKey: access.apiKey.reveal() };
  const provider = createGoogle({ ...settings, fetch: httpFetch });
  const dry = createGoogle({ ...settings, fetch: fetchNothing });
  return (name) =>
    createAiSdkModel(provider(name), access, {
      problemWithThinking: (level) => askAboutThinking(dry(name), level),
    });
}
