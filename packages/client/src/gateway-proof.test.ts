import assert from "node:assert/strict";
import { test } from "node:test";
import { createDeviceKey } from "./device-key.ts";
import { verifyGatewayProof } from "./gateway-proof.ts";

const key = createDeviceKey();
const publicKey = key.publicKey;
const signature = key.sign("portreeve-gateway|n1|17");

test("a proof over this challenge names the gateway's key", () => {
  const proof = verifyGatewayProof({ nonce: "n1", ts: 17, gateway: { publicKey, signature } });

  assert.deepEqual(proof, { kind: "proved", key: publicKey });
});

test("a challenge without a proof names no key", () => {
  assert.deepEqual(verifyGatewayProof({ nonce: "n1", ts: 17, gateway: undefined }), { kind: "absent" });
});

const tampered: Readonly<Record<string, { nonce: string; ts: number; gateway: unknown }>> = {
  "another nonce": { nonce: "n2", ts: 17, gateway: { publicKey, signature } },
  "another time": { nonce: "n1", ts: 18, gateway: { publicKey, signature } },
  "another key": { nonce: "n1", ts: 17, gateway: { publicKey: createDeviceKey().publicKey, signature } },
  "no signature": { nonce: "n1", ts: 17, gateway: { publicKey } },
  "a signature that is none": { nonce: "n1", ts: 17, gateway: { publicKey, signature: "x" } },
  "a key that is none": { nonce: "n1", ts: 17, gateway: { publicKey: "x", signature } },
  "a second spelling of the key": { nonce: "n1", ts: 17, gateway: { publicKey: `${publicKey}=`, signature } },
  "text instead of a proof": { nonce: "n1", ts: 17, gateway: "yes" },
};

for (const [what, challenge] of Object.entries(tampered)) {
  test(`a proof with ${what} does not hold`, () => {
    assert.equal(verifyGatewayProof(challenge).kind, "invalid");
  });
}
