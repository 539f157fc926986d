/** The device's Ed25519 key: who we are to every gateway. Its file never leaves this machine. */
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, sign, type KeyObject } from "node:crypto";
import { DamagedFileError } from "./damaged-file.ts";
import { createPrivateFile, findPrivateFile } from "./private-file.ts";

export interface DeviceKey {
  /** Lower-case hex SHA-256 of the raw public key. */
  readonly id: string;
  /** The 32 raw public key bytes, base64url without padding. */
  readonly publicKey: string;
  /** The signature over the text's UTF-8 bytes, base64url without padding. */
  sign(text: string): string;
}

/** What a connect request proves with the device's key: everything that must not change on the way. */
export interface ConnectProof {
  readonly clientId: string;
  readonly clientMode: string;
  readonly role: string;
  /** In the order sent. */
  readonly scopes: readonly string[];
  /** Milliseconds; the challenge's own time, so a wrong local clock does no harm. */
  readonly signedAt: number;
  /** The credential sent beside the proof, or an empty text. */
  readonly token: string;
  readonly nonce: string;
  readonly platform: string;
  readonly deviceFamily?: string | undefined;
}

/** A new key that lives in memory only. */
export function createDeviceKey(): DeviceKey {
  return toDeviceKey(generateKeyPairSync("ed25519").privateKey);
}

/**
 * The key kept in `file` (PEM, 0600 in a 0700 folder); made on first use. Processes that start at once get the same key.
 * @throws Error when the file holds no Ed25519 private key; it is never overwritten.
 */
export async function openDeviceKey(file: string): Promise<DeviceKey> {
  const text = (await findPrivateFile(file)) ?? (await createKeyFile(file));
  return toDeviceKey(parseKey(text, file));
}

/** The text that the device signs (layout `v3`). Pure. */
export function connectProofText(device: Pick<DeviceKey, "id">, proof: ConnectProof): string {
  return [
    "v3",
    device.id,
    proof.clientId,
    proof.clientMode,
    proof.role,
    proof.scopes.join(","),
    String(proof.signedAt),
    proof.token,
    proof.nonce,
    normalise(proof.platform),
    normalise(proof.deviceFamily ?? ""),
  ].join("|");
}

async function createKeyFile(file: string): Promise<string> {
  const text = String(generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" }));
  if ((await createPrivateFile(file, text)) === "created") return text;
  return (await findPrivateFile(file)) ?? createKeyFile(file);
}

function parseKey(text: string, file: string): KeyObject {
  const facts = {
    expected: "an Ed25519 private key (PEM)",
    remedy: `To have a new one made, which is paired as a new device: mv ${file} ${file}.old`,
  };
  let key: KeyObject;
  try {
    key = createPrivateKey(text);
  } catch (error) {
    throw new DamagedFileError(file, { ...facts, cause: error });
  }
  if (key.asymmetricKeyType !== "ed25519") throw new DamagedFileError(file, facts);
  return key;
}

function toDeviceKey(key: KeyObject): DeviceKey {
  const publicKey = createPublicKey(key).export({ format: "jwk" }).x ?? "";
  return {
    id: createHash("sha256").update(Buffer.from(publicKey, "base64url")).digest("hex"),
    publicKey,
    sign: (text) => sign(null, Buffer.from(text, "utf8"), key).toString("base64url"),
  };
}

/** Trimmed, ASCII letters lowered and no others: both sides must agree to the byte. */
function normalise(text: string): string {
  return text.trim().replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}
