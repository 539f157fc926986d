/** The key each gateway proved when it was first met, by address: another one there later is refused before anything is sent. */
import { createHash } from "node:crypto";
import { isRecord } from "@portreeve/protocol/wire";
import { addressOf } from "./address.ts";
import { DamagedFileError } from "./damaged-file.ts";
import { findPrivateFile, writePrivateFile } from "./private-file.ts";

export type PinVerdict = { readonly kind: "known" } | { readonly kind: "changed"; readonly pinned: string };

export interface GatewayPins {
  /**
   * Judges what a gateway proved at `url` (undefined: nothing) and pins a key at the first meeting. A gateway that proves no key
   * where one is pinned is `changed` too. Nothing is written for what is changed.
   */
  admit(url: string, gatewayKey: string | undefined): Promise<PinVerdict>;
}

export interface GatewayPinStore extends GatewayPins {
  /** Pins `gatewayKey`, whatever was pinned before: only for who knows better than the first meeting. */
  replace(url: string, gatewayKey: string): Promise<void>;
  /** Forgets the key, so that the next meeting is the first; answers the one that was pinned. */
  forget(url: string): Promise<string | undefined>;
  /** In order of address. */
  list(): Promise<readonly { readonly url: string; readonly gatewayKey: string }[]>;
}

type Pins = Readonly<Record<string, string>>;

/**
 * Pins in `file` (JSON, 0600, replaced atomically). A lost update of two processes costs one more first meeting, so there is no
 * lock.
 * @throws Error from every method when the file is not what this module writes: it never counts as empty.
 */
export function openGatewayPins(file: string): GatewayPinStore {
  const read = async (): Promise<Pins> => parsePins(await findPrivateFile(file), file);
  const write = (keys: Pins): Promise<void> => writePrivateFile(file, `${JSON.stringify({ version: 1, keys }, undefined, 2)}\n`);
  const replace = async (url: string, gatewayKey: string): Promise<void> => {
    const pins = await read();
    if (pins[addressOf(url)] !== gatewayKey) await write({ ...pins, [addressOf(url)]: gatewayKey });
  };
  return {
    async admit(url, gatewayKey) {
      const pinned = (await read())[addressOf(url)];
      if (pinned !== undefined && pinned !== gatewayKey) return { kind: "changed", pinned };
      if (pinned === undefined && gatewayKey !== undefined) await replace(url, gatewayKey);
      return { kind: "known" };
    },
    replace,
    async forget(url) {
      const { [addressOf(url)]: pinned, ...others } = await read();
      if (pinned !== undefined) await write(others);
      return pinned;
    },
    async list() {
      const pins = await read();
      return Object.entries(pins)
        .map(([url, gatewayKey]) => ({ url, gatewayKey }))
        .toSorted((a, b) => (a.url < b.url ? -1 : 1));
    },
  };
}

/** A gateway key as people compare it: the first half of its SHA-256, in groups of four. Pure. */
export function fingerprintOf(gatewayKey: string): string {
  const hex = createHash("sha256").update(Buffer.from(gatewayKey, "base64url")).digest("hex").slice(0, 32);
  return (hex.match(/.{4}/g) ?? []).join(" ");
}

function parsePins(text: string | undefined, file: string): Pins {
  if (text === undefined) return {};
  const facts = {
    expected: "the gateway keys that this program wrote",
    remedy: `To meet every gateway anew, as at the first connection: rm ${file}`,
  };
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new DamagedFileError(file, { ...facts, cause: error });
  }
  if (!isRecord(json) || json["version"] !== 1 || !isRecord(json["keys"])) throw new DamagedFileError(file, facts);
  return Object.fromEntries(
    Object.entries(json["keys"]).map(([url, key]) => {
      if (typeof key !== "string") throw new DamagedFileError(file, facts);
      return [url, key];
    }),
  );
}
