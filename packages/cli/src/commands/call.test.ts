import assert from "node:assert/strict";
import { test } from "node:test";
import { CliError } from "../exit.ts";
import { parseParams, parseScopes } from "./call.ts";

test("parameters are a JSON object, and none are an empty one", () => {
  assert.deepEqual([parseParams(undefined), parseParams(" "), parseParams('{"limit":5}')], [{}, {}, { limit: 5 }]);
});

for (const json of ["{limit:5}", "[1]", "null", '"x"']) {
  test(`parameters ${json} are refused with an example`, () => {
    assert.throws(
      () => parseParams(json),
      (error) => error instanceof CliError && error.exit === "usage" && error.message.includes('{"limit":5}'),
    );
  });
}

const lists: readonly (readonly [string | undefined, readonly string[] | undefined])[] = [
  [undefined, undefined],
  ["", []],
  ["operator.read", ["operator.read"]],
  [" operator.read, operator.write,", ["operator.read", "operator.write"]],
];

for (const [list, scopes] of lists) {
  test(`--scopes ${JSON.stringify(list)} is ${JSON.stringify(scopes)}`, () => {
    assert.deepEqual(parseScopes(list), scopes);
  });
}
