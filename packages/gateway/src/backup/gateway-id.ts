import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parseGatewayKey } from "../identity/state-keys.ts";

/** Hex SHA-256 of the public key in `folder`: what clients pin. @throws StateKeyError, or what reading throws. */
export async function readGatewayId(folder: string): Promise<string> {
  const path = join(folder, "gateway-key.pem");
  const { publicKey } = parseGatewayKey(await readFile(path, "utf8"), path);
  return createHash("sha256").update(Buffer.from(publicKey, "base64url")).digest("hex");
}
