/** `provider/name` to a model. A provider's package is loaded with the first model that needs it, and once. */
import type { ThinkingLevel } from "@portreeve/protocol";
import { createSystemClock, type Clock } from "../kit/clock.ts";
import type { Config, ProviderConfig } from "../kit/config.ts";
import type { Secret } from "../kit/secret.ts";
import type { KeyedAccess, ProviderAccess } from "./ai-sdk.ts";
import {
  findKeyInEnv,
  keyedApis,
  normaliseModelId,
  providerDefaults,
  resolveDefaultModel,
  scriptedId,
  type Env,
  type KeyedApi,
} from "./defaults.ts";
import { ModelError, type Model, type Models } from "./model.ts";
import { createScriptedModel } from "./scripted.ts";

export interface ModelsInput {
  readonly providers: Config["models"]["providers"];
  /** `agents.defaults.model`. */
  readonly defaultModel: string | undefined;
  /** Where keys are that the configuration does not hold. Nothing else is read from it: hosts come from the configuration. */
  readonly env: Env;
  readonly clock?: Clock;
}

/** The models of a configuration. Touches neither the network nor a provider package before `get`. */
export function createModels({ providers, defaultModel, env, clock = createSystemClock() }: ModelsInput): Models {
  const scripted = createScriptedModel();
  const opened = new Map<string, Promise<OpenModel>>();
  const find = (id: string): Found => findModel(normaliseModelId(id), { providers, env, clock });
  const get = async (id: string): Promise<Model> => {
    const found = find(id);
    if (found.kind === "problem") throw new ModelError("unusable", found.problem);
    if (found.kind === "scripted") return scripted;
    const open = opened.get(found.target.access.provider) ?? openProvider(found.target);
    opened.set(found.target.access.provider, open);
    return (await open)(found.name);
  };
  return {
    defaultId: resolveDefaultModel(defaultModel, env).id,
    problemWith(id) {
      const found = find(id);
      return found.kind === "problem" ? found.problem : undefined;
    },
    get,
    problemWithThinking: async (id, level) => (await get(id)).problemWithThinking(level),
  };
}

type OpenModel = (name: string) => Model;
type Target =
  | { readonly api: KeyedApi; readonly access: KeyedAccess }
  | { readonly api: "openai-compatible"; readonly access: ProviderAccess; readonly thinking: readonly ThinkingLevel[] };
type Found =
  | { readonly kind: "problem"; readonly problem: string }
  | { readonly kind: "scripted" }
  | { readonly kind: "found"; readonly name: string; readonly target: Target };

const keptModels = 64;

/** Makes a model once: its package builds its schemas anew for every one. Callers choose names, so the oldest is let go. */
async function openProvider(target: Target): Promise<OpenModel> {
  // What a first call needs takes long to load: a turn of the event loop for each, or everybody waits for all of it.
  loadFetchClasses();
  await new Promise(setImmediate);
  const open = await openPackage(target);
  await new Promise(setImmediate);
  const models = new Map<string, Model>();
  return (name) => {
    const model = models.get(name) ?? open(name);
    models.delete(name);
    models.set(name, model);
    const [oldest] = models.keys();
    if (models.size > keptModels && oldest !== undefined) models.delete(oldest);
    return model;
  };
}

/** Packages use the headers and answers of `fetch`; Node loads all of it when any part is first used. */
function loadFetchClasses(): void {
  void new Headers();
}

async function openPackage(target: Target): Promise<OpenModel> {
  switch (target.api) {
    case "anthropic":
      return (await import("./anthropic.ts")).openAnthropic(target.access);
    case "openai":
      return (await import("./openai.ts")).openOpenAi(target.access);
    case "google":
      return (await import("./google.ts")).openGoogle(target.access);
    case "openai-compatible":
      return (await import("./openai-compatible.ts")).openOpenAiCompatible(target.access, target.thinking);
  }
}

/** Stated here and always passed on: left to themselves, the packages take a host from the process environment. */
const baseUrls: Readonly<Record<KeyedApi, string>> = {
  anthropic: "https://api.anthropic.com/v1",
  openai: "https://api.openai.com/v1",
  google: "https://generativelanguage.googleapis.com/v1beta",
};

type Sources = Required<Pick<ModelsInput, "providers" | "env" | "clock">>;

