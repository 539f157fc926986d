/** Anthropic's Messages API. */
import { createAnthropic } from "@ai-sdk/anthropic";
import { createAiSdkModel, fetchWithoutRedirects, type KeyedAccess } from "./ai-sdk.ts";
import type { Model } from "./model.ts";

export function openAnthropic(access: KeyedAccess): (name: string) => Model {
  const provider = createAnthropic({ baseURL: access.baseUrl, apiKey: access.apiKey.reveal(), fetch: fetchWithoutRedirects });
  return (name) => createAiSdkModel(provider(name), access);
}
