import assert from "node:assert/strict";
import { test } from "node:test";
import { ConfigError } from "./config.ts";
import { hasSentinel, redact, restore, sentinel } from "./config-redaction.ts";
import { toConfigSchema } from "./config-schema.ts";

const schema = toConfigSchema();
const secrets = {
  gateway: { auth: { token: "t-1" }, port: 1 },
  models: { providers: { a: { api: "openai", apiKey: "k-1" }, b: { api: "openai-compatible", baseUrl: "http://u:p@host/v1" } } },
};

function issueOf(make: () => unknown): unknown {
  try {
    make();
  } catch (error) {
    assert.ok(error instanceof ConfigError);
    return error.issues[0];
  }
  return assert.fail("nothing was wrong");
}

test("a secret is shown to nobody, wherever the schema has one, nor an address with a password in it", () => {
  assert.deepEqual(redact(secrets, schema), {
    gateway: { auth: { token: sentinel }, port: 1 },
    models: { providers: { a: { api: "openai", apiKey: sentinel }, b: { api: "openai-compatible", baseUrl: sentinel } } },
  });
});

test("a secret that is no text is shown to nobody either, nor what stands where the schema has a group", () => {
  const written = {
    gateway: { auth: { token: 86753091234, password: true } },
    models: { providers: { openai: "sk-1", p: { apiKey: [7] } } },
  };

  assert.deepEqual(redact(written, schema), {
    gateway: { auth: { token: sentinel, password: sentinel } },
    models: { providers: { openai: sentinel, p: { apiKey: [sentinel] } } },
  });
  assert.deepEqual(restore(redact(written, schema), written, schema), written);
});

test("what stands at a key that the schema does not have may be anything, and is shown to nobody", () => {
  const shown = redact({ gateway: { auth: { tokn: "t-1", list: ["x", { y: "z" }] } }, agents: { entries: { "9 X": { n: 1 } } } }, schema);

  assert.deepEqual(shown, {
    gateway: { auth: { tokn: sentinel, list: [sentinel, { y: sentinel }] } },
    agents: { entries: { "9 X": { n: sentinel } } },
  });
});

test("what is shown and written back is what it was", () => {
  assert.deepEqual(restore(redact(secrets, schema), secrets, schema), secrets);
});

test("a sentinel stands for the secret at its own key, never for another or for what is no secret", () => {
  const moved = issueOf(() => restore({ agents: { defaults: { model: sentinel } } }, secrets, schema));
  const other = issueOf(() => restore({ models: { providers: { c: { apiKey: sentinel } } } }, secrets, schema));
  const unset = issueOf(() => restore({ gateway: { auth: { token: sentinel } } }, { gateway: { auth: { token: sentinel } } }, schema));
  const inherited = issueOf(() => restore({ gateway: { auth: { constructor: sentinel } } }, secrets, schema));

  const message = "stands for a secret that is not there: write the value itself";
  assert.deepEqual(
    [moved, other, unset, inherited],
    ["agents.defaults.model", "models.providers.c.apiKey", "gateway.auth.token", "gateway.auth.constructor"].map((path) => ({
      path,
      message,
    })),
  );
});

test("what is nested without end is refused, and costs no stack", () => {
  let deep: unknown = "x";
  for (let level = 0; level < 100_000; level += 1) deep = { a: deep };

  assert.deepEqual(
    issueOf(() => redact(deep, schema)),
    { path: "a.a.a", message: "is nested too deeply" },
  );
});

test("whether something holds a sentinel is known", () => {
  assert.deepEqual([hasSentinel({ a: [{ b: sentinel }] }), hasSentinel({ a: [sentinel.slice(1)] })], [true, false]);
});
