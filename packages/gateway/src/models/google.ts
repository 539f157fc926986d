/** Google's Gemini API. */
import { createGoogle } from "@ai-sdk/google";
import { createAiSdkModel, fetchWithoutRedirects, type KeyedAccess } from "./ai-sdk.ts";
import type { Model } from "./model.ts";

export function openGoogle(access: KeyedAccess): (name: string) => Model {
  const provider = createGoogle({ baseURL: access.baseUrl, apiKey: access.apiKey.reveal(), fetch: fetchWithoutRedirects });
  return (name) => createAiSdkModel(provider(name), access);
}
