import assert from "node:assert/strict";
import test from "node:test";
import { readProxyIdentity, type ProxyRequest, type ProxyRules } from "./proxy-identity.ts";

const rules: ProxyRules = { userHeader: "X-User", requiredHeaders: ["X-Proxy"], allowUsers: ["ada", "grace"], allowLoopback: false };
const headers = { "x-user": "ada", "x-proxy": "1" };
const request: ProxyRequest = { headers, isTrusted: true, isLoopback: false };

const refusals: readonly [name: string, request: ProxyRequest, reason: string, claimsUser: boolean][] = [
  ["from anyone but the proxy a user's name is nothing", { ...request, isTrusted: false }, "trusted_proxy_untrusted_source", true],
  ["a proxy on this machine needs the switch", { ...request, isLoopback: true }, "trusted_proxy_loopback_source", true],
  ["a required header that is missing refuses", { ...request, headers: { "x-user": "ada" } }, "trusted_proxy_missing_header_x-proxy", true],
  ["a proxy that names nobody is refused", { ...request, headers: { "x-proxy": "1" } }, "trusted_proxy_user_missing", false],
  ["a blank name is none", { ...request, headers: { ...headers, "x-user": " " } }, "trusted_proxy_user_missing", false],
  [
    "two names are refused, whoever wrote which",
    { ...request, headers: { ...headers, "x-user": "eve, ada" } },
    "trusted_proxy_user_ambiguous",
    true,
  ],
  ["a user who is not listed is refused", { ...request, headers: { ...headers, "x-user": "eve" } }, "trusted_proxy_user_not_allowed", true],
  ["a user's name is compared exactly", { ...request, headers: { ...headers, "x-user": "Ada" } }, "trusted_proxy_user_not_allowed", true],
];

for (const [name, given, reason, claimsUser] of refusals) {
  test(name, () => {
    const identity = readProxyIdentity(given, rules);

    assert.deepEqual(identity.kind === "refused" && [identity.reason, identity.claimsUser], [reason, claimsUser]);
  });
}

test("a listed user of the proxy is known, and without a list every user is", () => {
  const eve = { ...request, headers: { ...headers, "x-user": "eve" } };

  assert.deepEqual(readProxyIdentity(request, rules), { kind: "identified", user: "ada" });
  assert.deepEqual(readProxyIdentity(eve, { ...rules, allowUsers: [] }), { kind: "identified", user: "eve" });
  assert.deepEqual(readProxyIdentity({ ...request, isLoopback: true }, { ...rules, allowLoopback: true }), {
    kind: "identified",
    user: "ada",
  });
});
