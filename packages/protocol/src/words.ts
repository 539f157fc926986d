/**
 * Short authentication words: what a device and the gateway each show while a pairing request waits. A person who sees the same
 * words on both sides knows that nobody stands between them with keys of their own.
 */

/** What both sides know of one connect, if nobody changed it on the way. */
export interface WordFacts {
  /** Raw 32 bytes, base64url. */
  readonly gatewayKey: string;
  /** Raw 32 bytes, base64url. */
  readonly deviceKey: string;
  /** Of the connection's challenge. */
  readonly nonce: string;
  /**
   * The device's proof over that nonce. Without it whoever stands between could try nonces by the billion until the words of
   * its two connections are the same: each try would cost a hash, and so costs an answer of the device.
   */
  readonly signature: string;
}

/** Four words, 32 bits: enough for two people, or one with two screens, to compare within a request's life. Pure. */
export async function authenticationWords({ gatewayKey, deviceKey, nonce, signature }: WordFacts): Promise<string> {
  // As a JSON array no part can run into the next one.
  const text = JSON.stringify(["portreeve-words", gatewayKey, deviceKey, nonce, signature]);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
  return [...digest.subarray(0, 4)].map((byte) => wordList[byte]).join(" ");
}

/** One word a byte. No word begins as another does: their first four letters differ, so that a word misheard is noticed. */
export const wordList: readonly string[] = (
  "acorn actor adobe album almond amber anchor angle ankle apple apron arch arrow atlas autumn award bacon badge baker bamboo " +
  "banana banner barley basket beacon bean bell bench berry birch bison blanket blossom boat bonus book bottle bowl brave bread " +
  "breeze brick bridge bronze brush bucket butter cabin cactus cake camel candle canoe carbon carpet castle cedar cello chair " +
  "chalk cherry chess circle citrus clay clock cloud clover cobalt cocoa comet copper coral corner cotton cousin crater crisp " +
  "crown crystal cube cumin cup daisy dance dawn delta denim desk diary dinner doctor dolphin donkey door dragon drum duck dune " +
  "eagle earth easel echo elbow elder elm ember engine fabric falcon farm feather fern ferry fiddle field figure finch flag flute " +
  "foam forest fossil fountain fox frame frost garden garlic gate gentle ginger giraffe glass globe glove goat gold grape gravel " +
  "green guitar hammer harbor hazel heron hill hockey honey horse hotel igloo indigo ink iron island ivory jacket jade jar jazz " +
  "jelly jewel juice jungle kettle kite kitten koala ladder lagoon lake lamp lantern laser lemon library lilac lion lizard " +
  "lobster lotus lunar magnet mango maple marble meadow melon metal mint mirror monkey moon mosaic motor mountain mule museum " +
  "napkin needle nest noodle north nutmeg oak oasis ocean olive onion opal orange orbit orchid otter oven owl oyster paddle " +
  "palace panda paper parrot pasta peach pebble pencil pepper piano pigeon pillow pilot pine planet plum pocket poem pond poppy " +
  "pumpkin quartz quilt rabbit radar raven river robin rocket saddle salmon silver tiger violet walnut willow zebra"
).split(" ");
