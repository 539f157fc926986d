import assert from "node:assert/strict";
import test from "node:test";
import { ConfigError, parseConfig } from "./config.ts";
import { assertMayStart, findWarnings } from "./exposure.ts";

const gateway = (settings: object) => parseConfig(JSON.stringify({ gateway: settings }), "test").gateway;
const proxied = { mode: "trusted-proxy", trustedProxy: { userHeader: "x-user" } };

const refused: readonly [name: string, settings: object, says: RegExp][] = [
  ["mode none on every address", { bind: "lan", auth: { mode: "none" } }, /gateway\.bind is lan: set gateway\.bind to loopback/],
  ["mode none on one address of the network", { bind: "192.0.2.1", auth: { mode: "none" } }, /gateway\.bind is 192\.0\.2\.1/],
  ["mode none on the unspecified address", { bind: "::", auth: { mode: "none" } }, /gateway\.bind is ::/],
  ["plain text on every address", { bind: "lan" }, /set gateway\.tls\.mode to generated, or gateway\.tls\.insecurePlaintext/],
  ["plain text on one address of the network", { bind: "192.0.2.1" }, /gateway\.bind is 192\.0\.2\.1/],
  ["a password that no mode uses", { auth: { password: "p" } }, /set gateway\.auth\.mode to password/],
  ["a token in mode password", { auth: { mode: "password", token: "t", password: "p" } }, /set gateway\.auth\.mode to token/],
  ["a secret given twice", { auth: { token: "t", tokenFile: "/f" } }, /keep one/],
  ["a trusted proxy without its header", { auth: { mode: "trusted-proxy" }, trustedProxies: ["192.0.2.1"] }, /userHeader/],
  ["a trusted proxy without its address", { auth: proxied }, /trustedProxies is empty/],
  ["a trusted proxy on this machine without the switch", { auth: proxied, trustedProxies: ["127.0.0.1", "::1"] }, /allowLoopback/],
];

for (const [name, settings, says] of refused) {
  test(`${name} does not start`, () => {
    assert.throws(
      () => assertMayStart(gateway(settings)),
      (error: unknown) => error instanceof ConfigError && says.test(error.message) && !error.message.includes("\n"),
    );
  });
}

test("what is complete and closed starts", () => {
  const settings = [
    {},
    { auth: { mode: "none" } },
    { bind: "127.0.0.2", auth: { mode: "none" } },
    { bind: "::1", auth: { mode: "none" } },
    { auth: { mode: "password", password: "p" } },
    { auth: proxied, trustedProxies: ["192.0.2.1"] },
    { bind: "lan", tls: { mode: "generated" } },
    { bind: "lan", tls: { insecurePlaintext: true } },
  ];

  for (const one of settings) assertMayStart(gateway(one));
});

test("mode none and plain text beyond loopback are said, and nothing else is", () => {
  assert.match(findWarnings(gateway({ bind: "lan", tls: { insecurePlaintext: true } })).join(), /NOT encrypted/);
  assert.match(findWarnings(gateway({ auth: { mode: "none" } })).join(), /OFF/);
  assert.deepEqual(findWarnings(gateway({})), []);
});
