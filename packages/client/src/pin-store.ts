/** Certificates a person pinned, on disk, each under the address it belongs to. */
import { isRecord } from "@portreeve/protocol/wire";
import { DamagedFileError } from "./damaged-file.ts";
import { findPrivateFile, updatePrivateFile } from "./private-file.ts";

export interface PinStore {
  find(url: string): Promise<string | undefined>;
  save(url: string, fingerprint: string): Promise<void>;
}

/**
 * Pins in `file` (JSON, 0600, replaced atomically). What several processes save at once is all kept.
 * @throws Error from every method when the file is not what this module writes.
 */
export function openPinStore(file: string): PinStore {
  const read = async (): Promise<Readonly<Record<string, unknown>>> => parsePins(await findPrivateFile(file), file);
  return {
    async find(url) {
      const pins = await read();
      const pin = Object.hasOwn(pins, hostOf(url)) ? pins[hostOf(url)] : undefined;
      return typeof pin === "string" ? pin : undefined;
    },
    save: (url, fingerprint) =>
      updatePrivateFile(file, (text) => {
        const pins = { ...parsePins(text, file), [hostOf(url)]: fingerprint };
        return `${JSON.stringify({ version: 1, pins }, undefined, 2)}\n`;
      }),
  };
}

/** `host:port`: TLS is a port's affair, not a path's. */
function hostOf(url: string): string {
  const { hostname, port } = new URL(url);
  return `${hostname}:${port || "443"}`;
}

function parsePins(text: string | undefined, file: string): Readonly<Record<string, unknown>> {
  if (text === undefined) return {};
  const facts = {
    expected: "the pins that this program wrote",
    remedy: `To pin anew, with --tls-fingerprint SHA256 at the next command: rm ${file}`,
  };
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new DamagedFileError(file, { ...facts, cause: error });
  }
  if (!isRecord(json) || json["version"] !== 1 || !isRecord(json["pins"])) throw new DamagedFileError(file, facts);
  return json["pins"];
}
