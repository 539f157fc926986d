/** The gateway's proof of its own key in the challenge: what makes it safe to send a token that belongs to that key. */
import { createPublicKey, verify } from "node:crypto";
import { isRecord } from "@portreeve/protocol/wire";

export type GatewayProof =
  | { readonly kind: "proved"; readonly key: string }
  /** A gateway that does not prove a key, as the reference does not. */
  | { readonly kind: "absent" }
  /** A proof that does not hold: never go on. */
  | { readonly kind: "invalid"; readonly why: string };

/** Checks `gateway` of a challenge: an Ed25519 signature over `portreeve-gateway|<nonce>|<ts>`. Pure. */
export function verifyGatewayProof(challenge: { readonly nonce: string; readonly ts: number; readonly gateway: unknown }): GatewayProof {
  if (challenge.gateway === undefined || challenge.gateway === null) return { kind: "absent" };
  const { publicKey, signature } = isRecord(challenge.gateway) ? challenge.gateway : {};
  if (typeof publicKey !== "string" || typeof signature !== "string") return { kind: "invalid", why: "it lacks publicKey or signature" };
  // One spelling a key: tokens are stored under it, so a second spelling of the same bytes must not pass.
  if (!/^[A-Za-z0-9_-]{43}$/.test(publicKey) || Buffer.from(publicKey, "base64url").toString("base64url") !== publicKey) {
    return { kind: "invalid", why: "its key is not 32 bytes in base64url" };
  }
  const text = Buffer.from(`portreeve-gateway|${challenge.nonce}|${challenge.ts}`, "utf8");
  return isSigned(publicKey, text, signature) ? { kind: "proved", key: publicKey } : { kind: "invalid", why: "its signature does not fit" };
}

function isSigned(publicKey: string, text: Buffer, signature: string): boolean {
  try {
    const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x: publicKey }, format: "jwk" });
    return verify(null, text, key, Buffer.from(signature, "base64url"));
  } catch {
    return false;
  }
}
