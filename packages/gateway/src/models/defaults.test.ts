import assert from "node:assert/strict";
import { test } from "node:test";
import { resolveDefaultModel } from "./defaults.ts";

for (const { name, configured, env, id, why } of [
  {
    name: "a configured model wins over keys in the environment",
    configured: "local/qwen3",
    env: { OPENAI_API_KEY: "k" },
    id: "local/qwen3",
    why: "from agents.defaults.model",
  },
  {
    name: "a bare scripted is the built-in model",
    configured: "scripted",
    env: {},
    id: "scripted/scripted",
    why: "from agents.defaults.model",
  },
  {
    name: "ANTHROPIC_API_KEY comes before the others",
    env: { GEMINI_API_KEY: "k", OPENAI_API_KEY: "k", ANTHROPIC_API_KEY: "k" },
    id: "anthropic/claude-sonnet-5-5",
    why: "ANTHROPIC_API_KEY is set",
  },
  {
    name: "OPENAI_API_KEY comes before Google's",
    env: { GEMINI_API_KEY: "k", OPENAI_API_KEY: "k" },
    id: "openai/gpt-5.5",
    why: "OPENAI_API_KEY is set",
  },
  {
    name: "Google's own variable comes before GEMINI_API_KEY",
    env: { GEMINI_API_KEY: "k", GOOGLE_GENERATIVE_AI_API_KEY: "k" },
    id: "google/gemini-3.8-flash",
    why: "GOOGLE_GENERATIVE_AI_API_KEY is set",
  },
  {
    name: "GEMINI_API_KEY is enough for Google",
    env: { GEMINI_API_KEY: "k" },
    id: "google/gemini-3.8-flash",
    why: "GEMINI_API_KEY is set",
  },
  {
    name: "an empty variable is an absent one",
    env: { OPENAI_API_KEY: "", ANTHROPIC_API_KEY: " \n" },
    id: "scripted/scripted",
    why: "no model configured",
  },
  { name: "without anything the built-in model runs", env: {}, id: "scripted/scripted", why: "no model configured" },
] satisfies readonly { name: string; configured?: string; env: Record<string, string>; id: string; why: string }[]) {
  test(name, () => {
    assert.deepEqual(resolveDefaultModel(configured, env), { id, why });
  });
}
