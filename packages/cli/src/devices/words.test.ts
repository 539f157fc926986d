import assert from "node:assert/strict";
import { test } from "node:test";
import { pairedDevice, upgradeRequest } from "./fixtures.ts";
import { tellNew, tellRights, tellScopes, tellSpan, type PairedDevice, type PairingRequest } from "./words.ts";

const scopes: readonly (readonly [scopes: readonly string[], words: string])[] = [
  [[], "nothing"],
  [["operator.write", "operator.read"], "read, write"],
  [["operator.admin", "operator.read", "operator.pairing"], "everything (admin)"],
  [["operator.pairing", "custom.thing"], "pair devices, custom.thing"],
  [["operator.admin", "custom.thing"], "everything (admin), custom.thing"],
  [["operator.future"], "operator.future"],
];

for (const [list, words] of scopes) {
  test(`[${list.join()}] is told as "${words}"`, () => {
    assert.equal(tellScopes(list), words);
  });
}

test("a role that is no operator's is told too", () => {
  assert.equal(tellRights({ roles: ["node"], scopes: [] }), "act as node");
  assert.equal(tellRights({ roles: ["operator", "node"], scopes: ["operator.read"] }), "read, act as node");
  assert.equal(tellRights({ roles: [], scopes: [] }), "nothing");
});

const revoked: PairedDevice = { ...pairedDevice, tokens: pairedDevice.tokens.map((grant) => ({ ...grant, revokedAtMs: 1 })) };
const differences: readonly (readonly [what: string, ask: Partial<PairingRequest>, known: PairedDevice | undefined, told: string])[] = [
  ["a stranger", {}, undefined, "the device itself"],
  ["a wider ask", {}, pairedDevice, "write"],
  ["an ask for admin by a reader", { scopes: ["operator.admin", "operator.read"] }, pairedDevice, "everything (admin)"],
  ["what is implied already", { scopes: ["operator.sessions.read"] }, pairedDevice, "nothing"],
  ["another role", { role: "node", roles: ["operator", "node"], scopes: [] }, pairedDevice, "the role node"],
  ["a device whose token was revoked", {}, revoked, "the role operator, read, write"],
  ["another platform", { reason: "metadata-upgrade", scopes: ["operator.read"], platform: "ios" }, pairedDevice, "platform linux → ios"],
];

for (const [what, ask, known, told] of differences) {
  test(`what is new about ${what}: ${told}`, () => {
    assert.equal(tellNew({ ...upgradeRequest, ...ask }, known), told);
  });
}

test("a span is told in its largest unit", () => {
  const spans = [-5, 0, 59_000, 60_000, 3_599_000, 3_600_000, 47 * 3_600_000, 48 * 3_600_000].map(tellSpan);

  assert.deepEqual(spans, ["0 s", "0 s", "59 s", "1 min", "59 min", "1 h", "47 h", "2 days"]);
});
