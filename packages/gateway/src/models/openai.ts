/** OpenAI's Responses API. */
import { createOpenAI } from "@ai-sdk/openai";
import { createAiSdkModel, fetchWithoutRedirects, type KeyedAccess } from "./ai-sdk.ts";
import type { Model } from "./model.ts";

export function openOpenAi(access: KeyedAccess): (name: string) => Model {
  const provider = createOpenAI({ baseURL: access.baseUrl, apiKey: access.apiKey.reveal(), fetch: fetchWithoutRedirects });
  // The transcript is the gateway's; by default the provider would keep a copy that nothing here reads.
  return (name) => createAiSdkModel(provider.responses(name), access, { openai: { store: false } });
}
