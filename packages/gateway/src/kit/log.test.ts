import assert from "node:assert/strict";
import { test } from "node:test";
import { toLogged } from "./log.ts";

test("of an error its words, code and place are logged, and nothing that it was about", () => {
  const error = Object.assign(new Error("HTTP 500", { cause: Object.assign(new Error("reset"), { key: "sk-a" }) }), {
    code: "EFAIL",
    requestBodyValues: { prompt: "a secret" },
    responseHeaders: { cookie: "sk-b" },
  });

  const { stack, ...logged } = toLogged(error) as { stack: string };

  assert.deepEqual(logged, { type: "Error", message: "HTTP 500", code: "EFAIL", cause: "reset" });
  assert.match(stack, /log\.test\.ts/);
  assert.equal(toLogged("text"), "text");
});
