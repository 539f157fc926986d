/** Which model runs when nobody named one: the provider families, their usual key variables and one default model each. */
import { Secret } from "../kit/secret.ts";

export type Env = Readonly<Record<string, string | undefined>>;
/** The families that work without a line of configuration, given their key in the environment. */
export type KeyedApi = "anthropic" | "openai" | "google";

interface ProviderDefaults {
  /** As the provider names it. */
  readonly model: string;
  /** Environment variables that may hold the key, in order of preference. */
  readonly keyVariables: readonly [string, ...string[]];
}

/** In order of preference, for whoever has several keys in the environment. */
export const keyedApis: readonly KeyedApi[] = ["anthropic", "openai", "google"];

export const providerDefaults: Readonly<Record<KeyedApi, ProviderDefaults>> = {
  anthropic: { model: "claude-sonnet-5-5", keyVariables: ["ANTHROPIC_API_KEY"] },
  openai: { model: "gpt-5.5", keyVariables: ["OPENAI_API_KEY"] },
  google: { model: "gemini-3.8-flash", keyVariables: ["GOOGLE_GENERATIVE_AI_API_KEY", "GEMINI_API_KEY"] },
};

export const scriptedId = "scripted/scripted";

/** What can be had without a line of configuration, given a key for all but the last. */
export const offeredModels: readonly string[] = [...keyedApis.map((api) => `${api}/${providerDefaults[api].model}`), scriptedId];

/** The model of agents that name none, and a short reason for the start-up line. */
export function resolveDefaultModel(configured: string | undefined, env: Env): { readonly id: string; readonly why: string } {
  if (configured !== undefined) return { id: normaliseModelId(configured), why: "from agents.defaults.model" };
  for (const api of keyedApis) {
    const found = findKeyInEnv(api, env);
    if (found !== undefined) return { id: `${api}/${providerDefaults[api].model}`, why: `${found.variable} is set` };
  }
  return { id: scriptedId, why: "no model configured" };
}

/** A bare `scripted` is short for the built-in model; every other id stays as it is. */
export function normaliseModelId(id: string): string {
  return id === "scripted" ? scriptedId : id;
}

/** The family's key in the environment; white space around it does not count, and an empty variable is an absent one. */
export function findKeyInEnv(api: KeyedApi, env: Env): { readonly variable: string; readonly key: Secret } | undefined {
  for (const variable of providerDefaults[api].keyVariables) {
    const value = env[variable]?.trim() ?? "";
    if (value !== "") return { variable, key: new Secret(value) };
  }
  return undefined;
}