function findModel(id: string, sources: Sources): Found {
  const slash = id.indexOf("/");
  const provider = id.slice(0, slash);
  const name = id.slice(slash + 1);
  if (slash < 1 || name.trim() === "")
    return problem(`"${id}" is not a model id; expected provider/name, for example openai/${providerDefaults.openai.model}`);
  if (provider === "scripted") return findScripted(id, sources);
  const config = configOf(provider, sources);
  if (config === undefined) return problem(unknownProvider(id, provider, sources));
  const badUrl = problemWithUrl(provider, config.baseUrl);
  if (badUrl !== undefined) return problem(badUrl);
  return config.api === "openai-compatible"
    ? findCompatible(provider, name, { config, clock: sources.clock })
    : findKeyed(provider, name, { api: config.api, config, sources });
}

function findScripted(id: string, { providers }: Sources): Found {
  if (Object.hasOwn(providers, "scripted"))
    return problem("models.providers.scripted: the name belongs to the built-in model; give the provider another one");
  return id === scriptedId ? { kind: "scripted" } : problem(`there is no model "${id}"; the built-in model is ${scriptedId}`);
}

/** What the configuration says of the provider; the families need no entry. */
function configOf(provider: string, { providers }: Sources): ProviderConfig | undefined {
  if (Object.hasOwn(providers, provider)) return providers[provider];
  const api = keyedApis.find((one) => one === provider);
  return api === undefined ? undefined : { api };
}

function findCompatible(provider: string, name: string, { config, clock }: { config: ProviderConfig; clock: Clock }): Found {
  const { baseUrl, apiKey } = config;
  const keyPlace = `models.providers.${provider}.apiKey`;
  if (baseUrl === undefined)
    return problem(
      `models.providers.${provider}.baseUrl is missing: an openai-compatible provider needs one, for example http://127.0.0.1:11434/v1`,
    );
  if (apiKey !== undefined && !isHeaderText(apiKey)) return problem(unsendable(keyPlace));
  return {
    kind: "found",
    name,
    target: { api: "openai-compatible", access: { provider, baseUrl, apiKey, keyPlace, clock }, thinking: config.thinking ?? [] },
  };
}

function findKeyed(
  provider: string,
  name: string,
  { api, config, sources }: { api: KeyedApi; config: ProviderConfig; sources: Sources },
): Found {
  const configPlace = `models.providers.${provider}.apiKey`;
  const fromEnv = config.apiKey === undefined ? findKeyInEnv(api, sources.env) : undefined;
  const apiKey = config.apiKey ?? fromEnv?.key;
  const keyPlace = fromEnv?.variable ?? configPlace;
  if (apiKey === undefined)
    return problem(
      `${provider} has no key; set ${providerDefaults[api].keyVariables.join(" or ")} in the gateway's environment, or ${configPlace}`,
    );
  if (!isHeaderText(apiKey)) return problem(unsendable(keyPlace));
  const access = { provider, baseUrl: config.baseUrl ?? baseUrls[api], apiKey, keyPlace, clock: sources.clock };
  return { kind: "found", name, target: { api, access } };
}

function problemWithUrl(provider: string, baseUrl: string | undefined): string | undefined {
  if (baseUrl === undefined) return undefined;
  const place = `models.providers.${provider}.baseUrl`;
  const url = new URL(baseUrl);
  if (url.protocol !== "http:" && url.protocol !== "https:") return `${place} must start with http:// or https://`;
  const isPlain = url.username === "" && url.password === "" && url.search === "" && url.hash === "";
  return isPlain ? undefined : `${place} must be no more than host and path; a key goes to models.providers.${provider}.apiKey`;
}

function unknownProvider(id: string, provider: string, { providers }: Sources): string {
  const known = [...new Set([...Object.keys(providers), ...keyedApis, "scripted"])].join(", ");
  return `there is no provider "${provider}" for the model "${id}"; use one of ${known}, or add models.providers.${provider}`;
}

function unsendable(keyPlace: string): string {
  return `the key in ${keyPlace} holds white space or characters that cannot be sent; set it again`;
}

function isHeaderText(key: Secret): boolean {
  return /^[\x21-\x7e]+$/.test(key.reveal());
}

function problem(text: string): Found {
  return { kind: "problem", problem: text };
}
