/** The configuration of the demo's own gateway: the folder to look at, and the model that was asked for. */
import { usageError } from "../exit.ts";

export interface DemoFlags {
  readonly dir?: string;
  readonly baseUrl?: string;
  readonly model?: string;
  readonly apiKeyEnv?: string;
  readonly json?: boolean;
}

/** The configuration as an object for a JSON5 file. @throws CliError when the flags do not fit together. */
export function demoConfig(flags: DemoFlags, workspace: string, env: Readonly<Record<string, string | undefined>>): object {
  const { baseUrl, model, apiKeyEnv } = flags;
  const agents = { entries: { main: { workspace } } };
  if (baseUrl === undefined) {
    if (apiKeyEnv !== undefined) throw usageError("--api-key-env goes with --base-url; a provider's own variable is found without it.");
    if (model === undefined) return { agents };
    if (model !== "scripted" && !model.includes("/")) {
      throw usageError(`--model ${model} names no provider. Expected provider/name, such as openai/gpt-5.5, or --base-url URL beside it.`);
    }
    return { agents: { ...agents, defaults: { model } } };
  }
  if (!/^https?:\/\//.test(baseUrl) || !URL.canParse(baseUrl))
    throw usageError(`--base-url ${baseUrl} is no URL. Expected one such as http://127.0.0.1:11434/v1.`);
  if (model === undefined) throw usageError("--base-url needs --model NAME, the model's name at that address.");
  const apiKey = apiKeyEnv === undefined ? undefined : env[apiKeyEnv];
  if (apiKeyEnv !== undefined && !apiKey) throw usageError(`--api-key-env names ${apiKeyEnv}, which is not set.`);
  const provider = { api: "openai-compatible", baseUrl, ...(apiKey === undefined ? {} : { apiKey }) };
  return { models: { providers: { demo: provider } }, agents: { ...agents, defaults: { model: `demo/${model}` } } };
}
