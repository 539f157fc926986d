/** Whatever speaks OpenAI's chat completions: Ollama, vLLM, llama.cpp, a proxy. */
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import type { ThinkingLevel } from "@portreeve/protocol";
import { createAiSdkModel, type ProviderAccess } from "./ai-sdk.ts";
import { httpFetch } from "./http-fetch.ts";
import type { Model } from "./model.ts";

export function openOpenAiCompatible(access: ProviderAccess, thinking: readonly ThinkingLevel[]): (name: string) => Model {
  const provider = createOpenAICompatible({
    name: access.provider,
    baseURL: access.baseUrl,
    ...(access.apiKey === undefined ? {} : { apiKey: access.apiKey.reveal() }),
    includeUsage: true,
    fetch: httpFetch,
  });
  const problemWithThinking = (level: ThinkingLevel): Promise<string | undefined> =>
    Promise.resolve(thinking.includes(level) ? undefined : problem(access.provider, level, thinking));
  return (name) => createAiSdkModel(provider.chatModel(name), access, { problemWithThinking });
}

function problem(provider: string, level: ThinkingLevel, thinking: readonly ThinkingLevel[]): string {
  const known = thinking.length === 0 ? "names no level" : `names ${thinking.join(", ")}`;
  return `nobody can know whether its models think at ${level}: models.providers.${provider}.thinking ${known}`;
}
