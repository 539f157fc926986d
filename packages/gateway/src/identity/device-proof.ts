/** The device proof: does whoever opened this connection hold the key that the device id names? Pure. */
import { createHash, createPublicKey, verify, type KeyObject } from "node:crypto";
import type { ConnectParams, ErrorCode } from "@portreeve/protocol";
import { limits } from "@portreeve/protocol";

export interface DeviceClaim {
  readonly device: NonNullable<ConnectParams["device"]>;
  readonly client: Pick<ConnectParams["client"], "id" | "mode" | "platform" | "deviceFamily">;
  readonly role: string;
  /** As sent: the signature covers their order. */
  readonly scopes: readonly string[];
  /** The first of `auth.token`, `auth.deviceToken`, `auth.bootstrapToken`; empty when there is none. */
  readonly signedToken: string;
}

export type ProofVerdict =
  /** `publicKey`: raw 32 bytes, base64url, whatever form it came in. */
  | { readonly kind: "proved"; readonly deviceId: string; readonly publicKey: string }
  | { readonly kind: "refused"; readonly code: ErrorCode; readonly reason: string; readonly message: string };

const refusals = {
  id: { code: "DEVICE_AUTH_DEVICE_ID_MISMATCH", reason: "device-id-mismatch", message: "device identity mismatch" },
  stale: { code: "DEVICE_AUTH_SIGNATURE_EXPIRED", reason: "device-signature-stale", message: "device signature expired" },
  noNonce: { code: "DEVICE_AUTH_NONCE_REQUIRED", reason: "device-nonce-missing", message: "device nonce required" },
  nonce: { code: "DEVICE_AUTH_NONCE_MISMATCH", reason: "device-nonce-mismatch", message: "device nonce mismatch" },
  key: { code: "DEVICE_AUTH_PUBLIC_KEY_INVALID", reason: "device-public-key", message: "device public key invalid" },
  signature: { code: "DEVICE_AUTH_SIGNATURE_INVALID", reason: "device-signature", message: "device signature invalid" },
} as const satisfies Record<string, { code: ErrorCode; reason: string; message: string }>;

/** Checks in the order clients know: id, time, nonce, key, signature (either layout). */
export function verifyDeviceProof(claim: DeviceClaim, against: { readonly nonce: string; readonly nowMs: number }): ProofVerdict {
  const { device } = claim;
  const key = decodePublicKey(device.publicKey);
  if (key === undefined || createHash("sha256").update(key).digest("hex") !== device.id) return refuse("id");
  if (Math.abs(against.nowMs - device.signedAt) > limits.signatureSkewMs) return refuse("stale");
  const nonce = device.nonce.trim();
  if (nonce === "") return refuse("noNonce");
  if (nonce !== against.nonce) return refuse("nonce");
  if (key.length !== 32) return refuse("key");
  const publicKey = key.toString("base64url");
  const signature = decodeBase64(device.signature);
  const isSigned = signature !== undefined && layouts.some((layout) => isSignedBy(publicKey, layout(claim, nonce), signature));
  return isSigned ? { kind: "proved", deviceId: device.id, publicKey } : refuse("signature");
}

/** The texts a client may have signed. The layouts' numbers are unrelated to the protocol's versions. */
const layouts: readonly ((claim: DeviceClaim, nonce: string) => string)[] = [
  (claim, nonce) =>
    ["v3", ...signedFields(claim, nonce), normaliseLabel(claim.client.platform), normaliseLabel(claim.client.deviceFamily)].join("|"),
  (claim, nonce) => ["v2", ...signedFields(claim, nonce)].join("|"),
];

function signedFields({ device, client, role, scopes, signedToken }: DeviceClaim, nonce: string): readonly string[] {
  return [device.id, client.id, client.mode, role, scopes.join(","), String(device.signedAt), signedToken, nonce];
}

/** Trimmed, ASCII letters in lower case, everything else untouched: how signatures and pinned facts compare labels. */
export function normaliseLabel(text: string | undefined): string {
  return (text ?? "").trim().replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}

function isSignedBy(publicKey: string, text: string, signature: Buffer): boolean {
  try {
    return verify(null, Buffer.from(text, "utf8"), importKey(publicKey), signature);
  } catch {
    return false;
  }
}

/** Devices that come again; the key is a function of its text, so that who it belongs to does not matter here. */
const keptKeys = 1_024;
const importedKeys = new Map<string, KeyObject>();

/** Importing takes a third as long as verifying. */
function importKey(publicKey: string): KeyObject {
  const kept = importedKeys.get(publicKey);
  if (kept !== undefined) return kept;
  const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x: publicKey }, format: "jwk" });
  const [oldest] = importedKeys.keys();
  if (importedKeys.size >= keptKeys && oldest !== undefined) importedKeys.delete(oldest);
  importedKeys.set(publicKey, key);
  return key;
}

/** Raw bytes of a key in base64url, base64 or PEM; undefined when it is none of them. */
function decodePublicKey(text: string): Buffer | undefined {
  if (!text.includes("BEGIN")) return decodeBase64(text);
  try {
    const { x } = createPublicKey(text).export({ format: "jwk" });
    return x === undefined ? undefined : Buffer.from(x, "base64url");
  } catch {
    return undefined;
  }
}

function decodeBase64(text: string): Buffer | undefined {
  return /^[A-Za-z0-9+/_-]+={0,2}$/.test(text) ? Buffer.from(text, "base64url") : undefined;
}

function refuse(why: keyof typeof refusals): ProofVerdict {
  return { kind: "refused", ...refusals[why] };
}
