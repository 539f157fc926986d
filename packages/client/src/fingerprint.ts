/** A certificate's SHA-256 as people and programs write it. */

/** Its 64 hexadecimal digits; case, colons and `sha256` before it do not matter. Undefined when it is none. Pure. */
export function parseFingerprint(text: string): string | undefined {
  const digits = text
    .trim()
    .replace(/^sha256[:/ ]?/i, "")
    .replaceAll(":", "")
    .toLowerCase();
  return /^[0-9a-f]{64}$/.test(digits) ? digits : undefined;
}
