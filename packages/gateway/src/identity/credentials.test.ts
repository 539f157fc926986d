import assert from "node:assert/strict";
import { createSecretKey } from "node:crypto";
import test from "node:test";
import { Secret } from "../kit/secret.ts";
import { createCredentials } from "./credentials.ts";

const keys = { secret: new Secret("the-secret"), tokenKey: createSecretKey(Buffer.alloc(32, 7)), gatewayId: "aa".repeat(32) };
const credentials = createCredentials(keys);
const subject = { deviceId: "d1", role: "operator", generation: 1 };
const tokenOf = (over: Partial<typeof subject>, gatewayId = keys.gatewayId): string =>
  createCredentials({ ...keys, gatewayId })
    .deviceToken({ ...subject, ...over })
    .reveal();

test("the shared secret is right in either field, whatever the other one holds", () => {
  const offers = [
    { token: "the-secret" },
    { password: "the-secret" },
    { token: "x", password: "the-secret" },
    { token: "the-secret", password: "x" },
  ];

  assert.deepEqual(
    offers.map((auth) => credentials.checkSecret(auth)),
    ["right", "right", "right", "right"],
  );
});

test("a wrong secret is wrong, and none is absent", () => {
  const offers = [{ token: "the-secret " }, { token: "" }, {}, undefined, { deviceToken: "the-secret" }];

  assert.deepEqual(
    offers.map((auth) => credentials.checkSecret(auth)),
    ["wrong", "absent", "absent", "absent", "absent"],
  );
});

test("a device token has 43 characters and is the same every time", () => {
  const token = credentials.deviceToken(subject);

  assert.match(token.reveal(), /^[A-Za-z0-9_-]{43}$/);
  assert.equal(token.reveal(), credentials.deviceToken(subject).reveal());
  assert.equal(JSON.stringify({ token }), '{"token":"[secret]"}');
});

test("every part of the subject makes another token, and parts do not run into each other", () => {
  const tokens = [
    tokenOf({}),
    tokenOf({ deviceId: "d2" }),
    tokenOf({ role: "node" }),
    tokenOf({ generation: 2 }),
    tokenOf({}, "bb".repeat(32)),
    tokenOf({ deviceId: "d", role: "1operator" }),
    tokenOf({ deviceId: 'd1","operator', role: "" }),
  ];

  assert.equal(new Set(tokens).size, tokens.length);
});

test("a device token is right in its own field, and in the token field when that is all there is", () => {
  const token = tokenOf({});
  const offers = [
    { deviceToken: token },
    { token },
    { token: "x", deviceToken: token },
    { token, deviceToken: "x" },
    { token: tokenOf({ generation: 2 }) },
    { deviceToken: `${token}=` },
    {},
    undefined,
  ];

  assert.deepEqual(
    offers.map((auth) => credentials.checkDeviceToken(auth, subject)),
    ["right", "right", "right", "wrong", "wrong", "wrong", "absent", "absent"],
  );
});
