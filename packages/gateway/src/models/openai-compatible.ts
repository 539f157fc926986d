/** Whatever speaks OpenAI's chat completions: Ollama, vLLM, llama.cpp, a proxy. */
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { createAiSdkModel, fetchWithoutRedirects, type ProviderAccess } from "./ai-sdk.ts";
import type { Model } from "./model.ts";

export function openOpenAiCompatible(access: ProviderAccess): (name: string) => Model {
  const provider = createOpenAICompatible({
    name: access.provider,
    baseURL: access.baseUrl,
    ...(access.apiKey === undefined ? {} : { apiKey: access.apiKey.reveal() }),
    includeUsage: true,
    fetch: fetchWithoutRedirects,
  });
  return (name) => createAiSdkModel(provider.chatModel(name), access);
}
