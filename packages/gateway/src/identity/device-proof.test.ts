import assert from "node:assert/strict";
import { createHash, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import test from "node:test";
import { limits } from "@portreeve/protocol";
import { type DeviceClaim, normaliseLabel, verifyDeviceProof } from "./device-proof.ts";

const nowMs = 1_795_435_000_000;
const nonce = "f8d18954-6f97-40cc-a216-6307a87653e8";

/** A key, and what of it goes over the wire. */
function makeKey(): { privateKey: KeyObject; raw: Buffer; pem: string; id: string } {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const raw = Buffer.from(publicKey.export({ format: "jwk" }).x ?? "", "base64url");
  return { privateKey, raw, pem: String(publicKey.export({ type: "spki", format: "pem" })), id: hash(raw) };
}

function hash(bytes: Buffer): string {
  return createHash("sha256").update(bytes).digest("hex");
}

const key = makeKey();
const v2Text = `v2|${key.id}|cli|cli|operator|operator.write,operator.read|${nowMs}|tok|${nonce}`;
const v3Text = `v3|${key.id}|cli|cli|operator|operator.write,operator.read|${nowMs}|tok|${nonce}|linux Ä|`;

function claim(
  over: Partial<DeviceClaim["device"]> & { text?: string; scopes?: readonly string[]; signedToken?: string; role?: string } = {},
): DeviceClaim {
  const { text = v3Text, scopes = ["operator.write", "operator.read"], signedToken = "tok", role = "operator", ...device } = over;
  const signature = sign(null, Buffer.from(text, "utf8"), key.privateKey).toString("base64url");
  return {
    device: { id: key.id, publicKey: key.raw.toString("base64url"), signature, nonce, signedAt: nowMs, ...device },
    client: { id: "cli", mode: "cli", platform: " Linux Ä ", deviceFamily: undefined },
    role,
    scopes,
    signedToken,
  };
}

const at = (offsetMs: number): { nonce: string; nowMs: number } => ({ nonce, nowMs: nowMs + offsetMs });
const codeOf = (verdict: ReturnType<typeof verifyDeviceProof>): string => (verdict.kind === "proved" ? "proved" : verdict.code);

const rsa = String(generateKeyPairSync("rsa", { modulusLength: 2_048 }).publicKey.export({ type: "spki", format: "pem" }));
const stranger = makeKey();

const table: readonly [name: string, claim: DeviceClaim, offsetMs: number, code: string][] = [
  ["the v3 layout is accepted", claim(), 0, "proved"],
  ["the v2 layout is accepted", claim({ text: v2Text }), 0, "proved"],
  ["a key in PEM is accepted", claim({ publicKey: key.pem }), 0, "proved"],
  ["a key in standard base64 is accepted", claim({ publicKey: key.raw.toString("base64") }), 0, "proved"],
  ["blanks around the nonce are no part of it", claim({ nonce: ` ${nonce} ` }), 0, "proved"],
  ["a signature as old as the skew allows is accepted", claim(), limits.signatureSkewMs, "proved"],
  ["a signature as far ahead as the skew allows is accepted", claim(), -limits.signatureSkewMs, "proved"],
  ["a signature older than the skew is refused", claim(), limits.signatureSkewMs + 1, "DEVICE_AUTH_SIGNATURE_EXPIRED"],
  ["a signature further ahead than the skew is refused", claim(), -limits.signatureSkewMs - 1, "DEVICE_AUTH_SIGNATURE_EXPIRED"],
  ["an id that is not the key's hash is refused", claim({ id: hash(stranger.raw) }), 0, "DEVICE_AUTH_DEVICE_ID_MISMATCH"],
  ["an id in upper case is refused", claim({ id: key.id.toUpperCase() }), 0, "DEVICE_AUTH_DEVICE_ID_MISMATCH"],
  ["a key that cannot be decoded is refused as a wrong id", claim({ publicKey: "not a key!" }), 0, "DEVICE_AUTH_DEVICE_ID_MISMATCH"],
  ["a PEM key of another kind is refused as a wrong id", claim({ publicKey: rsa }), 0, "DEVICE_AUTH_DEVICE_ID_MISMATCH"],
  [
    "a key of the wrong length is refused",
    claim({ publicKey: "AAAA", id: hash(Buffer.from("AAAA", "base64url")) }),
    0,
    "DEVICE_AUTH_PUBLIC_KEY_INVALID",
  ],
  ["a blank nonce is refused", claim({ nonce: "  " }), 0, "DEVICE_AUTH_NONCE_REQUIRED"],
  ["another connection's nonce is refused", claim({ nonce: "another" }), 0, "DEVICE_AUTH_NONCE_MISMATCH"],
  ["a signature over other scopes is refused", claim({ scopes: ["operator.admin"] }), 0, "DEVICE_AUTH_SIGNATURE_INVALID"],
  [
    "a signature over scopes in another order is refused",
    claim({ scopes: ["operator.read", "operator.write"] }),
    0,
    "DEVICE_AUTH_SIGNATURE_INVALID",
  ],
  ["a signature over another token is refused", claim({ signedToken: "other" }), 0, "DEVICE_AUTH_SIGNATURE_INVALID"],
  ["a signature over another role is refused", claim({ role: "node" }), 0, "DEVICE_AUTH_SIGNATURE_INVALID"],
  ["a signature over another time is refused", claim({ signedAt: nowMs + 1 }), 0, "DEVICE_AUTH_SIGNATURE_INVALID"],
  [
    "another key's signature is refused",
    claim({ publicKey: stranger.raw.toString("base64url"), id: stranger.id }),
    0,
    "DEVICE_AUTH_SIGNATURE_INVALID",
  ],
  ["a signature that is no base64 is refused", claim({ signature: "{}" }), 0, "DEVICE_AUTH_SIGNATURE_INVALID"],
  ["the id is checked before the time", claim({ id: "x" }), limits.signatureSkewMs + 1, "DEVICE_AUTH_DEVICE_ID_MISMATCH"],
  ["the time is checked before the nonce", claim({ nonce: "another" }), limits.signatureSkewMs + 1, "DEVICE_AUTH_SIGNATURE_EXPIRED"],
  ["the nonce is checked before the signature", claim({ nonce: "another", signature: "AA" }), 0, "DEVICE_AUTH_NONCE_MISMATCH"],
];

for (const [name, proof, offsetMs, code] of table) {
  test(name, () => {
    assert.equal(codeOf(verifyDeviceProof(proof, at(offsetMs))), code);
  });
}

test("a proved key is given back raw in base64url, whatever form it came in", () => {
  const forms = [key.pem, key.raw.toString("base64"), key.raw.toString("base64url")];

  const verdicts = forms.map((publicKey) => verifyDeviceProof(claim({ publicKey }), at(0)));

  const expected = { kind: "proved", deviceId: key.id, publicKey: key.raw.toString("base64url") };
  assert.deepEqual(verdicts, [expected, expected, expected]);
});

test("a refused proof says why in the words that clients know", () => {
  const verdict = verifyDeviceProof(claim({ nonce: "another" }), at(0));

  assert.deepEqual(verdict, {
    kind: "refused",
    code: "DEVICE_AUTH_NONCE_MISMATCH",
    reason: "device-nonce-mismatch",
    message: "device nonce mismatch",
  });
});

test("labels are compared trimmed and with ASCII letters alone in lower case", () => {
  assert.deepEqual([normaliseLabel("  LiNuX Ä "), normaliseLabel(undefined)], ["linux Ä", ""]);
});
