/** The key each gateway proved when it was first met, by address: another one there later is refused before anything is sent. */
import { createHash } from "node:crypto";
import { isRecord } from "@portreeve/protocol/wire";
import { addressOf } from "./address.ts";
import { DamagedFileError } from "./damaged-file.ts";
import { findPrivateFile, updatePrivateFile } from "./private-file.ts";

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
 * Pins in `file` (JSON, 0600, replaced atomically). What several processes pin at once is all kept; of two keys for one address
 * the first is pinned.
 * @throws Error from every method when the file is not what this module writes: it never counts as empty.
 */
export function openGatewayPins(file: string): GatewayPinStore {
  const read = async (): Promise<Pins> => parsePins(await findPrivateFile(file), file);
  /** Answers what was pinned before. */
  const repin = async (url: string, change: (pinned: string | undefined) => string | undefined): Promise<string | undefined> => {
    let before: string | undefined;
    await updatePrivateFile(file, (text) => {
      const { [addressOf(url)]: pinned, ...others } = parsePins(text, file);
      before = pinned;
      const gatewayKey = change(pinned);
      if (gatewayKey === pinned) return undefined;
      const keys = gatewayKey === undefined ? others : { ...others, [addressOf(url)]: gatewayKey };
      return `${JSON.stringify({ version: 1, keys }, undefined, 2)}\n`;
    });
    return before;
  };
  return {
    async admit(url, gatewayKey) {
      const known = (await read())[addressOf(url)];
      const isFirst = known === undefined && gatewayKey !== undefined;
      const pinned = isFirst ? await repin(url, (already) => already ?? gatewayKey) : known;
      if (pinned !== undefined && pinned !== gatewayKey) return { kind: "changed", pinned };
      return { kind: "known" };
    },
    async replace(url, gatewayKey) {
      await repin(url, () => gatewayKey);
    },
    forget: (url) => repin(url, () => undefined),
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
