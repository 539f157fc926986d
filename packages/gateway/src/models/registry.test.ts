import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { promisify } from "node:util";
import { parseConfig } from "../kit/config.ts";
import { say, startFakeOpenAi } from "../../../../test/support/fake-openai.ts";
import { readAll, requestOf, userSays } from "./model-contract.ts";
import { ModelError, type Models } from "./model.ts";
import { createModels } from "./registry.ts";

function modelsOf(providers: object, env: Record<string, string> = {}): Models {
  const config = parseConfig(JSON.stringify({ models: { providers } }), "test");
  return createModels({ providers: config.models.providers, defaultModel: undefined, env });
}

const compatible = { api: "openai-compatible", baseUrl: "http://127.0.0.1:9/v1" };

for (const { id, providers = {}, env = {}, problem } of [
  { id: "scripted" },
  { id: "scripted/scripted" },
  { id: "local/qwen3", providers: { local: compatible } },
  { id: "local/meta/llama-4", providers: { local: compatible } },
  { id: "openai/gpt-5.5", env: { OPENAI_API_KEY: "k" } },
  { id: "work/gpt-5.5", providers: { work: { api: "openai", apiKey: "k" } } },
  { id: "work/gpt-5.5", providers: { work: { api: "openai" } }, env: { OPENAI_API_KEY: "k" } },
  { id: "google/gemini-3.8-flash", env: { GEMINI_API_KEY: "k" } },
  { id: "gpt-5.5", problem: '"gpt-5.5" is not a model id; expected provider/name, for example openai/gpt-5.5' },
  { id: "openai/", problem: '"openai/" is not a model id; expected provider/name, for example openai/gpt-5.5' },
  { id: "/gpt", problem: '"/gpt" is not a model id; expected provider/name, for example openai/gpt-5.5' },
  { id: "", problem: '"" is not a model id; expected provider/name, for example openai/gpt-5.5' },
  {
    id: "nope/x",
    providers: { local: compatible },
    problem:
      'there is no provider "nope" for the model "nope/x"; use one of local, anthropic, openai, google, scripted, or add models.providers.nope',
  },
  {
    id: "constructor/x",
    problem:
      'there is no provider "constructor" for the model "constructor/x"; use one of anthropic, openai, google, scripted, or add models.providers.constructor',
  },
  {
    id: "openai/gpt-5.5",
    problem: "openai has no key; set OPENAI_API_KEY in the gateway's environment, or models.providers.openai.apiKey",
  },
  {
    id: "google/x",
    problem:
      "google has no key; set GOOGLE_GENERATIVE_AI_API_KEY or GEMINI_API_KEY in the gateway's environment, or models.providers.google.apiKey",
  },
  {
    id: "openai/x",
    env: { OPENAI_API_KEY: "two words" },
    problem: "the key in OPENAI_API_KEY holds white space or characters that cannot be sent; set it again",
  },
  {
    id: "local/x",
    providers: { local: { ...compatible, apiKey: "a\nb" } },
    problem: "the key in models.providers.local.apiKey holds white space or characters that cannot be sent; set it again",
  },
  {
    id: "local/x",
    providers: { local: { api: "openai-compatible" } },
    problem: "models.providers.local.baseUrl is missing: an openai-compatible provider needs one, for example http://127.0.0.1:11434/v1",
  },
  {
    id: "local/x",
    providers: { local: { api: "openai-compatible", baseUrl: "http://u:p@127.0.0.1/v1" } },
    problem: "models.providers.local.baseUrl must be no more than host and path; a key goes to models.providers.local.apiKey",
  },
  {
    id: "local/x",
    providers: { local: { api: "openai-compatible", baseUrl: "http://127.0.0.1/v1?key=k" } },
    problem: "models.providers.local.baseUrl must be no more than host and path; a key goes to models.providers.local.apiKey",
  },
  {
    id: "local/x",
    providers: { local: { api: "openai-compatible", baseUrl: "ftp://127.0.0.1/v1" } },
    problem: "models.providers.local.baseUrl must start with http:// or https://",
  },
  { id: "scripted/other", problem: 'there is no model "scripted/other"; the built-in model is scripted/scripted' },
  {
    id: "scripted/scripted",
    providers: { scripted: compatible },
    problem: "models.providers.scripted: the name belongs to the built-in model; give the provider another one",
  },
] satisfies readonly { id: string; providers?: object; env?: Record<string, string>; problem?: string }[]) {
  const given = JSON.stringify({ ...providers, ...env });
  test(`"${id}" with ${given} ${problem === undefined ? "can be used" : "cannot be used, and the reason says what to do"}`, async () => {
    const models = modelsOf(providers, env);

    const outcome = await models.get(id).then(
      (model) => `${model.provider}/${model.name}`,
      (error: unknown) => error,
    );

    assert.equal(models.problemWith(id), problem);
    if (problem === undefined) assert.equal(outcome, id === "scripted" ? "scripted/scripted" : id);
    else assert.ok(outcome instanceof ModelError && outcome.kind === "unusable" && outcome.message === problem);
  });
}

test("a key from the environment goes to a configured provider of that family", async () => {
  await using provider = await startFakeOpenAi();
  const models = modelsOf({ work: { api: "anthropic", baseUrl: provider.baseUrl } }, { ANTHROPIC_API_KEY: " key-from-env\n" });
  const model = await models.get("work/m");

  await readAll(model.stream(requestOf([userSays("go")]))).catch(() => {});

  assert.equal((await provider.request(0)).headers["x-api-key"], "key-from-env");
});

test("an openai-compatible provider without a key is sent none, whatever the environment holds", async () => {
  await using provider = await startFakeOpenAi({ handler: () => say("ok") });
  const models = modelsOf({ local: { api: "openai-compatible", baseUrl: provider.baseUrl } }, { OPENAI_API_KEY: "k" });

  await readAll((await models.get("local/m")).stream(requestOf([userSays("go")])));

  assert.equal((await provider.request(0)).headers.authorization, undefined);
});

test("the default model is the one resolved from configuration and environment", () => {
  const models = createModels({ providers: {}, defaultModel: undefined, env: { OPENAI_API_KEY: "k" } });

  assert.equal(models.defaultId, "openai/gpt-5.5");
});

test("a model is made once, and let go when many others came after it", async () => {
  const models = modelsOf({ local: compatible });
  const first = await models.get("local/first");

  const again = await models.get("local/first");
  for (let other = 0; other < 64; other += 1) await models.get(`local/other-${other}`);
  const later = await models.get("local/first");

  assert.equal(again, first);
  assert.notEqual(later, first);
});

test("a provider's package is loaded with its first model, and the other packages not at all", async () => {
  const script = `
    import { registerHooks } from "node:module";
    const packages = new Set();
    registerHooks({ load(url, context, next) {
      const name = /node_modules\\/(@ai-sdk\\/[^/]+)/.exec(url)?.[1];
      if (name !== undefined) packages.add(name);
      return next(url, context);
    } });
    const { createModels } = await import(${JSON.stringify(new URL("./registry.ts", import.meta.url).href)});
    const models = createModels({ providers: {}, defaultModel: undefined, env: { ANTHROPIC_API_KEY: "k" } });
    models.problemWith("anthropic/m");
    const before = [...packages];
    await models.get("anthropic/m");
    console.log(JSON.stringify({ before, after: [...packages].filter((name) => !name.includes("/provider")) }));
  `;

  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", script]);

  assert.deepEqual(JSON.parse(stdout), { before: [], after: ["@ai-sdk/anthropic"] });
});
