/** Device tokens on disk, each under the gateway key and address it came from. */
import { isRecord } from "@portreeve/protocol/wire";
import { addressOf } from "./address.ts";
import { DamagedFileError } from "./damaged-file.ts";
import { findPrivateFile, updatePrivateFile } from "./private-file.ts";

/**
 * The gateway a token belongs to. The address is part of it because a proof can be relayed: whoever stands between could
 * repeat another gateway's challenge under an address of its own, and would be handed that gateway's token.
 */
export interface TokenOwner {
  readonly gatewayKey: string;
  readonly url: string;
}

export interface TokenStore {
  find(owner: TokenOwner): Promise<string | undefined>;
  save(owner: TokenOwner, token: string): Promise<void>;
  /** Forgets the token, when it is still `token`. */
  forget(owner: TokenOwner, token: string): Promise<void>;
}

type Tokens = Readonly<Record<string, Readonly<Record<string, string>>>>;

/**
 * Tokens in `file` (JSON, 0600, replaced atomically). What several processes save at once is all kept.
 * @throws Error from every method when the file is not what this module writes.
 */
export function openTokenStore(file: string): TokenStore {
  const read = async (): Promise<Tokens> => parseTokens(await findPrivateFile(file), file);
  const update = (change: (tokens: Tokens) => Tokens | undefined): Promise<void> =>
    updatePrivateFile(file, (text) => {
      const tokens = change(parseTokens(text, file));
      return tokens === undefined ? undefined : `${JSON.stringify({ version: 1, tokens }, undefined, 2)}\n`;
    });
  return {
    async find({ gatewayKey, url }) {
      return own(own(await read(), gatewayKey) ?? {}, addressOf(url));
    },
    save: ({ gatewayKey, url }, token) =>
      update((tokens) => ({ ...tokens, [gatewayKey]: { ...own(tokens, gatewayKey), [addressOf(url)]: token } })),
    forget: ({ gatewayKey, url }, token) =>
      update((tokens) => {
        const { [addressOf(url)]: stored, ...others } = own(tokens, gatewayKey) ?? {};
        return stored === token ? { ...tokens, [gatewayKey]: others } : undefined;
      }),
  };
}

function own<T>(record: Readonly<Record<string, T>>, key: string): T | undefined {
  return Object.hasOwn(record, key) ? record[key] : undefined;
}

function parseTokens(text: string | undefined, file: string): Tokens {
  if (text === undefined) return {};
  const facts = {
    expected: "the tokens that this program wrote",
    remedy: `To get new ones with the gateway's shared secret, by the next command: rm ${file}`,
  };
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new DamagedFileError(file, { ...facts, cause: error });
  }
  if (!isRecord(json) || json["version"] !== 1 || !isRecord(json["tokens"])) throw new DamagedFileError(file, facts);
  const damaged = (): DamagedFileError => new DamagedFileError(file, facts);
  return Object.fromEntries(Object.entries(json["tokens"]).map(([key, tokens]) => [key, stringsOf(tokens, damaged)]));
}

function stringsOf(value: unknown, damaged: () => DamagedFileError): Readonly<Record<string, string>> {
  if (!isRecord(value)) throw damaged();
  return Object.fromEntries(
    Object.entries(value).map(([key, token]) => {
      if (typeof token !== "string") throw damaged();
      return [key, token];
    }),
  );
}
