import assert from "node:assert/strict";
import { test } from "node:test";
import { parseConfig } from "@portreeve/gateway/config";
import { CliError } from "../exit.ts";
import { demoConfig, type DemoFlags } from "./config.ts";

const good: readonly (readonly [DemoFlags, string | undefined])[] = [
  [{}, undefined],
  [{ model: "scripted" }, "scripted"],
  [{ model: "openai/gpt-5.5" }, "openai/gpt-5.5"],
  [{ baseUrl: "http://127.0.0.1:11434/v1", model: "qwen3" }, "demo/qwen3"],
  [{ baseUrl: "http://127.0.0.1:11434/v1", model: "org/qwen3", apiKeyEnv: "KEY" }, "demo/org/qwen3"],
];

for (const [flags, model] of good) {
  test(`${JSON.stringify(flags)} is a configuration for ${model ?? "the default model"}`, () => {
    const config = parseConfig(JSON.stringify(demoConfig(flags, "/work", { KEY: "k" })), "demo");

    assert.equal(config.agents.defaults.model, model);
    assert.equal(config.agents.entries["main"]?.workspace, "/work");
    assert.equal(config.models.providers["demo"]?.apiKey?.reveal(), flags.apiKeyEnv === undefined ? undefined : "k");
  });
}

const bad: readonly (readonly [DemoFlags, RegExp])[] = [
  [{ model: "gpt" }, /names no provider/],
  [{ baseUrl: "http://x/v1" }, /needs --model/],
  [{ baseUrl: "foo", model: "m" }, /foo is no URL/],
  [{ baseUrl: "ftp://x/v1", model: "m" }, /is no URL/],
  [{ apiKeyEnv: "KEY" }, /goes with --base-url/],
  [{ baseUrl: "http://x/v1", model: "m", apiKeyEnv: "MISSING" }, /MISSING, which is not set/],
];

for (const [flags, message] of bad) {
  test(`${JSON.stringify(flags)} is refused with what was expected`, () => {
    assert.throws(
      () => demoConfig(flags, "/work", {}),
      (error) => error instanceof CliError && error.exit === "usage" && message.test(error.message),
    );
  });
}
